//! Puts values on disk that a snapshot has only in its sidecar, when the destination can hold them now.

use std::io;
use std::sync::Arc;

use crate::backup::apply::snapshot_writer::SnapshotWriter;
use crate::backup::plan::planned::Planned;
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::state::tally::Batched;
use crate::entry::Kind;
use crate::entry::overlay::SidecarRecord;
use crate::entry::stored::StoredEntry;
use crate::fs::dir::Dir;
use crate::fs::file_system::capabilities::Abilities;
use crate::repository::records::report::Holds;
use crate::source::Source;

/// What to do about an unchanged entry with values in the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SidecarAction {
    /// The destination cannot hold more than before.
    Nothing,
    /// Create the entry, which exists only in the sidecar.
    Entry,
    /// Copy the inode and set the values on the copy.
    Values,
}

/// Decides about the entry `held` with the sidecar record `record`. `then` says what the destination could hold in the
/// run that stored the entry. If it could hold such values then and still refused this one, the run does not try again:
/// each attempt costs a copy.
fn regained(
    record: &SidecarRecord,
    held: &StoredEntry,
    now: &Abilities,
    then: Holds,
) -> SidecarAction {
    let held_anew = |now: bool, then: bool| now && !then;
    if !held.on_disk {
        let possible = match held.meta.kind {
            Kind::Symlink => now.symlinks,
            Kind::Fifo | Kind::Socket => now.nodes,
            // Only root makes devices (mknod(2)).
            Kind::BlockDevice | Kind::CharDevice => now.nodes && now.owner,
            Kind::File | Kind::Folder => false,
        };
        return if possible { SidecarAction::Entry } else { SidecarAction::Nothing };
    }
    let owner = record.uid.is_some() || record.gid.is_some();
    // A setuid bit stays in the sidecar together with an owner that cannot be set.
    let mode = record.mode.is_some() && (!owner || now.owner);
    let any = owner && held_anew(now.owner, then.owner)
        || mode && (held_anew(now.mode, then.mode) || owner && held_anew(now.owner, then.owner))
        || !record.xattrs.is_empty() && held_anew(now.xattrs, then.xattrs);
    if any { SidecarAction::Values } else { SidecarAction::Nothing }
}

impl From<&Abilities> for Holds {
    fn from(abilities: &Abilities) -> Self {
        let Abilities { owner, mode, xattrs, .. } = *abilities;
        Self { owner, mode, xattrs }
    }
}

impl<S: Source> SnapshotWriter<S> {
    /// Stores an unchanged entry again if the destination can hold more of it now than `then`, in the run that stored
    /// `held` in the folder `from` with the sidecar record `record`. Returns `None` if it cannot, otherwise whether the
    /// entry was stored without reading the source.
    pub(crate) fn put_on_disk(
        self: &Arc<Self>,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        planned: &Planned<'_>,
        (from, held, record, then): (&Dir, &StoredEntry, &SidecarRecord, Holds),
        done: &mut Batched,
    ) -> Option<io::Result<bool>> {
        let abilities = &self.metadata_writer.abilities;
        let (entry, over) = (planned.entry, !folder.fresh);
        match regained(record, held, abilities, then) {
            SidecarAction::Nothing => None,
            SidecarAction::Values if held.meta.kind == Kind::File => {
                Some(self.copy_locally(folder, handles, (from, entry.name), entry, over, done))
            }
            SidecarAction::Entry | SidecarAction::Values => {
                Some(self.make(folder, handles, entry, over))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Meta;
    use crate::entry::Time;
    use crate::entry::Xattrs;

    fn abilities(all: bool) -> Abilities {
        Abilities {
            uid: 0,
            gid: 0,
            links: true,
            most_links: 1000,
            symlinks: all,
            nodes: all,
            owner: all,
            mode: all,
            xattrs: all,
            reflinks: false,
            folds_case: false,
            changed_names: crate::entry::stored_name::ChangedNames::default(),
            time_granularity_ns: 1,
        }
    }

    fn held(kind: Kind, on_disk: bool) -> StoredEntry {
        let meta = Meta {
            kind,
            mode: 0o644,
            uid: 1,
            gid: 1,
            size: 0,
            mtime: Time::default(),
            ctime: Time::default(),
            id: None,
            links: 1,
            rdev: 0,
            allocated: 0,
            is_shared: false,
        };
        StoredEntry { meta, target: None, xattrs: Xattrs::new(), on_disk }
    }

    #[test]
    fn values_are_put_on_disk_once_when_they_can_be_held() {
        let with = |change: fn(&mut SidecarRecord)| {
            let mut record = SidecarRecord::default();
            change(&mut record);
            record
        };
        let (none, all) = (Holds::default(), Holds { owner: true, mode: true, xattrs: true });
        for record in [
            with(|record| record.uid = Some(5)),
            with(|record| record.gid = Some(5)),
            with(|record| record.mode = Some(0o600)),
            with(|record| record.xattrs = vec![("user.a".to_owned(), String::new())]),
        ] {
            let file = held(Kind::File, true);
            for (able, then, what) in [
                (true, none, SidecarAction::Values),
                (true, all, SidecarAction::Nothing),
                (false, none, SidecarAction::Nothing),
            ] {
                assert_eq!(regained(&record, &file, &abilities(able), then), what, "{record:?}");
            }
        }
        let late = with(|record| record.mtime = Some(Time::default()));
        let file = held(Kind::File, true);
        assert_eq!(regained(&late, &file, &abilities(true), none), SidecarAction::Nothing);
    }

    #[test]
    fn an_entry_without_an_inode_is_made_whenever_it_can_be() {
        let all = Holds { owner: true, mode: true, xattrs: true };
        for kind in [Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharDevice] {
            let record = SidecarRecord { kind: Some(kind), ..SidecarRecord::default() };
            let of = |able| regained(&record, &held(kind, false), &abilities(able), all);
            assert_eq!(
                (of(true), of(false)),
                (SidecarAction::Entry, SidecarAction::Nothing),
                "{kind:?}"
            );
        }
    }
}
