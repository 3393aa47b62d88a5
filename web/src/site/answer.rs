//! Answers to requests, and why there is none.

use std::io;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use engine::LookError;
use rustix::io::Errno;

use crate::text::Text;

/// The answer of a page, or why there is none.
pub(crate) type Outcome = Result<Response, Failure>;

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No page has this address.
    NotFound,
    /// The snapshot does not exist, or was removed.
    NoSuchSnapshot,
    /// The snapshot has nothing at this path.
    NoSuchPath,
    /// The question names what does not exist.
    NoAnswer(String),
    /// The backups folder cannot be read.
    Unreadable(String),
    /// Too many downloads, comparisons or searches at once.
    Busy,
    /// The page itself failed.
    Broken,
}

impl Failure {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoSuchSnapshot | Self::NoSuchPath | Self::NoAnswer(_) => {
                StatusCode::NOT_FOUND
            }
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreadable(_) | Self::Broken => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What to say, and what to fill in.
    pub(crate) fn words(&self) -> (Text, &str) {
        match self {
            Self::NotFound => (Text::NotFound, ""),
            Self::NoSuchSnapshot => (Text::NoSuchSnapshot, ""),
            Self::NoSuchPath => (Text::NoSuchPath, ""),
            Self::NoAnswer(why) => (Text::NoAnswer, why),
            Self::Unreadable(why) => (Text::CannotRead, why),
            Self::Busy => (Text::Busy, ""),
            Self::Broken => (Text::Failed, ""),
        }
    }
}

impl From<LookError> for Failure {
    fn from(error: LookError) -> Self {
        match error.error.kind() {
            io::ErrorKind::NotFound => Self::NoSuchSnapshot,
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL,
            ) => Self::NoSuchPath,
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

/// An answer of the type `media`.
pub(crate) fn of(media: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// An HTML page.
pub(crate) fn html(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = of("text/html; charset=utf-8", body);
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}
