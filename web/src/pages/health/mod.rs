//! The health of a job, for the pages that show it: why it is not healthy, and its further copies.

mod copies;
mod reasons;

pub(crate) use self::copies::copies;
pub(crate) use self::reasons::reasons;
