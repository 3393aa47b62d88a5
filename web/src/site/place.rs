//! A path in a snapshot of a job, as a URL names it.

use std::ffi::CString;
use std::sync::Arc;

use chrono::NaiveDateTime;
use engine::entry::c_name;
use engine::entry::escape::shown;
use engine::inspect::OpenSnapshot;
use engine::repository::SourceRoots;
use engine::{History, SnapshotName, StoredEntry};

use crate::program::Job;
use crate::site::answer::Failure;
use crate::site::link::Link;
use crate::site::request::Asked;

/// A path in one of the complete snapshots of a job.
pub(crate) struct Place {
    pub(crate) job: Job,
    pub(crate) history: History,
    /// The index of the snapshot in the complete ones.
    pub(crate) index: usize,
    /// The path inside the snapshot, without a slash at either end.
    pub(crate) inside: Vec<u8>,
}

impl Place {
    /// The place that the URL names. Without `at`, in the newest snapshot.
    pub(crate) fn of(asked: &Asked) -> Result<Self, Failure> {
        let (job, inside) = asked.job()?;
        let history = job.repository.history(&job.prefix)?;
        let index = match asked.query.bytes("at") {
            None => history.complete.len().checked_sub(1),
            Some(name) => position(&job, &history, name),
        };
        Ok(Self { index: index.ok_or(Failure::NoSuchSnapshot)?, job, history, inside })
    }

    pub(crate) fn snapshot(&self) -> &SnapshotName {
        &self.history.complete[self.index]
    }

    /// The complete snapshot before this one.
    pub(crate) fn before(&self) -> Option<&SnapshotName> {
        self.history.complete.get(self.index.checked_sub(1)?)
    }

    /// Opens the snapshot for reading.
    pub(crate) fn open(&self) -> Result<OpenSnapshot, Failure> {
        Ok(OpenSnapshot::open(&self.job.repository, self.snapshot())?)
    }

    /// The path of the folder that contains the entry, and its name. `None` for the snapshot itself.
    pub(crate) fn split(&self) -> Option<(&[u8], CString)> {
        let at = self.inside.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = match at {
            Some(at) => (&self.inside[..at], &self.inside[at + 1..]),
            None => (&[][..], &self.inside[..]),
        };
        (!name.is_empty()).then(|| Some((parent, c_name(name).ok()?))).flatten()
    }

    /// The entry at the path. `None` for the snapshot itself.
    pub(crate) fn entry(&self, open: &OpenSnapshot) -> Result<Option<StoredEntry>, Failure> {
        let Some((parent, name)) = self.split() else { return Ok(None) };
        open.folder(parent)?.entry(&name)?.ok_or(Failure::NoSuchPath).map(Some)
    }

    /// The last component of the path, for people; the name of the job for the snapshot itself.
    pub(crate) fn name(&self) -> String {
        self.split().map_or_else(|| self.job.name.clone(), |(_, name)| shown(name.to_bytes()))
    }

    pub(crate) fn roots(&self, asked: &Asked) -> Arc<SourceRoots> {
        asked.site.roots(&self.job, self.snapshot())
    }

    /// The path on the source.
    pub(crate) fn source(&self, asked: &Asked) -> Vec<u8> {
        self.roots(asked).source(&self.inside)
    }

    /// A link to the page `name` about this place.
    pub(crate) fn link(&self, asked: &Asked, name: &str) -> Link {
        self.link_at(asked, name, self.snapshot())
    }

    /// A link to the page `name` about this path in another snapshot.
    pub(crate) fn link_at(&self, asked: &Asked, name: &str, snapshot: &SnapshotName) -> Link {
        self.link_of(asked, name, &self.inside, snapshot)
    }

    /// A link to the page `name` about another path in another snapshot.
    pub(crate) fn link_of(
        &self,
        asked: &Asked,
        name: &str,
        inside: &[u8],
        snapshot: &SnapshotName,
    ) -> Link {
        let link = asked.link(name).component(self.job.name.as_bytes()).path(inside);
        link.with("at", &snapshot.to_string())
    }
}

/// The index of the complete snapshot called `name`.
pub(crate) fn position(job: &Job, history: &History, name: &[u8]) -> Option<usize> {
    let name = SnapshotName::parse(&job.prefix, name)?;
    history.complete.iter().position(|one| *one == name)
}

/// The local time of a snapshot.
pub(crate) fn local(asked: &Asked, snapshot: &SnapshotName) -> NaiveDateTime {
    (asked.clock)(snapshot.stamp.time())
}
