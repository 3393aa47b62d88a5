//! Limits the handles that a restore has open on the server, and learns how many the server allows.
//!
//! Servers that allow few handles refuse further ones as "failure" or "permission denied". So an operation that the server
//! refuses beside others is done once more with no other handle open. If it then succeeds, the server has a limit, and
//! fewer handles are open from then on.

use std::sync::{Arc, Mutex};

use engine::threads::{Permit, Semaphore, lock};

use crate::sftp::protocol::packet::StatusCode;
use crate::sftp::write::link::error::RequestError;

/// After this many operations in a row that the server also refuses alone, it is taken to refuse entries for their own
/// sake. Without this, a restore to folders that the user may not write to waits for every file.
const IN_VAIN: u32 = 8;

/// The handles of a restore.
pub(crate) struct WriteHandles {
    free: Arc<Semaphore>,
    learned: Mutex<LearnedLimit>,
}

/// What the server's answers show about its limit.
#[derive(Debug, Default, PartialEq, Eq)]
struct LearnedLimit {
    /// An operation that was refused beside others succeeded alone.
    is_limited: bool,
    /// Number of operations in a row that were also refused alone.
    in_vain: u32,
}

impl LearnedLimit {
    /// Whether an operation that was refused with `fault` beside `others` handles is done again alone.
    fn may_be_the_cause(&self, fault: &RequestError, others: u64) -> bool {
        let is_unspecific = match fault {
            RequestError::Refused(status) => !matches!(
                status,
                // SSH_FX_BAD_MESSAGE and SSH_FX_OP_UNSUPPORTED are about the request.
                StatusCode::Ok
                    | StatusCode::Eof
                    | StatusCode::NoSuchFile
                    | StatusCode::Other(5 | 8)
            ),
            _ => false,
        };
        is_unspecific && self.is_possible(others)
    }

    /// Whether a limit may show beside `others` handles.
    fn is_possible(&self, others: u64) -> bool {
        others > 0 && (self.is_limited || self.in_vain < IN_VAIN)
    }

    /// Learns from an operation that was done again alone. Returns whether fewer handles must be open.
    fn tried_alone(&mut self, succeeded: bool) -> bool {
        self.is_limited |= succeeded;
        self.in_vain = if succeeded { 0 } else { self.in_vain.saturating_add(1) };
        succeeded
    }
}

impl WriteHandles {
    pub(crate) fn new(most: u64) -> Self {
        Self { free: Semaphore::new(most), learned: Mutex::default() }
    }

    /// Waits until `count` more handles may be open.
    pub(crate) fn acquire(&self, count: u64) -> Permit {
        self.free.acquire(count)
    }

    /// Lets half as many handles be open as are now.
    pub(crate) fn halve(&self) {
        self.free.lower(self.free.taken() / 2);
    }

    /// Does `work`, which has one handle open at a time and can be repeated. Takes the handle before `work` takes
    /// memory: a thread that waits for memory then holds no handle that another one waits for.
    pub(crate) fn with_one<T>(
        &self,
        work: impl FnMut() -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        self.with_one_unless(work, |_| false)
    }

    /// Like [`WriteHandles::with_one`], for work that goes on after a refusal: `was_refused` tells it from the result.
    pub(crate) fn with_one_unless<T>(
        &self,
        mut work: impl FnMut() -> Result<T, RequestError>,
        was_refused: impl Fn(&T) -> bool,
    ) -> Result<T, RequestError> {
        let permit = self.free.acquire(1);
        let before = self.free.taken();
        let done = work();
        let most = before.max(self.free.taken());
        drop(permit);
        let is_again = match &done {
            Err(fault) => lock(&self.learned).may_be_the_cause(fault, most - 1),
            Ok(done) => was_refused(done) && lock(&self.learned).is_possible(most - 1),
        };
        if !is_again {
            return done;
        }
        let _alone = self.free.acquire_alone();
        let done = work();
        let succeeded = done.as_ref().is_ok_and(|done| !was_refused(done));
        if lock(&self.learned).tried_alone(succeeded) {
            self.free.lower(most / 2);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENIED: RequestError = RequestError::Refused(StatusCode::PermissionDenied);

    #[test]
    fn only_an_unspecific_refusal_beside_others_may_be_due_to_a_limit() {
        let limit = LearnedLimit::default();
        let failed = RequestError::Refused(StatusCode::Failure);
        for (fault, others, may) in [
            (&DENIED, 1, true),
            (&DENIED, 0, false),
            (&failed, 3, true),
            (&RequestError::Refused(StatusCode::NoSuchFile), 3, false),
            (&RequestError::Refused(StatusCode::Other(8)), 3, false),
            (&RequestError::Full, 3, false),
            (&RequestError::Occupied, 3, false),
        ] {
            assert_eq!(limit.may_be_the_cause(fault, others), may, "{fault:?} {others}");
        }
    }

    #[test]
    fn a_server_that_also_refuses_alone_is_believed_until_a_limit_is_seen() {
        let mut limit = LearnedLimit::default();
        for _ in 0..IN_VAIN {
            assert!(limit.may_be_the_cause(&DENIED, 1));
            assert!(!limit.tried_alone(false));
        }
        assert!(!limit.may_be_the_cause(&DENIED, 1));
        assert!(limit.tried_alone(true));
        (0..99).for_each(|_| assert!(!limit.tried_alone(false)));
        assert!(limit.may_be_the_cause(&DENIED, 1), "the limit is known");
    }

    #[test]
    fn a_refused_operation_is_done_again_alone_and_fewer_handles_are_open_then() {
        let handles = WriteHandles::new(8);
        let others: Vec<_> = (0..3).map(|_| handles.acquire(1)).collect();
        let mut taken = Vec::new();
        let done = std::thread::scope(|scope| {
            let ending = scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(50));
                drop(others);
            });
            let done = handles.with_one(|| {
                taken.push(handles.free.taken());
                if taken.len() == 1 { Err(DENIED) } else { Ok(()) }
            });
            ending.join().unwrap();
            done
        });
        assert_eq!((done, taken), (Ok(()), vec![4, 8]));
        let _two = handles.acquire(2);
        assert!(handles.free.try_acquire(1).is_none(), "half of the four that were open");
    }
}
