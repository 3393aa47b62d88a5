//! Reads the rule files in the folders of a source.

use std::ffi::{CStr, CString};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use crate::entry::{Entry, Kind, Meta, check_name};
use crate::filter::budget::LONGEST_RULE_FILE;
use crate::filter::filters::Filters;
use crate::filter::scope::{EnteredScope, Scope, Text, Texts};
use crate::source::{ContentProof, ContentSink, Source, SourceError, Wanted};

/// Enters a folder of the source and reads its rule files; `find` returns their entries. Returns an
/// error only when the source is lost. Any other failure is an error in `EnteredScope`.
pub(crate) fn enter<S: Source>(
    source: &S,
    folder: Option<&Arc<S::Folder>>,
    outer: &Scope,
    inside: &[u8],
    path: &[u8],
    find: &mut dyn FnMut(&CStr) -> Result<Option<Entry>, SourceError>,
) -> Result<EnteredScope, SourceError> {
    let mut texts = Texts::new();
    let mut names = outer.rule_files();
    loop {
        read(source, folder, names, find, &mut texts)?;
        let entered = outer.enter(inside.to_vec(), path.to_vec(), &texts);
        if entered.wanted.is_empty() {
            return Ok(entered);
        }
        names = entered.wanted;
    }
}

/// The rules in force above `path`, the topmost folder of the transfer, including the rule files of
/// the folders above it.
pub(crate) fn above<S: Source>(
    source: &S,
    filters: &Arc<Filters>,
    path: &Path,
    entered: &mut dyn FnMut(EnteredScope) -> Arc<Scope>,
) -> Result<Arc<Scope>, SourceError> {
    let mut scope = filters.scope();
    let scans = filters.scans_above(path.as_os_str().as_bytes());
    let mut ancestors: Vec<&Path> = path.ancestors().skip(1).collect();
    ancestors.reverse();
    for ancestor in ancestors.iter().filter(|_| !scans.is_empty()) {
        let bytes = ancestor.as_os_str().as_bytes();
        let counts = |name: &CStr| {
            scans.iter().any(|(from, scanned)| {
                let below = from.is_empty()
                    || bytes == from
                    || bytes.starts_with(&[&from[..], b"/"].concat());
                below && scanned == name.to_bytes()
            })
        };
        let folder = match source.root(ancestor) {
            Ok(root) => root.folder,
            Err(error @ SourceError::Lost(_)) => return Err(error),
            // A folder that this user cannot enter contributes no rules, as in rsync.
            Err(_) => continue,
        };
        let mut find =
            |name: &CStr| if counts(name) { look(source, &folder, name) } else { Ok(None) };
        scope = entered(enter(source, Some(&folder), &scope, b"", bytes, &mut find)?);
    }
    Ok(scope)
}

/// The rules for judging `path` itself when it is at the top of the snapshot.
pub(crate) fn at_top(scope: &Scope, path: &Path) -> Arc<Scope> {
    let parent = path.parent().unwrap_or(path).as_os_str().as_bytes();
    scope.enter(Vec::new(), parent.to_vec(), &Texts::new()).scope
}

/// Reads the entry `name`; `None` when it does not exist.
pub(crate) fn look<S: Source>(
    source: &S,
    folder: &S::Folder,
    name: &CStr,
) -> Result<Option<Entry>, SourceError> {
    match source.look(folder, name) {
        Ok(entry) => Ok(Some(entry)),
        Err(SourceError::Vanished) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the files called `names` into `texts`.
fn read<S: Source>(
    source: &S,
    folder: Option<&Arc<S::Folder>>,
    names: Vec<Vec<u8>>,
    find: &mut dyn FnMut(&CStr) -> Result<Option<Entry>, SourceError>,
    texts: &mut Texts,
) -> Result<(), SourceError> {
    let mut files = Vec::new();
    for name in names {
        let single = CString::new(name.clone()).ok().filter(|_| check_name(&name).is_ok());
        let found = single.map_or(Ok(None), |name| find(&name));
        let text = match found {
            Ok(Some(entry)) if entry.meta.kind == Kind::File => {
                files.push(entry);
                Text::Absent
            }
            Ok(Some(entry)) if entry.meta.kind == Kind::Symlink => {
                Text::Unreadable("it is a symlink, and symlinks are not followed here".to_owned())
            }
            // A folder of that name has no rules, as in rsync.
            Ok(Some(_)) => Text::Read(Vec::new()),
            Ok(None) => Text::Absent,
            Err(error) => unreadable(error)?,
        };
        texts.insert(name, text);
    }
    let Some(folder) = folder.filter(|_| !files.is_empty()) else { return Ok(()) };
    for (name, text) in contents(source, folder, files)? {
        texts.insert(name, text);
    }
    Ok(())
}

fn unreadable(error: SourceError) -> Result<Text, SourceError> {
    match error {
        SourceError::Lost(_) => Err(error),
        SourceError::Vanished => Ok(Text::Absent),
        error => Ok(Text::Unreadable(error.to_string())),
    }
}

/// Reads small files and waits for the result.
fn contents<S: Source>(
    source: &S,
    folder: &Arc<S::Folder>,
    files: Vec<Entry>,
) -> Result<Vec<(Vec<u8>, Text)>, SourceError> {
    let names: Vec<_> = files.iter().map(|entry| entry.name.to_bytes().to_vec()).collect();
    let (send, receive) = channel();
    let read = files.iter().map(|_| (Vec::new(), None)).collect();
    let wanted = files
        .into_iter()
        .map(|entry| Wanted { entry, from: 0, again: false, base: None })
        .collect();
    source.fetch(folder, wanted, Box::new(Contents { read, total: 0, send }));
    let read = receive.recv().unwrap_or_default();
    let mut texts = Vec::new();
    for (name, (bytes, end)) in names.into_iter().zip(read) {
        let text = match end {
            Some(Ok(_)) => Text::Read(bytes),
            Some(Err(error)) => unreadable(error)?,
            None => Text::Unreadable("it was not read".to_owned()),
        };
        texts.push((name, text));
    }
    Ok(texts)
}

/// The error for rule files that exceed the limit.
fn too_long() -> SourceError {
    let what =
        format!("the rule files of a folder may not exceed {LONGEST_RULE_FILE} bytes in total");
    SourceError::Unreadable { action: "read", error: std::io::Error::other(what) }
}

/// The bytes of a file, and the result of reading it.
type RuleFileContent = (Vec<u8>, Option<Result<Meta, SourceError>>);

/// Collects the contents of small files.
struct Contents {
    read: Vec<RuleFileContent>,
    /// Total bytes of all files.
    total: u64,
    send: Sender<Vec<RuleFileContent>>,
}

impl ContentSink for Contents {
    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        let Some((text, end)) = self.read.get_mut(index) else { return ControlFlow::Break(()) };
        self.total += bytes.len() as u64;
        if self.total > LONGEST_RULE_FILE {
            *text = Vec::new();
            *end = Some(Err(too_long()));
            return ControlFlow::Break(());
        }
        text.extend_from_slice(bytes);
        ControlFlow::Continue(())
    }

    fn hole(&mut self, index: usize, length: u64) -> ControlFlow<()> {
        let length = usize::try_from(length.min(LONGEST_RULE_FILE + 1)).unwrap_or(usize::MAX);
        self.data(index, &vec![0; length])
    }

    /// No base is offered for these files.
    fn of_base(&mut self, _: usize, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn hashed(&mut self, _: usize, _: [u8; 32]) {}

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn file_end(&mut self, index: usize, after: Result<Meta, SourceError>) {
        if let Some((_, end)) = self.read.get_mut(index) {
            end.get_or_insert(after);
        }
    }

    fn end(self: Box<Self>) {
        let Self { read, send, .. } = *self;
        let _ = send.send(read);
    }
}
