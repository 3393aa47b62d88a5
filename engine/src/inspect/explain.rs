//! Explains why a path is in a job's snapshots or not: which rule decided on the way down to it.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::entry::{Entry, Kind};
use crate::filter::error::FilterError;
use crate::filter::scope::{EnteredScope, Scope};
use crate::job::Job;
use crate::source::{Source, SourceError, rule_files};

/// Why a path is included or excluded.
#[derive(Debug)]
pub struct Explanation {
    /// The verdicts on the components of the path, from the source root down. The last one concerns
    /// the path itself, or the folder whose exclusion excludes it.
    pub steps: Vec<Judged>,
    /// Why the explanation stops before the path, if the reason is not a rule.
    pub ended: Option<PathEnd>,
    /// Errors of rule files on the way.
    pub errors: Vec<FilterError>,
}

/// The verdict of the filter rules on one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The path on the source.
    pub path: PathBuf,
    /// Whether the entry is included.
    pub included: bool,
    /// The rule that decided, and where it was written; `None` if no rule matches.
    pub rule: Option<String>,
}

/// Why a path could not be followed to its end.
#[derive(Debug)]
pub enum PathEnd {
    /// The path is in none of the source roots.
    OutsideOfAllRoots,
    /// The path does not exist. It was judged as a file, or as a folder if it ends in a slash.
    Missing,
    /// A component of the path is not a folder.
    NoFolder,
    /// A component of the path cannot be read.
    Unreadable(SourceError),
}

impl Explanation {
    /// Whether the filter rules include the path.
    #[must_use]
    pub fn included(&self) -> bool {
        let outside = matches!(self.ended, Some(PathEnd::OutsideOfAllRoots | PathEnd::NoFolder));
        !outside && self.steps.last().is_none_or(|step| step.included)
    }
}

/// Applies the filter rules of `job` to `path`, an absolute path on the source.
///
/// # Errors
/// The source is lost, or a folder on the way to a source root cannot be opened.
pub fn explain<S: Source>(job: &Job, source: &S, path: &Path) -> Result<Explanation, SourceError> {
    let mut asked = PathQuery {
        source,
        job,
        is_folder: path.as_os_str().as_bytes().ends_with(b"/"),
        explanation: Explanation { steps: Vec::new(), ended: None, errors: Vec::new() },
    };
    let path: PathBuf = path.components().collect();
    let roots = job.layout.roots().into_iter().filter(|(root, _)| path.starts_with(root));
    match roots.max_by_key(|(root, _)| root.components().count()) {
        Some((root, inside)) => asked.descend(&path, &root, &inside)?,
        None => asked.explanation.ended = Some(PathEnd::OutsideOfAllRoots),
    }
    Ok(asked.explanation)
}

struct PathQuery<'a, S> {
    source: &'a S,
    job: &'a Job,
    is_folder: bool,
    explanation: Explanation,
}

impl<S: Source> PathQuery<'_, S> {
    /// Descends to `root`, whose path in a snapshot is `inside`, and from there to `path`.
    fn descend(&mut self, path: &Path, root: &Path, inside: &[u8]) -> Result<(), SourceError> {
        let mut node = self.job.layout.top();
        let mut scope = self.job.filters.scope();
        let mut whole = node.root;
        let mut held = Vec::new();
        if let Some(path) = &node.path {
            scope = self.above(path)?;
            scope = self.enter_node(&scope, path, &held)?;
        }
        for name in inside.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let at_top = node.path.is_none();
            let Some((below, path)) =
                node.below.get(name).and_then(|below| Some((below, below.path.as_ref()?)))
            else {
                break;
            };
            if below.root || whole {
                let judge =
                    if at_top { rule_files::at_top(&scope, path) } else { Arc::clone(&scope) };
                let is_folder = self.source.root(path)?.entry.meta.kind == Kind::Folder;
                // An excluded folder can still lead to a source root below it.
                if !self.judge(&judge, path, name, is_folder) {
                    whole = false;
                    if path == root {
                        return Ok(());
                    }
                } else {
                    whole = true;
                }
            }
            if !held.is_empty() {
                held.push(b'/');
            }
            held.extend_from_slice(name);
            if at_top {
                scope = self.above(path)?;
            }
            scope = self.enter_node(&scope, path, &held)?;
            node = below;
        }
        let rest = path.strip_prefix(root).unwrap_or(Path::new(""));
        self.below_root(&scope, root, held, rest)
    }

    /// Continues below a source root.
    fn below_root(
        &mut self,
        scope: &Arc<Scope>,
        root: &Path,
        mut inside: Vec<u8>,
        rest: &Path,
    ) -> Result<(), SourceError> {
        let mut names = rest.iter().peekable();
        let (mut scope, mut at) = (Arc::clone(scope), root.to_owned());
        let mut folder = Some(self.source.root(root)?.folder);
        while let Some(name) = names.next() {
            at.push(name);
            let entry = match self.look(folder.as_deref(), name) {
                Ok(entry) => entry,
                Err(error @ SourceError::Lost(_)) => return Err(error),
                Err(SourceError::Vanished) => {
                    // Nothing below it exists either, so the rest is judged without rule files.
                    self.explanation.ended = Some(PathEnd::Missing);
                    folder = None;
                    let is_folder = names.peek().is_some() || self.is_folder;
                    if !self.judge(&scope, &at, name.as_bytes(), is_folder)
                        || names.peek().is_none()
                    {
                        return Ok(());
                    }
                    append(&mut inside, name);
                    scope = self.entered(scope.enter(
                        inside.clone(),
                        at.as_os_str().as_bytes().to_vec(),
                        &crate::filter::scope::Texts::new(),
                    ));
                    continue;
                }
                Err(error) => {
                    self.explanation.ended = Some(PathEnd::Unreadable(error));
                    return Ok(());
                }
            };
            let is_folder = entry.meta.kind == Kind::Folder;
            if !self.judge(&scope, &at, name.as_bytes(), is_folder) || names.peek().is_none() {
                return Ok(());
            }
            if !is_folder {
                self.explanation.ended = Some(PathEnd::NoFolder);
                return Ok(());
            }
            let Some(parent) = folder.take() else { return Ok(()) };
            let opened = match self.source.folder(&parent, &entry.name, &entry.meta) {
                Ok(opened) => Arc::new(opened),
                Err(error) => {
                    self.explanation.ended = Some(PathEnd::Unreadable(error));
                    return Ok(());
                }
            };
            append(&mut inside, name);
            scope = self.enter(&scope, &opened, &at, &inside)?;
            folder = Some(opened);
        }
        Ok(())
    }

    fn look(&self, folder: Option<&S::Folder>, name: &OsStr) -> Result<Entry, SourceError> {
        let name = CString::new(name.as_bytes()).map_err(|_| SourceError::Vanished)?;
        folder.map_or(Err(SourceError::Vanished), |folder| self.source.look(folder, &name))
    }

    fn judge(&mut self, scope: &Scope, path: &Path, name: &[u8], is_folder: bool) -> bool {
        let mut judging = scope.judging();
        let verdict = judging.judge(name, is_folder);
        let (path, rule) = (path.to_owned(), verdict.by.map(ToString::to_string));
        self.explanation.steps.push(Judged { path, included: verdict.included, rule });
        verdict.included
    }

    fn above(&mut self, path: &Path) -> Result<Arc<Scope>, SourceError> {
        let errors = &mut self.explanation.errors;
        let mut take = |entered: EnteredScope| {
            errors.extend(entered.errors);
            entered.scope
        };
        rule_files::above(self.source, &self.job.filters, path, &mut take)
    }

    /// Enters a folder of the layout.
    fn enter_node(
        &mut self,
        scope: &Arc<Scope>,
        path: &Path,
        inside: &[u8],
    ) -> Result<Arc<Scope>, SourceError> {
        let found = self.source.root(path)?;
        if found.entry.meta.kind != Kind::Folder {
            return Ok(Arc::clone(scope));
        }
        self.enter(scope, &found.folder, path, inside)
    }

    fn enter(
        &mut self,
        scope: &Arc<Scope>,
        folder: &Arc<S::Folder>,
        path: &Path,
        inside: &[u8],
    ) -> Result<Arc<Scope>, SourceError> {
        let mut find = |name: &std::ffi::CStr| rule_files::look(self.source, folder, name);
        let path = path.as_os_str().as_bytes();
        let entered = rule_files::enter(self.source, Some(folder), scope, inside, path, &mut find)?;
        Ok(self.entered(entered))
    }

    fn entered(&mut self, entered: EnteredScope) -> Arc<Scope> {
        self.explanation.errors.extend(entered.errors);
        entered.scope
    }
}

fn append(inside: &mut Vec<u8>, name: &OsStr) {
    if !inside.is_empty() {
        inside.push(b'/');
    }
    inside.extend_from_slice(name.as_bytes());
}
