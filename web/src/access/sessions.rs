//! Who is logged in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::access::users::{Users, token};
use crate::access::users_file::UsersFile;

/// How long someone stays logged in.
pub(crate) const LASTS: Duration = Duration::from_secs(12 * 3600);
/// Wrong attempts that are answered within a minute.
const ATTEMPTS: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// People who are logged in at the same time.
const SESSIONS: usize = 1000;

/// Why someone is not logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Name and password do not belong together.
    Wrong,
    /// There were too many attempts.
    TooMany,
}

/// Someone who is logged in.
struct Session {
    name: String,
    /// The hash of the password that let them in.
    hash: String,
    since: Instant,
}

/// The users, and who is logged in.
pub(crate) struct Sessions {
    users: Option<UsersFile>,
    open: Mutex<HashMap<String, Session>>,
    wrong: Mutex<Vec<Instant>>,
}

impl Sessions {
    pub(crate) fn new(users: Option<UsersFile>) -> Self {
        Self { users, open: Mutex::default(), wrong: Mutex::default() }
    }

    /// Whether everyone who reaches the page reads it.
    pub(crate) fn needs_no_login(&self) -> bool {
        self.users.is_none()
    }

    /// The users as they are now.
    fn users(&self) -> Option<Arc<Users>> {
        self.users.as_ref()?.users()
    }

    /// The user with this session. It ends when the user is removed, or gets another password.
    pub(crate) fn user(&self, token: Option<&str>) -> Option<String> {
        let token = token?;
        let users = self.users()?;
        let open = lock(&self.open);
        let Session { name, hash, since } = open.get(token)?;
        let counts = since.elapsed() < LASTS && users.hash(name) == Some(hash);
        counts.then(|| name.clone())
    }

    /// Checks a password. Returns a new session.
    pub(crate) fn log_in(&self, name: &str, password: &[u8]) -> Result<String, Refusal> {
        let now = Instant::now();
        {
            // Counted before the password is checked: many at once are one attempt each.
            let mut wrong = lock(&self.wrong);
            wrong.retain(|at| now.duration_since(*at) < MINUTE);
            if wrong.len() >= ATTEMPTS {
                return Err(Refusal::TooMany);
            }
            wrong.push(now);
        }
        let users = self.users().filter(|users| users.check(name, password));
        let hash = users.as_ref().and_then(|users| users.hash(name)).ok_or(Refusal::Wrong)?;
        let token = token().ok_or(Refusal::Wrong)?;
        lock(&self.wrong).retain(|at| *at != now);
        let mut open = lock(&self.open);
        open.retain(|_, session| session.since.elapsed() < LASTS);
        if open.len() >= SESSIONS {
            open.clear();
        }
        let session = Session { name: name.to_owned(), hash: hash.to_owned(), since: now };
        open.insert(token.clone(), session);
        Ok(token)
    }

    pub(crate) fn log_out(&self, token: Option<&str>) {
        if let Some(token) = token {
            lock(&self.open).remove(token);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_some_wrong_attempts_none_is_answered() {
        let sessions = Sessions::new(None);
        for _ in 0..ATTEMPTS {
            assert_eq!(sessions.log_in("ann", b"x"), Err(Refusal::Wrong));
        }
        assert_eq!(sessions.log_in("ann", b"x"), Err(Refusal::TooMany));
        assert_eq!(sessions.user(None), None);
        assert_eq!(sessions.user(Some("")), None);
    }
}
