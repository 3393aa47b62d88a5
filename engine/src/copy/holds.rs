//! Carries over holds that changed in the folder that is read after their snapshots had been copied.

use std::io;

use crate::copy::job::SnapshotStore;
use crate::error::{RunError, destination};
use crate::monitor::context::Context;
use crate::monitor::event::Event;
use crate::repository::Repository;
use crate::repository::lock::read_lock::keep_from_removal;
use crate::repository::records::holds::Hold;
use crate::repository::records::{copied, holds};
use crate::snapshot::history::History;
use crate::snapshot::name::SnapshotName;

/// Gives each copy the hold of its original, where that changed since the last copy. A hold that was set on the copy itself
/// stays. With `only_adds`, each hold of a copy stays.
///
/// # Errors
/// The holds of the originals cannot be read, or one cannot be stored.
pub(crate) fn carry<St: SnapshotStore>(
    store: &St,
    repository: &Repository,
    (history, offered): (&History, &[SnapshotName]),
    only_adds: bool,
    context: &Context,
) -> Result<(), RunError> {
    let both = history.complete.iter().filter(|name| offered.contains(name));
    let both: Vec<SnapshotName> = both.cloned().collect();
    let theirs = store.holds(&both)?;
    for name in &both {
        let theirs = theirs.iter().find(|(held, _)| held == name).map(|(_, hold)| hold);
        match carry_one(repository, name, theirs, only_adds) {
            Ok(Some(held)) => {
                context.monitor.event(&Event::HoldCopied { snapshot: name.to_string(), held });
            }
            Ok(None) => {}
            // Another process removes the snapshot.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = repository.path_of(name);
                return Err(destination(
                    "cannot change the hold of",
                    &repository.path,
                    path,
                    error,
                ));
            }
        }
    }
    Ok(())
}

/// Returns whether the copy is held now, if its hold changed.
fn carry_one(
    repository: &Repository,
    name: &SnapshotName,
    theirs: Option<&Hold>,
    only_adds: bool,
) -> io::Result<Option<bool>> {
    let ours = holds::of(repository, name);
    if theirs.is_none() && ours.is_none() {
        return Ok(None);
    }
    // A snapshot that was not copied here has holds of its own.
    let Some(mark) = copied::load(repository, name) else { return Ok(None) };
    let wanted = merged(mark.hold.as_ref(), theirs, ours.as_ref());
    let is_changed = wanted != ours.as_ref();
    if only_adds && is_changed && ours.is_some() {
        // The mark stays too: a copy that may remove holds finds the change.
        return Ok(None);
    }
    // The hold first: after a kill in between, the next copy does the rest.
    if is_changed {
        let _stays = keep_from_removal(repository, name)?;
        match wanted {
            Some(hold) => holds::store(repository, name, hold)?,
            None => drop(holds::remove(repository, name)?),
        }
    }
    let held = is_changed.then_some(wanted.is_some());
    if mark.hold.as_ref() != theirs {
        copied::store(repository, name, &mark.with_hold(theirs.cloned()))?;
    }
    Ok(held)
}

/// The hold that a copy gets. Pure. `before` is that of the original when the last copy looked, `theirs` the one that it has
/// now, and `ours` that of the copy.
fn merged<'a>(
    before: Option<&'a Hold>,
    theirs: Option<&'a Hold>,
    ours: Option<&'a Hold>,
) -> Option<&'a Hold> {
    let is_own = ours.is_some() && ours != before;
    if theirs == before || is_own { ours } else { theirs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_on_the_original_is_carried_over_and_what_the_copy_has_of_its_own_stays() {
        let hold = |since: &str| Some(Hold { since: since.to_owned(), ..Hold::default() });
        let none = || None;
        for (before, theirs, ours, expected) in [
            (none(), none(), none(), none()),
            (none(), hold("1"), none(), hold("1")),
            (hold("1"), none(), hold("1"), none()),
            (hold("1"), hold("2"), hold("1"), hold("2")),
            // The copy has a hold of its own.
            (none(), none(), hold("own"), hold("own")),
            (none(), hold("1"), hold("own"), hold("own")),
            (hold("1"), none(), hold("own"), hold("own")),
            // It was released on the copy, and stays released until the original is held anew.
            (hold("1"), hold("1"), none(), none()),
            (hold("1"), hold("2"), none(), hold("2")),
        ] {
            let found = merged(before.as_ref(), theirs.as_ref(), ours.as_ref());
            assert_eq!(found, expected.as_ref(), "{before:?} {theirs:?} {ours:?}");
        }
    }
}
