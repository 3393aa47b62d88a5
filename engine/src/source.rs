//! The source interface: what the engine asks of a folder tree somewhere. `transport` answers.

/// Reads a source.
pub trait Source: Send + Sync + 'static {}

/// What a source answered instead of what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);
