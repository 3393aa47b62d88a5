//! Folders of the target whose modes keep their own owner from writing. A restore by that user adds the missing rights
//! meanwhile, as rsync does, and gives the mode back afterwards, also when it is stopped.

use crate::restore::targets::Target;
use crate::restore::walk::{RestoreWalk, Shared};

impl<T: Target> RestoreWalk<'_, T> {
    /// The folder `to` with all rights that it may have; it keeps them until it is finished.
    pub(crate) fn open_up(&self, folder: &Shared<T>, to: T::Folder) -> T::Folder {
        if folder.new {
            return to;
        }
        let Some((opened, mode)) = self.target.open_up(&to) else { return to };
        // A second opening finds the mode that the first one has set.
        self.opened_up.all().entry(folder.to.inside()).or_insert((folder.clone(), mode));
        opened
    }

    /// The mode that `folder` had, if it has another one now. Whoever asks sees to the mode.
    pub(crate) fn mode_before(&self, folder: &Shared<T>) -> Option<u32> {
        let mut all = self.opened_up.all();
        if all.is_empty() { None } else { all.remove(&folder.to.inside()).map(|(_, mode)| mode) }
    }

    /// Gives back the modes of folders that were not finished.
    pub(crate) fn close_all(&self) {
        let mut left: Vec<_> = std::mem::take(&mut *self.opened_up.all()).into_iter().collect();
        // A folder is reached through those above it.
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
