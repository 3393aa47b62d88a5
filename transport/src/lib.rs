//! Sources and targets: implements the engine's source interface for local folders and
//! for SFTP, and the engine's restore target for SFTP. The only crate that knows ssh.
//!
//! A [`LocalSource`] answers on the calling thread. An [`SftpSource`] answers later, on its own
//! threads, with many requests in flight. A run is the same for both:
//!
//! ```
//! use std::sync::Arc;
//!
//! use chrono::{TimeDelta, Utc};
//! use engine::fs::sync_file_system;
//! use engine::fs::XattrSelection;
//! use engine::{
//!     Accept, Context, Host, Job, Layout, Outcome, Prefix, Preserve, Progress, Retention, Silent,
//!     Stop,
//! };
//! use transport::LocalSource;
//!
//! let temporary = tempfile::tempdir()?;
//! let source = temporary.path().join("notes");
//! std::fs::create_dir(&source)?;
//! std::fs::write(source.join("today.txt"), "hello")?;
//!
//! let job = Job {
//!     prefix: Prefix::new("my_backup")?,
//!     host: Host::default(),
//!     layout: Layout::new(&[source], false, temporary.path()).expect("a valid path"),
//!     backups_dir: temporary.path().join("backups"),
//!     backups_mode: None,
//!     keep: Preserve::default(),
//!     filters: Arc::default(),
//!     retention: Retention::default(),
//!     minimum_time_guard: TimeDelta::hours(20),
//!     max_shrink_percent: 90.0,
//!     selection: None,
//!     max_delete: None,
//!     links: Default::default(),
//!     rename_from: None,
//!     change_brake: engine::snapshot::ChangeBrake::Off,
//!     prune_empty: false,
//! };
//! let context = Context {
//!     now: Utc::now,
//!     stop: Arc::new(Stop::default()),
//!     progress: Arc::new(Progress::default()),
//!     monitor: Arc::new(Silent),
//!     sync: sync_file_system,
//!     items: None,
//! };
//! let connect = || Ok(Arc::new(LocalSource::new(XattrSelection { xattrs: false, acls: false })));
//! let outcome = engine::run(&job, None, connect, Accept::default(), &context)?;
//!
//! let Outcome::Completed(report) = outcome else { panic!("nothing delays a first run") };
//! let copy = job.backups_dir.join(&report.snapshot).join("notes/today.txt");
//! assert_eq!(std::fs::read_to_string(copy)?, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For a remote source only `connect` differs:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use transport::{Address, Options, SftpSource};
//!
//! let address: Address = "alice@example.org:2222".parse()?;
//! let source = Arc::new(SftpSource::connect(address, Options::default(), || false)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod compress;
pub(crate) mod delivery;
pub mod helper;
pub mod local;
pub mod remote;
pub mod remote_copy;
pub mod remote_target;
pub mod sftp;
pub mod snapshots;
pub mod ssh;

pub use crate::compress::Level;
pub use crate::local::{Follow, LocalSource};
pub use crate::sftp::{SftpHost, SftpSource, SftpTarget};
pub use crate::snapshots::{LocalStore, SnapshotSource};
pub use crate::ssh::{Address, ConnectError, Options};
