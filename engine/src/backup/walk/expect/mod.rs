//! Asks a source to confirm that a folder, or everything below it, is as the base has it, instead of listing it.

pub(crate) mod base_names;
pub(crate) mod known;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::backup::plan::{Action, KnownEntries, Verdict, plan};
use crate::backup::walk::Walk;
use crate::backup::walk::expect::base_names::BaseNames;
use crate::backup::walk::expect::known::{
    Asked, BaseNamesLeft, Confirmation, Hold, KnownFolder, source_of,
};
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::listing::Listing;
use crate::backup::walk::plan_sink::PlanSink;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::task::{Arrival, WalkTask};
use crate::entry::folder_digest::DigestKey;
use crate::entry::overlay::SidecarRecords;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::entry::{Kind, ListedEntry, Meta, Time};
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::source::expected::{DEEPEST, Expected, Found, Reply, Terms};
use crate::source::{BATCH, Source, SourceError};
use crate::threads::lock::lock;
use crate::threads::work_queue::WorkGuard;

/// The most entries that one request confirms together with everything below a folder.
const TREE: usize = 4096;

/// The most entries of a folder that one request confirms. In memory they take about 30 MiB.
const FOLDER: usize = 64 * 1024;

/// Entries that are kept in memory until their answer comes, and that count as one request in flight.
const AS_REQUEST: usize = 128;

/// What a request covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Folder,
    Tree,
    /// The folder, and the only subfolder as long as there is only one.
    Chain,
}

/// The base's side of a folder.
struct Side<'a> {
    place: &'a Arc<TreePath>,
    base: &'a Dir,
    base_records: &'a SidecarRecords,
    /// The incomplete snapshot's side, if it may have entries.
    here: Option<(&'a Dir, &'a SidecarRecords)>,
}

impl<S: Source> WalkState<S> {
    /// The key for the digest of `folder`; `None` if its listing is needed whatever the base holds.
    fn key_for(&self, folder: &WalkFolder<S::Folder>) -> Option<DigestKey> {
        let (set, keep) = (&self.set, self.keep());
        // The digest covers all of them.
        let keeps = keep.mode && keep.owner && keep.group && keep.times;
        let times = keep.folder_times && keep.link_times;
        let reads = keep.checksum || keep.ignore_times;
        // Rule files are read as the listing describes them.
        let chosen = set.selection.is_some() || set.filters.has_rule_files();
        let asks = folder.whole && !folder.partial && keeps && times && !reads && !chosen;
        if asks { self.source.confirms() } else { None }
    }

    /// Reads the entries of the base that have these `names`. `since` becomes the time after which no file may have changed.
    /// `None` if an entry would need more than a look at the source.
    fn known(
        &self,
        side: &Side<'_>,
        names: BaseNames,
        reach: Reach,
        since: &mut Option<Time>,
    ) -> Option<KnownFolder> {
        let BaseNames { names, folders } = names;
        let mut folders = folders.into_iter();
        let mut known = KnownFolder::default();
        for (at, name) in names.iter().enumerate() {
            let held = self.held(side.base, name, side.base_records).ok()?;
            let base = match held {
                Some(StoredEntry { meta: Meta { kind: Kind::Folder, .. }, .. }) => {
                    self.with_own_record(side.place, name, held)?
                }
                held => held?,
            };
            let here = match side.here {
                Some((here, records)) => self.held(here, name, records).ok()?,
                None => None,
            };
            if !self.would_keep(side, name, &base, here.as_ref(), since) {
                return None;
            }
            let names = match (base.meta.kind, reach) {
                (Kind::Folder, Reach::Tree) => {
                    Some(folders.next().filter(|(folder, _)| *folder == at)?.1)
                }
                (Kind::Folder, Reach::Chain) => {
                    folders.next().map(|(_, names)| names).filter(|names| !names.names.is_empty())
                }
                _ => None,
            };
            let below = match names {
                Some(names) => {
                    let place = side.place.child(name, None);
                    let dir = side.base.child_if_here(name).ok()?;
                    let base_records = self.set.base.kept.load(&place).ok()?;
                    let (place, base, base_records) = (&place, &dir, &base_records);
                    let side = Side { place, base, base_records, here: None };
                    Some(self.known(&side, names, reach, since)?)
                }
                None => None,
            };
            known.push(name.to_bytes(), base, below);
        }
        known.sort();
        Some(known)
    }

    /// Whether the snapshot will hold the base's entry if the source's is as that says.
    fn would_keep(
        &self,
        side: &Side<'_>,
        name: &std::ffi::CStr,
        base: &StoredEntry,
        here: Option<&StoredEntry>,
        since: &mut Option<Time>,
    ) -> bool {
        let damaged = &self.set.damaged;
        if !damaged.is_empty() && damaged.contains(&side.place.inside_of(name)) {
            return false;
        }
        let here_durable = here.is_none_or(|here| self.set.trust.covers(here, Some(base)));
        let here_since = here.and_then(|here| self.read_by(here));
        let base_since = self.set.base_since;
        let known = KnownEntries { base: Some(base), here, here_durable, base_since, here_since };
        *since = [*since, here_since].into_iter().flatten().min();
        let (meta, extra) = source_of(base);
        let entry = ListedEntry { name, meta: &meta, extra: extra.as_deref() };
        let step = plan(entry, known, &self.set.rules);
        let kept = matches!(step.action, Action::Link | Action::Keep | Action::Enter);
        kept && step.verdict == Verdict::Same
    }

    /// The base, if nothing else is known of what is below `folder`.
    fn base_alone<'a>(
        folder: &WalkFolder<S::Folder>,
        handles: &'a FolderHandles<S::Folder>,
    ) -> Option<&'a Dir> {
        let layout = folder.node.as_ref().is_some_and(|node| !node.below.is_empty());
        // The top of a new snapshot exists and is empty.
        let is_empty = |here: &Dir| BaseNames::read(here, 0).is_some();
        let alone = || folder.fresh || handles.here.as_ref().is_none_or(is_empty);
        handles.base.as_ref().filter(|_| !layout && alone())
    }

    /// What `folder` and its subfolders have if nothing has changed, and what else must hold for that.
    fn expectation(
        &self,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        key: DigestKey,
        (reach, names): (Reach, BaseNames),
    ) -> Option<(KnownFolder, Terms)> {
        let here = handles.here.as_ref().filter(|_| !folder.fresh);
        let side = Side {
            place: &folder.place,
            base: handles.base.as_ref()?,
            base_records: &folder.base_records,
            here: here.map(|here| (here, &folder.here_records)),
        };
        let mut since = self.set.base_since;
        let known = self.known(&side, names, reach, &mut since)?;
        let keep = self.keep();
        let since = since.filter(|_| keep.ctime && !keep.size_only);
        Some((known, Terms { key, since, links: keep.hard_links }))
    }
}

impl<S: Source, T: PlanSink<S>> Walk<S, T> {
    /// Asks the source for what `folder` has: to confirm that it is as the base says, where that may pay, or to list it.
    /// `below`: what is below it may be confirmed too.
    pub(crate) fn ask(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        source: &Arc<S::Folder>,
        hold: Option<WorkGuard<WalkTask<S::Folder>>>,
        below: bool,
    ) {
        let state = &self.state;
        let arrival = Arrival::new(hold);
        let listing = |arrival: &Arc<Arrival<S::Folder>>| {
            let (walk, folder) = (Arc::clone(self), Arc::clone(folder));
            Box::new(Listing { walk, folder, arrival: Arc::clone(arrival) })
        };
        let handles = folder.open_handles();
        let key = state.key_for(folder).filter(|_| !state.guesses.are_vain());
        let Some((key, handles)) = key.zip(handles) else {
            return state.source.list(source, listing(&arrival));
        };
        let alone = if below { WalkState::<S>::base_alone(folder, &handles) } else { None };
        let names = |reach| match reach {
            Reach::Chain => BaseNames::chain(alone?, DEEPEST),
            Reach::Tree => BaseNames::below(alone?, &mut TREE.clone(), DEEPEST),
            Reach::Folder => BaseNames::read(handles.base.as_ref()?, FOLDER),
        };
        let expectation = |reach| {
            let expected = state.expectation(folder, &handles, key, (reach, names(reach)?))?;
            Some((reach, expected))
        };
        // A chain leads to where something differs in one round trip.
        let found = [Reach::Chain, Reach::Tree, Reach::Folder].into_iter().find_map(expectation);
        let Some((reach, (known, terms))) = found else {
            return state.source.list(source, listing(&arrival));
        };
        let expected = match reach {
            Reach::Chain => {
                let mut chain = known.chain(key);
                let digest = chain.remove(0);
                Expected { terms, digest, below: false, entries: 1, folders: 1, chain }
            }
            Reach::Tree | Reach::Folder => {
                let ((entries, folders), digest) = (known.count(), known.digest(key));
                let below = reach == Reach::Tree;
                Expected { terms, digest, below, entries, folders, chain: Vec::new() }
            }
        };
        let reply = Arc::<Reply>::default();
        let requests = usize::try_from(expected.entries).unwrap_or(usize::MAX) / AS_REQUEST;
        let hold = Arc::new(state.queue.hold_as(requests));
        *lock(&arrival.asked) =
            Some(Asked { known, chain: reach == Reach::Chain, reply: Arc::clone(&reply), hold });
        state.guesses.add();
        state.source.confirm(source, expected, reply, listing(&arrival));
    }

    /// Handles the answer of the source about `folder`: whether its entries are the expected ones. `Break` when the source
    /// is asked again.
    ///
    /// # Errors
    /// The walk ends.
    pub(crate) fn answered(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        asked: Asked,
    ) -> Result<ControlFlow<(), Confirmation>, RunError> {
        let Asked { mut known, chain, reply, hold } = asked;
        let found = reply.take();
        if let Some(Found::Same(confirmed)) = &found
            && chain
        {
            known.cut(confirmed.folders.len().saturating_sub(1));
        }
        if !matches!(found, Some(Found::Same(_))) {
            self.state.guesses.differs();
        }
        Ok(ControlFlow::Continue(match found {
            None => Confirmation::Listed,
            Some(Found::Same(confirmed)) => match known.confirm(confirmed) {
                Ok(()) => match self.confirmed(folder, known, &hold)? {
                    Ok(others) => Confirmation::Same(others),
                    Err(error) => Confirmation::Failed(error),
                },
                Err(unasked) => {
                    let error = std::io::Error::other(unasked);
                    Confirmation::Failed(SourceError::Unreadable { action: "list", error })
                }
            },
            Some(Found::Differs) => {
                drop((known, hold));
                let handles = self.state.handles(folder)?;
                match handles.source() {
                    Ok(source) => {
                        self.ask(folder, source, Some(self.state.queue.hold()), false);
                        return Ok(ControlFlow::Break(()));
                    }
                    Err(error) => Confirmation::Failed(error),
                }
            }
        }))
    }

    /// Processes the entries of a folder that the source has confirmed. The inner result says why the folder counts as not
    /// listed.
    ///
    /// # Errors
    /// The walk ends.
    pub(crate) fn confirmed(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        known: KnownFolder,
        hold: &Hold,
    ) -> Result<Result<BaseNamesLeft, SourceError>, RunError> {
        let names = known.entries.len();
        if names == 0 {
            self.state.check_empty(folder)?;
        }
        let handles = self.state.handles(folder)?;
        let source = match handles.source() {
            Ok(source) => source,
            Err(error) => return Ok(Err(error)),
        };
        known.in_parts(BATCH, hold, |part| self.process(folder, source, part.into_iter(), true))?;
        // Filters may leave out some of them.
        let all = folder.count_seen() == names;
        Ok(Ok(if all { BaseNamesLeft::None } else { BaseNamesLeft::Possible }))
    }
}
