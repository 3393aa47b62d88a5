//! Answers for programs: metrics and the verbs' JSON.

pub(crate) mod api;
pub(crate) mod metrics;
