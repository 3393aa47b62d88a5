//! A read-only web page over the engine's reading side: time line, folders, versions, differences, downloads, health.
//!
//! The crate knows no verbs. What it needs of the program around it is the trait [`Program`]; [`serve`] answers
//! requests until it is stopped. Nothing here writes, and nothing from a backup is executed: a name from a URL
//! is one component on a held folder ([`engine::inspect::OpenSnapshot`]), and content is text, a picture or an
//! attachment.

mod access;
mod download;
mod export;
mod pages;
mod program;
mod server;
mod settings;
mod site;
mod text;

pub use crate::access::reread::Reread;
pub use crate::access::users::{UserError, add_user};
pub use crate::program::{
    Clock, Contents, Copy, Job, NoSource, Origin, Program, Question, Reason, State,
};
pub use crate::server::{ServeError, serve};
pub use crate::settings::{Listen, Settings, check_base_path, check_listen};
