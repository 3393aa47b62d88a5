//! Answers from the content of files and folders, so that less of it crosses the line: confirmations, differences, hashes, ranges.

pub(crate) mod confirm;
pub(crate) mod delta;
pub(crate) mod hash;
pub(crate) mod range;
