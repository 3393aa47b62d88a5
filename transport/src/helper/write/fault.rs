//! Why a request failed, and when it is sent again.

use std::io;
use std::sync::Arc;

/// Maximum number of attempts of a request when connections are lost. If every connection breaks, the request itself
/// may be the cause.
const TRIES: u32 = 5;

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The connection was lost, with the reason. Another connection is being made.
    Lost(Arc<str>),
    /// There is no connection any more.
    Ended(String),
    /// The far end refused it, or it cannot be sent.
    Refused(io::Error),
}

impl RequestError {
    /// The network thread has ended.
    pub(crate) fn ended() -> Self {
        Self::Ended("the connection has ended".to_owned())
    }

    fn given_up(why: &str) -> Self {
        Self::Ended(format!("the connection was lost again and again: {why}"))
    }

    /// An entry that the protocol does not carry.
    pub(crate) fn too_long() -> Self {
        Self::Refused(io::Error::other("its attributes are longer than 256 KiB together"))
    }
}

impl From<RequestError> for io::Error {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Lost(why) => RequestError::given_up(&why).into(),
            RequestError::Ended(why) => engine::restore::lost(&why),
            RequestError::Refused(error) => error,
        }
    }
}

/// Runs `work`, and runs it again after a lost connection. The argument is then `true`: the earlier request may have
/// been carried out.
pub(crate) fn again<T>(
    mut work: impl FnMut(bool) -> Result<T, RequestError>,
) -> Result<T, RequestError> {
    let mut number = 0;
    loop {
        let done = work(number > 0);
        number += 1;
        match done {
            Err(RequestError::Lost(why)) if number == TRIES => {
                return Err(RequestError::given_up(&why));
            }
            Err(RequestError::Lost(_)) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_again_after_a_loss_and_only_then() {
        let lost = || RequestError::Lost(Arc::from("cut"));
        let mut seen = Vec::new();
        let done = again(|before| {
            seen.push(before);
            if seen.len() < 3 { Err(lost()) } else { Ok(7) }
        });
        assert_eq!((done.ok(), seen), (Some(7), vec![false, true, true]));
        let mut count = 0;
        let refused = again(|_| -> Result<(), RequestError> {
            count += 1;
            Err(RequestError::too_long())
        });
        assert!(matches!(refused, Err(RequestError::Refused(_))));
        assert_eq!(count, 1);
        let given_up = again(|_| -> Result<(), RequestError> { Err(lost()) }).unwrap_err();
        assert!(engine::restore::is_lost(&given_up.into()));
    }
}
