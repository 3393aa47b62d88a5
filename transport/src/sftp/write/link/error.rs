//! The errors of a request, and their conversion to system errors.

use std::io;
use std::sync::Arc;

use engine::SourceError;
use rustix::io::Errno;

use crate::sftp::protocol::packet::StatusCode;
use crate::ssh::again::MayBeLost;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestError {
    /// The connection was lost, with the reason. Another connection is being made.
    Lost(Arc<str>),
    /// There is no connection any more.
    Ended(String),
    /// The server refused the request.
    Refused(StatusCode),
    /// The server reports another entry than it reported before, or than was created.
    Replaced,
    /// The file system on the host is full.
    Full,
    /// The stored bytes differ from the sent bytes.
    Garbled,
    /// An entry of this name already exists.
    Occupied,
    /// The operation is impossible, for this reason.
    Impossible(&'static str),
}

impl RequestError {
    /// The network thread has ended.
    pub(crate) fn ended() -> Self {
        Self::Ended("the connection has ended".to_owned())
    }

    /// Whether the server reported that the entry does not exist.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Refused(StatusCode::NoSuchFile))
    }

    /// Whether the error is an answer of the server, not a failure of the connection.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
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
    fn from(fault: RequestError) -> Self {
        match fault {
            RequestError::Lost(why) => RequestError::given_up(&why).into(),
            RequestError::Ended(why) => engine::restore::lost(&why),
            RequestError::Replaced => Self::new(
                io::ErrorKind::NotADirectory,
                "something else is there than the server had said",
            ),
            RequestError::Garbled => Self::other("the server stored other bytes than were sent"),
            RequestError::Full => Errno::NOSPC.into(),
            RequestError::Occupied => io::ErrorKind::AlreadyExists.into(),
            RequestError::Impossible(why) => Self::other(why),
            RequestError::Refused(status) => match status {
                StatusCode::NoSuchFile => Errno::NOENT.into(),
                // SSH_FX_BAD_MESSAGE: OpenSSH's code for ENAMETOOLONG and EINVAL.
                StatusCode::Other(5) => {
                    Self::other("the server does not take its name or a value of it")
                }
                StatusCode::Other(8) => Self::new(
                    io::ErrorKind::Unsupported,
                    "the server does not support what it takes",
                ),
                status => match crate::sftp::protocol::attributes::refusal("write", status, b"") {
                    SourceError::Unreadable { error, .. } => error,
                    other => Self::other(other.to_string()),
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> RequestError {
        RequestError::Lost(Arc::from("cut"))
    }

    #[test]
    fn a_lost_connection_is_distinguished_from_a_refused_entry() {
        let is_lost = |fault: RequestError| engine::restore::is_lost(&fault.into());
        assert!(is_lost(RequestError::ended()) && is_lost(lost()));
        for status in [StatusCode::Failure, StatusCode::PermissionDenied, StatusCode::Other(5)] {
            assert!(!is_lost(RequestError::Refused(status)));
        }
        let full: io::Error = RequestError::Full.into();
        assert_eq!(full.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    }
}
