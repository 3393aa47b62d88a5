//! Handles target folders whose modes deny write access to their own owner. A restore by that user adds the
//! missing permissions temporarily, as rsync does. It restores the mode afterwards, even when it is stopped.

use crate::restore::targets::Target;
use crate::restore::walk::{RestoreWalk, SharedFolder};

impl<T: Target> RestoreWalk<'_, T> {
    /// Opens the folder `to` with all permissions for its owner. The folder keeps them until it is finished.
    pub(crate) fn open_up(&self, folder: &SharedFolder<T>, to: T::Folder) -> T::Folder {
        if folder.new {
            return to;
        }
        let Some((opened, mode)) = self.target.open_up(&to) else { return to };
        // Keep the first value: a later call reads the mode that the first one set.
        self.opened_up.all().entry(folder.to.inside()).or_insert((folder.clone(), mode));
        opened
    }

    /// Takes the original mode of `folder`, if it was changed. The caller must restore the mode.
    pub(crate) fn mode_before(&self, folder: &SharedFolder<T>) -> Option<u32> {
        let mut all = self.opened_up.all();
        if all.is_empty() { None } else { all.remove(&folder.to.inside()).map(|(_, mode)| mode) }
    }

    /// Restores the modes of folders that were not finished.
    pub(crate) fn close_all(&self) {
        let mut left: Vec<_> = std::mem::take(&mut *self.opened_up.all()).into_iter().collect();
        // Deepest first, because a folder is reached through those above it.
        left.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        for (path, (folder, mode)) in left {
            let closed =
                self.in_target(&folder, None).and_then(|to| self.target.set_mode(&to, mode));
            if let Err(error) = closed {
                self.trouble(&path, true, &error);
            }
        }
    }
}
