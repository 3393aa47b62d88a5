//! Who is logged in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::access::users::{Users, token};

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

/// The users, and who is logged in.
pub(crate) struct Sessions {
    users: Option<Users>,
    open: Mutex<HashMap<String, (String, Instant)>>,
    wrong: Mutex<Vec<Instant>>,
}

impl Sessions {
    pub(crate) fn new(users: Option<Users>) -> Self {
        Self { users, open: Mutex::default(), wrong: Mutex::default() }
    }

    /// Whether everyone who reaches the page reads it.
    pub(crate) fn needs_no_login(&self) -> bool {
        self.users.is_none()
    }

    /// The user with this session.
    pub(crate) fn user(&self, token: Option<&str>) -> Option<String> {
        let open = lock(&self.open);
        let (name, since) = open.get(token?)?;
        (since.elapsed() < LASTS).then(|| name.clone())
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
        let right = self.users.as_ref().is_some_and(|users| users.check(name, password));
        let token = token().filter(|_| right).ok_or(Refusal::Wrong)?;
        lock(&self.wrong).retain(|at| *at != now);
        let mut open = lock(&self.open);
        open.retain(|_, (_, since)| since.elapsed() < LASTS);
        if open.len() >= SESSIONS {
            open.clear();
        }
        open.insert(token.clone(), (name.to_owned(), now));
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
        let sessions = Sessions::new(Some(Users::default()));
        for _ in 0..ATTEMPTS {
            assert_eq!(sessions.log_in("ann", b"x"), Err(Refusal::Wrong));
        }
        assert_eq!(sessions.log_in("ann", b"x"), Err(Refusal::TooMany));
        assert_eq!(sessions.user(None), None);
        assert_eq!(sessions.user(Some("")), None);
    }
}
