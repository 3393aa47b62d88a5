//! Errors of a source as both ends send them.

use std::io;
use std::path::PathBuf;

use engine::SourceError;
use engine::entry::escape::shown;
use engine::fs::UntrustedLink;
use serde::{Deserialize, Serialize};

/// The most bytes of a text that the near end shows.
const TEXT_MAX: usize = 300;

/// The actions that can fail; the position of an action is its number. The last one stands for unknown ones.
const ACTIONS: [&str; 5] = ["open", "look at", "list", "read", "follow the symlink"];

/// An error of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SentError {
    Vanished,
    Replaced,
    /// The number of an action, the errno if there is one, and the text of an error without one.
    Unreadable(u8, Option<i32>, String),
    /// The symlink, what other users control, and its owner.
    UntrustedLink(Vec<u8>, Vec<u8>, Option<u32>),
    BadName,
    /// The far end refuses the request; the reason.
    Refused(String),
    /// The content of a snapshot's file is not what was backed up.
    Damaged,
}

impl From<&SourceError> for SentError {
    fn from(error: &SourceError) -> Self {
        use std::os::unix::ffi::OsStrExt;
        match error {
            SourceError::Vanished => Self::Vanished,
            SourceError::Replaced => Self::Replaced,
            SourceError::BadName(_) => Self::BadName,
            SourceError::Damaged => Self::Damaged,
            SourceError::UntrustedLink(link) => {
                let bytes = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
                Self::UntrustedLink(bytes(&link.link), bytes(&link.at), link.uid)
            }
            SourceError::Lost(why) => Self::Refused(why.clone()),
            SourceError::Unreadable { action, error } => {
                let number = ACTIONS.iter().position(|known| known == action);
                let number = number.and_then(|number| u8::try_from(number).ok());
                let errno = error.raw_os_error();
                let text = if errno.is_none() { error.to_string() } else { String::new() };
                Self::Unreadable(number.unwrap_or_default(), errno, text)
            }
        }
    }
}

/// A text of the other end, for messages: without control characters, and not too long.
pub(crate) fn said(text: &str) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    shown(&text.as_bytes()[..end])
}

impl From<SentError> for SourceError {
    fn from(error: SentError) -> Self {
        use std::os::unix::ffi::OsStringExt;
        match error {
            SentError::Vanished => Self::Vanished,
            SentError::Replaced => Self::Replaced,
            SentError::BadName => Self::BadName(engine::entry::BadName),
            SentError::Damaged => Self::Damaged,
            SentError::UntrustedLink(link, at, uid) => {
                let path = |bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes));
                Self::UntrustedLink(UntrustedLink { link: path(link), at: path(at), uid })
            }
            SentError::Unreadable(action, errno, text) => {
                let action = ACTIONS.get(usize::from(action)).copied().unwrap_or(ACTIONS[0]);
                let error = match errno {
                    Some(errno) => io::Error::from_raw_os_error(errno),
                    None => io::Error::other(said(&text)),
                };
                Self::Unreadable { action, error }
            }
            SentError::Refused(why) => {
                Self::Unreadable { action: "open", error: io::Error::other(said(&why)) }
            }
        }
    }
}
