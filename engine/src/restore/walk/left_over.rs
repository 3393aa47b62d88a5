//! Removes the temporary entries that an interrupted restore left.

use std::ffi::CStr;
use std::io;

use crate::entry::Kind;
use crate::restore::targets::Target;
use crate::restore::targets::temporary::{self, CreatorProcess};
use crate::restore::walk::{RestoreWalk, SharedFolder, SharedOpenFolder};

impl<T: Target> RestoreWalk<'_, T> {
    /// Removes the temporary entry `name` when an interrupted restore left it.
    pub(crate) fn clear(
        &self,
        folder: &SharedFolder<T>,
        opened: &SharedOpenFolder<T>,
        name: &CStr,
        maker: CreatorProcess,
    ) {
        if maker == CreatorProcess::Running {
            return;
        }
        let removed = self.target.look(&opened.to, name).and_then(|there| {
            let Some(there) = there else { return Ok(()) };
            let now = (self.context.now)().timestamp();
            if maker == CreatorProcess::Unknown
                && !temporary::is_left_over(there.meta.ctime.secs, now)
            {
                return Ok(());
            }
            match there.meta.kind {
                // A temporary folder in which an entry was made.
                Kind::Folder => match self.target.may_remove(&opened.to, name, &|_, _| false)? {
                    true => self.target.remove_folder(&opened.to, name),
                    false => Ok(()),
                },
                _ => self.target.remove(&opened.to, name),
            }
        });
        match removed {
            // Another restore removed it first.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.trouble(&folder.to.inside_of(name), false, &error);
            }
            _ => {}
        }
    }
}
