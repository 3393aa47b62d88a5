//! The sync engine of backup_manager: list, compare, plan, apply, seal.
//!
//! A snapshot is a plain folder. Unchanged files are hard links to the snapshot before, the base.
//! The engine walks a [`Source`] beside the base, plans in pure functions and stores the result. It
//! knows no terminal and no ssh: events go to a [`Monitor`], and the crate `transport` implements
//! [`Source`] for local folders and SFTP, with an example of a whole run.
//!
//! The crate root has what every program that takes snapshots needs: [`Job`], [`Context`], [`run`], the
//! interfaces [`Source`] and [`Monitor`], the errors. Each module below has the rest of one subject. The files
//! of a module are private; what it re-exports is its interface:
//!
//! - [`backup`] takes snapshots, [`restore`] brings them back, [`verify`] checks them, [`drill`] restores a sample
//!   and compares it, [`inspect`] compares and searches them, [`copy`] copies a history, [`adopt`] renames those of other
//!   programs.
//! - [`repository`] is the backups folder: [`Repository`] opens it, [`Report`] is what a run did.
//! - [`snapshot`] holds the rules as values: names, [`History`], [`Retention`], [`Layout`].
//! - [`filter`] is rsync's filter language, without I/O.
//! - [`source`], [`monitor`] and [`threads`] are the interfaces to the program around the engine.
//! - [`entry`] and [`fs`] are entries as values, and Linux on open folders. They are modules of small functions,
//!   so `entry::escape`, `entry::human`, `fs::container`, `fs::stat` and `fs::xattrs` stay modules: their functions are named after
//!   what they work on.
//!
//! What a run does and which snapshots go is decided without a disk:
//!
//! ```
//! use std::num::NonZeroUsize;
//!
//! use chrono::{TimeDelta, TimeZone, Utc};
//! use engine::snapshot::Decision;
//! use engine::snapshot::{Candidate, RemovalReason, surplus};
//! use engine::{History, Prefix, Retention, SnapshotName};
//!
//! let prefix = Prefix::new("my_backup")?;
//! let folders = ["my_backup.21-11-2026_02-00-00", "my_backup.22-11-2026_02-00-00", "photos"];
//! let names = folders.iter().filter_map(|name| SnapshotName::parse(&prefix, name.as_bytes()));
//! let history = History::of(names);
//!
//! let now = Utc.with_ymd_and_hms(2026, 11, 23, 2, 0, 0).unwrap();
//! assert_eq!(history.decide(now, TimeDelta::hours(20), None), Decision::Start);
//! let base = history.base(now).expect("there are snapshots");
//! assert_eq!(base.to_string(), "my_backup.22-11-2026_02-00-00");
//!
//! // MAX_BACKUPS=2: the oldest goes, directly before the new one gets its complete name.
//! let two = Retention { max: NonZeroUsize::new(2), ..Retention::default() };
//! let new = SnapshotName::parse(&prefix, b"my_backup.23-11-2026_02-00-00").expect("a name");
//! let all = history.complete.iter().cloned();
//! let all: Vec<_> = all.map(|name| Candidate { name, held: false, damaged: false, frozen: false }).collect();
//! let (goes, _) = surplus(&all, &two, Some(base), &new);
//! assert_eq!(goes, [(history.complete[0].clone(), RemovalReason::Count(NonZeroUsize::new(2).unwrap()))]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod adopt;
pub mod backup;
pub mod copy;
pub mod drill;
pub mod entry;
pub(crate) mod error;
pub mod filter;
pub mod fs;
pub mod inspect;
pub(crate) mod job;
pub mod monitor;
pub mod repository;
pub mod restore;
pub mod snapshot;
pub mod source;
pub mod threads;
pub mod verify;

pub use crate::backup::roots::Accept;
pub use crate::backup::run::{Outcome, run};
pub use crate::entry::digest::{Digest as ContentDigest, Method};
pub use crate::entry::preserve::{Preserve, Window, leads_out};
pub use crate::entry::stored::StoredEntry;
pub use crate::error::{LookError, NoConnection, RunError};
pub use crate::filter::filters::{FilterOption, Filters};
pub use crate::job::Job;
pub use crate::monitor::context::Context;
pub use crate::monitor::event::{Event, Severity};
pub use crate::monitor::{Monitor, Progress, Silent};
pub use crate::repository::Repository;
pub use crate::repository::records::report::Report;
pub use crate::snapshot::history::History;
pub use crate::snapshot::host::Host;
pub use crate::snapshot::layout::Layout;
pub use crate::snapshot::name::{Prefix, SnapshotName};
pub use crate::snapshot::retention::Retention;
pub use crate::snapshot::spec::Selector;
pub use crate::source::check_roots::check_roots;
pub use crate::source::mapped::MappedSource;
pub use crate::source::{Source, SourceError};
pub use crate::threads::cancel::Stop;
