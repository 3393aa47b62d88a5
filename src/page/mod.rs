//! What the web page asks of the program: jobs, states, commands, and the verbs' JSON.

pub(crate) mod api;
pub(crate) mod jobs;
pub(crate) mod program;
mod settings;
mod source;
mod states;
