//! Why a request failed.

use std::io;
use std::sync::Arc;

use crate::ssh::again::MayBeLost;

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

    /// An entry that the protocol does not carry.
    pub(crate) fn too_long() -> Self {
        Self::Refused(io::Error::other("its attributes are longer than 256 KiB together"))
    }
}

impl MayBeLost for RequestError {
    fn why_lost(&self) -> Option<&str> {
        match self {
            Self::Lost(why) => Some(why),
            _ => None,
        }
    }

    fn given_up(why: &str) -> Self {
        Self::Ended(format!("the connection was lost again and again: {why}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_lost_too_often_ends_the_restore() {
        for error in [RequestError::given_up("cut"), RequestError::Lost(Arc::from("cut"))] {
            assert!(engine::restore::is_lost(&error.into()));
        }
        assert!(!engine::restore::is_lost(&RequestError::too_long().into()));
    }
}
