//! What could not be read: tried again at the end, then given up.

use std::ffi::{CStr, CString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::open::Reopened;
use super::{Rules, Target, Walk, lock};
use crate::attrs;
use crate::dir::Dir;
use crate::entry::{Entry, Extra, Listed};
use crate::error::RunError;
use crate::event::{Event, Instead, Problem};
use crate::filter::Scope;
use crate::folder::{Folder, Opened};
use crate::place::Place;
use crate::source::{Source, SourceError};

/// How many entries that could not be read are tried again at the end; more are carried forward at once.
const RETRIES: usize = 50_000;

/// An entry that could not be read and will be tried again.
pub(super) struct Retry {
    pub(super) place: Arc<Place>,
    name: CString,
    root: Option<usize>,
    dev: Option<u64>,
    /// The filters as they stand in that folder.
    scope: Option<Arc<Scope>>,
    /// It was listed, and so is counted already.
    counted: bool,
    /// The layout puts it there: where it is on the source, and whether it is a source root.
    planted: Option<(PathBuf, bool)>,
}

impl<S: Source, T: Target<S>> Walk<S, T> {
    /// Says that an entry cannot be read: it is tried again later, or given up.
    pub(crate) fn unread(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        name: &CStr,
        error: SourceError,
    ) -> Result<(), RunError> {
        let counted = !folder.see(name);
        match error {
            SourceError::Lost(_) => return Err(RunError::SourceLost(error)),
            SourceError::Vanished => {
                self.tally.count(|counts| counts.vanished += 1);
                let handles = self.handles(folder)?;
                let Some(here) = &handles.here else { return Ok(()) };
                return T::superfluous(self, folder, here, name);
            }
            SourceError::Replaced | SourceError::Unreadable { .. } => {}
        }
        let mut again = lock(&self.again);
        if !self.last_try() && again.len() < RETRIES {
            let (place, name) = (Arc::clone(&folder.place), name.to_owned());
            let below = folder.node.as_ref().and_then(|node| node.below.get(name.to_bytes()));
            let planted = below.and_then(|node| Some((node.path.clone()?, node.root)));
            let (root, dev, scope) = (folder.root, folder.dev, folder.scope().cloned());
            again.push(Retry { place, name, root, dev, scope, counted, planted });
            return Ok(());
        }
        drop(again);
        let instead = T::unread(self, folder, name)?;
        self.problem(&folder.place.source_of(name), error, instead);
        Ok(())
    }

    /// Tells and counts an entry that was not read well.
    pub(crate) fn problem(&self, path: &[u8], what: impl std::fmt::Display, instead: Instead) {
        self.problem_at(crate::bytes::shown(path), what, instead);
    }

    /// As [`Walk::problem`], of a place that is text for people already.
    pub(super) fn problem_at(&self, place: String, what: impl std::fmt::Display, instead: Instead) {
        self.tally.count(|counts| {
            counts.problems += 1;
            counts.carried_forward += u64::from(instead == Instead::CarriedForward);
        });
        let what = what.to_string();
        self.event(&Event::Problem(Problem { path: place, what, instead }));
    }

    /// Looks once more at entries of one folder that could not be read.
    pub(super) fn again(self: &Arc<Self>, retries: Vec<Retry>) -> Result<(), RunError> {
        let Some(Retry { place, root, dev, scope, .. }) = retries.first() else { return Ok(()) };
        let Reopened { handles, entry } = self.reopen(place)?;
        let broken = |error| self.destination("cannot read what is kept beside", place, c"", error);
        let entry = match (entry, &handles.here) {
            (None, Some(here)) if place.chain().len() > 1 => {
                Some(self.as_it_stands(here).map_err(broken)?)
            }
            (entry, _) => entry,
        };
        let folder = Folder::new(Opened {
            place: Arc::clone(place),
            entry,
            node: None,
            root: *root,
            dev: *dev,
            whole: false,
            fresh: false,
            partial: true,
            folds_case: self.set.folds_case,
            base_records: self.set.base.kept.load(place).map_err(broken)?,
            here_records: self.set.here.kept.load(place).map_err(broken)?,
            rules: scope.clone().map(Rules::known),
            handles: Arc::clone(&handles),
        });
        for Retry { name, counted, planted, .. } in &retries {
            if let Some((path, is_root)) = planted {
                let (found, root) = self.root(path, *is_root)?;
                let entry = Entry { name: name.clone(), ..found.entry };
                self.planted(&folder, Listed::from(&entry), &found.folder, root, !counted)?;
                continue;
            }
            let looked = handles.source().and_then(|source| {
                self.source.look(source, name).map(|entry| (Arc::clone(source), entry))
            });
            match looked {
                Ok((source, entry)) => {
                    let entries = std::iter::once(Listed::from(&entry));
                    self.process(&folder, &source, entries, !counted)?;
                }
                Err(error) => self.unread(&folder, name, error)?,
            }
        }
        self.settle(&folder)
    }

    /// What a folder of the incomplete snapshot is, for leaving it like that.
    fn as_it_stands(&self, here: &Dir) -> io::Result<Entry> {
        let xattrs = attrs::read_own(here, self.asked())?;
        let extra = Some(Box::new(Extra { target: None, xattrs }));
        Ok(Entry { name: CString::default(), meta: here.meta()?, extra })
    }

    /// A folder whose listing broke off is tried again as a whole, as an entry of its parent.
    pub(super) fn unlisted(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        error: SourceError,
    ) -> Result<(), RunError> {
        if let Some(node) = &folder.node {
            let path = node.path.clone().unwrap_or_default();
            return Err(RunError::Root { path, error });
        }
        if matches!(error, SourceError::Lost(_)) {
            return Err(RunError::SourceLost(error));
        }
        let chain = folder.place.chain();
        let [.., parent, _] = &chain[..] else { return Ok(()) };
        let name = folder.place.name();
        let mut again = lock(&self.again);
        if !self.last_try() && again.len() < RETRIES {
            let (place, name) = (Arc::clone(parent), name.to_owned());
            let (root, dev) = (folder.root, folder.dev);
            let scope = folder.rules.as_ref().map(|rules| Arc::clone(rules.outer()));
            again.push(Retry { place, name, root, dev, scope, counted: true, planted: None });
            return Ok(());
        }
        drop(again);
        let instead = T::unread(self, folder, c"")?;
        self.problem(&folder.place.source_of(c""), error, instead);
        Ok(())
    }
}
