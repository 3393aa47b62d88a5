//! The filters of a walk: what they leave out of a folder, and the rule files that they read for this.

use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;

use crate::backup::walk::folder::{FolderFilter, WalkFolder};
use crate::backup::walk::state::WalkState;
use crate::entry::{Entry, Kind, ListedEntry};
use crate::error::RunError;
use crate::filter::scope::{EnteredScope, Scope};
use crate::monitor::event::{Event, Instead};
use crate::snapshot::layout::LayoutNode;
use crate::source::rule_files::enter;
use crate::source::{Source, SourceError, rule_files};
use crate::threads::lock::lock;

/// Finds the entry with a given name, which may be a rule file.
type Find<'a> = dyn FnMut(&CStr) -> Result<Option<Entry>, SourceError> + 'a;

impl<S: Source> WalkState<S> {
    /// The filters for the top of the snapshot, which `node` describes.
    pub(crate) fn rules_at_top(&self, node: &LayoutNode) -> Result<Option<FolderFilter>, RunError> {
        let Some(scope) = &self.scope else { return Ok(None) };
        match &node.path {
            Some(path) => Ok(Some(FolderFilter::around(self.rules_above(path)?))),
            // The top is not a folder of the source, so it has no rule files.
            None => Ok(Some(FolderFilter::known(Arc::clone(scope)))),
        }
    }

    /// The filters for a subfolder of `parent`. `path` is its path on the source, if the layout gives one.
    pub(crate) fn rules_around(
        &self,
        parent: &WalkFolder<S::Folder>,
        path: Option<&Path>,
    ) -> Result<Option<FolderFilter>, RunError> {
        let Some(own) = parent.scope() else { return Ok(None) };
        let at_top = parent.node.as_ref().is_some_and(|node| node.path.is_none());
        match path.filter(|_| at_top) {
            Some(path) => Ok(Some(FolderFilter::around(self.rules_above(path)?))),
            None => Ok(Some(FolderFilter::around(Arc::clone(own)))),
        }
    }

    /// The filters above `path`, the topmost folder of a source root that the snapshot keeps. The folders above it may
    /// have rule files too (rsync(1), MERGE-FILE FILTER RULES).
    fn rules_above(&self, path: &Path) -> Result<Arc<Scope>, RunError> {
        let filters = &self.set.filters;
        let mut report = |errors: EnteredScope| self.entered(errors);
        rule_files::above(self.source.as_ref(), filters, path, &mut report)
            .map_err(RunError::SourceLost)
    }

    /// Reads the rule files of `folder`, unless they were read before.
    pub(crate) fn read_rules(
        &self,
        folder: &WalkFolder<S::Folder>,
        source: Option<&Arc<S::Folder>>,
        find: &mut Find<'_>,
    ) -> Result<(), RunError> {
        let Some(rules) = folder.rules.as_ref().filter(|rules| rules.own().is_none()) else {
            return Ok(());
        };
        let (inside, path) = (folder.place.inside(), folder.place.source_of(c""));
        let entered = enter(self.source.as_ref(), source, &rules.outer, &inside, &path, find);
        let scope = self.entered(entered.map_err(RunError::SourceLost)?);
        let _ = rules.own.set(scope);
        Ok(())
    }

    /// As [`Self::read_rules`]. Looks up each rule file in the source.
    pub(crate) fn look_for_rules(&self, folder: &WalkFolder<S::Folder>) -> Result<(), RunError> {
        if !folder.awaits_rules() {
            return Ok(());
        }
        let source = folder.open_handles().and_then(|handles| handles.source.clone());
        let mut find = |name: &CStr| match &source {
            Some(source) => rule_files::look(self.source.as_ref(), source, name),
            None => Ok(None),
        };
        self.read_rules(folder, source.as_ref(), &mut find)
    }

    /// Records the rule files that were used, and reports those that cannot be used.
    fn entered(&self, entered: EnteredScope) -> Arc<Scope> {
        if !entered.used.is_empty() {
            lock(&self.noted).add(entered.scope.source(), entered.used);
        }
        for error in entered.errors {
            let what = format!("{}{}", error.rule_shown(), error.fault);
            let place = error.origin.to_string();
            self.problem_at(place, what, Instead::AllOfIt);
        }
        entered.scope
    }

    /// Whether the filters leave out an entry of `folder` whose type is unknown, as a folder and as a file.
    pub(crate) fn leaves_out_unseen(&self, folder: &WalkFolder<S::Folder>, name: &CStr) -> bool {
        folder.scope().is_some_and(|scope| {
            let mut judging = scope.judging();
            [true, false].iter().all(|kind| !judging.judge(name.to_bytes(), *kind).included)
        })
    }

    /// Whether the filters leave out an entry that the layout puts into `folder`. They do not leave out folders above a
    /// source root, like rsync with implied folders.
    pub(crate) fn leaves_out_planted(
        &self,
        folder: &WalkFolder<S::Folder>,
        node: &LayoutNode,
        entry: ListedEntry<'_>,
    ) -> bool {
        let (Some(scope), Some(path)) = (folder.scope(), &node.path) else { return false };
        if !node.root && !folder.whole {
            return false;
        }
        let is_folder = entry.meta.kind == Kind::Folder;
        let above = folder.node.as_ref().is_some_and(|node| node.path.is_none());
        let scope = if above { rule_files::at_top(scope, path) } else { Arc::clone(scope) };
        let verdict = scope.judging().judge(entry.name.to_bytes(), is_folder);
        if let (false, Some(rule)) = (verdict.included, verdict.by)
            && node.root
        {
            let (path, rule) = (crate::entry::escape::shown_path(path), rule.to_string());
            self.event(&Event::RootLeftOut { path, rule });
        }
        !verdict.included
    }
}
