//! The users file, read again when it changes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::access::reread::Reread;
use crate::access::users::{UserError, Users};

/// Prints a complaint for whoever runs the page.
type Complain = Box<dyn Fn(&str) + Send + Sync>;

/// The users that the file has now.
pub(crate) struct UsersFile {
    complain: Complain,
    current: Mutex<Current>,
}

struct Current {
    /// `None` if the file has a mistake.
    users: Option<Arc<Users>>,
    file: Reread<Result<Users, UserError>>,
}

impl UsersFile {
    /// Reads the file, and starts the thread that reads it again. `complain` prints the mistakes that it finds then.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn open(path: &Path, complain: Complain) -> Result<Self, UserError> {
        let of = path.to_owned();
        let file = Reread::new(vec![path.to_owned()], move || Users::load(&of))
            .map_err(|error| UserError::File(path.to_owned(), error))?;
        let users = Some(Arc::new(Users::load(path)?));
        Ok(Self { complain, current: Mutex::new(Current { users, file }) })
    }

    /// The users as they are now. `None` if the file has a mistake or is gone: then nobody is let in.
    pub(crate) fn users(&self) -> Option<Arc<Users>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.file.changed() {
            Some(Some(Ok(users))) => current.users = Some(Arc::new(users)),
            Some(Some(Err(error))) => {
                (self.complain)(&format!(
                    "nobody can log in to the web page until this is repaired: {error}"
                ));
                current.users = None;
            }
            Some(None) => current.users = None,
            None => {}
        }
        current.users.clone()
    }
}
