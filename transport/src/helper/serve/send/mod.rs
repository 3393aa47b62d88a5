//! What goes to the near end: the frames that wait, and how much of them the near end is ready to receive.

pub(crate) mod credit;
pub(crate) mod outbox;
pub(crate) mod sinks;
