//! What the verbs that look at snapshots have to know: where they lie. What is backed up may be unknown.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::name::Prefix;
use engine::retention::Retention;

use super::NamedJob;
use super::mistake::Mistake;
use super::resolve::{self, Draft, Layers};

/// The snapshots of one job, or all that lie in a folder.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// What `--job NAME` calls it.
    pub(crate) name: String,
    pub(crate) backups_dir: PathBuf,
    /// Their prefix; `None` when nobody said one, so that whatever lies there is meant.
    pub(crate) prefix: Option<Prefix>,
    pub(crate) retention: Retention,
    /// The job, when it is said what is backed up.
    pub(crate) job: Option<NamedJob>,
    /// How long an answer of another machine may take.
    pub(crate) answer_timeout: Duration,
    /// `SFTP_CHANNELS`.
    pub(crate) sftp_channels: Option<NonZeroUsize>,
    /// Host keys beside the user's own, if there are any.
    pub(crate) known_hosts: Option<PathBuf>,
}

/// The shelves of the jobs called `names` (all of them if there are no names).
pub(super) fn shelves(
    layers: &Layers,
    names: &[String],
    current_dir: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Vec<Shelf> {
    let drafts = resolve::drafts(layers, names, mistakes);
    let lone = matches!(&drafts[..], [draft] if draft.origin.is_none());
    // Of a folder that nobody described the names are what lies there; they are looked at later.
    if !lone || says_prefix(&drafts[0]) {
        resolve::check_names("--job", names, &drafts, mistakes);
    }
    resolve::check_shared_sources(layers, &drafts, mistakes);
    let mut found = Vec::new();
    for draft in &drafts {
        found.push(shelf(draft, lone, current_dir, mistakes));
    }
    resolve::check_each_has_its_own(&drafts, current_dir, mistakes);
    let chosen = drafts.iter().zip(found).filter(|(draft, shelf)| {
        draft.selected || shelf.as_ref().is_some_and(|shelf| shelf.prefix.is_none())
    });
    chosen.filter_map(|(_, shelf)| shelf).collect()
}

fn shelf(
    draft: &Draft<'_>,
    lone: bool,
    current_dir: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Option<Shelf> {
    let job = match says_sources(draft) {
        true => draft.build(current_dir, mistakes),
        false => None,
    };
    let prefix = resolve::prefix(&draft.layers).cloned();
    let prefix = if lone && !says_prefix(draft) { None } else { Some(prefix?) };
    let backups_dir = draft.backups_dir(current_dir)?;
    let retention = draft.retention()?;
    let answer_timeout = draft.answer_timeout();
    let name = draft.name.clone();
    let (sftp_channels, known_hosts) = (draft.sftp_channels(), None);
    Some(Shelf {
        name,
        backups_dir,
        prefix,
        retention,
        job,
        answer_timeout,
        sftp_channels,
        known_hosts,
    })
}

fn says_sources(draft: &Draft<'_>) -> bool {
    resolve::first(&draft.layers, |layer| layer.sources.as_ref()).is_some()
}

/// Whether it is said whose snapshots are meant: by a prefix, or by a job that has the default one.
fn says_prefix(draft: &Draft<'_>) -> bool {
    let said = &draft.layers[..draft.layers.len().saturating_sub(1)];
    says_sources(draft) || said.iter().any(|layer| layer.prefix.is_some())
}
