//! Checks what the near end wants to send, and where it is to be stored.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use engine::copy::CopyJob;
use engine::entry::escape::shown;
use engine::fs::Resolved;
use engine::snapshot::SnapshotLinks;
use engine::{Prefix, Retention};

use crate::helper::protocol::copy::{SentCopyJob, SentRefusal, SentSnapshots};
use crate::helper::protocol::error::said;
use crate::helper::protocol::report::SentSettings;
use crate::helper::serve::ServeOptions;
use crate::helper::serve::confine::Roots;
use crate::helper::serve::place::absolute;

/// A copy that can begin.
pub(crate) struct Prepared {
    pub(crate) job: CopyJob,
    /// Where the snapshots come from, for messages.
    pub(crate) from: String,
    /// The level by which the ends compress.
    pub(crate) level: Option<u8>,
    /// The bytes per second that may be read at first.
    pub(crate) rate: Option<u64>,
    /// Nothing is written.
    pub(crate) dry_run: bool,
    /// The snapshots that the near end has.
    pub(crate) offered: SentSnapshots,
}

/// Makes the folder for the copies unless it is a dry run, and confines this process to it.
pub(crate) fn prepare(
    options: &ServeOptions,
    roots: &Roots,
    sent: SentCopyJob<'_>,
) -> Result<Prepared, SentRefusal> {
    let prefix = Prefix::new(sent.prefix).map_err(|error| {
        SentRefusal::new(format!("'{}' is no prefix of snapshots: {error}", said(sent.prefix)))
    })?;
    let settings: SentSettings = serde_json::from_slice(sent.settings)
        .map_err(|error| SentRefusal::new(format!("settings that are not understood: {error}")))?;
    let backups_dir = folder(options, roots, sent.dir)?;
    let is_new = !backups_dir.exists();
    if is_new && !settings.dry_run {
        let mode = settings.backups_mode.unwrap_or(0o700);
        make(&backups_dir, mode).map_err(|error| {
            let path = shown(backups_dir.as_os_str().as_bytes());
            SentRefusal::new(format!(
                "cannot create {path}: {error}; the folder above it has to exist"
            ))
        })?;
    }
    // Threads that are started later have the same rights.
    let used = backups_dir.parent().filter(|_| is_new && settings.dry_run);
    Roots::new(&[used.unwrap_or(&backups_dir).to_owned()])
        .map_err(|error| SentRefusal::from(&error))?
        .confine(true)
        .map_err(SentRefusal::new)?;
    // Whoever may only add snapshots decides nothing about those that are there.
    let retention = match options.only_adds {
        true => Retention::default(),
        false => settings.retention(),
    };
    let job = CopyJob {
        prefix,
        backups_dir,
        backups_mode: settings.backups_mode.filter(|_| !options.only_adds),
        retention,
        newest: settings.newest,
        rename_from: settings.rename_from,
        links: SnapshotLinks::default(),
        fake_super: settings.fake_super,
        only_adds: options.only_adds,
        selection: None,
    };
    let SentSettings { from, rate, dry_run, .. } = settings;
    let (level, offered) = (sent.compression, sent.offered);
    Ok(Prepared { job, from: said(&from), level, rate, dry_run, offered })
}

/// The folder for the copies, without symlinks on the way to it. It must lie in a root.
fn folder(options: &ServeOptions, roots: &Roots, dir: &[u8]) -> Result<PathBuf, SentRefusal> {
    let only = options.roots.first().filter(|_| options.only_adds && dir.is_empty());
    let path = only.cloned().unwrap_or_else(|| absolute(dir));
    if !Roots::is_plain(&path) || !roots.concerns(&path) {
        return Err(outside());
    }
    let found = Resolved::at(&path).map_err(|error| SentRefusal::from(&error))?;
    let real = found.path();
    if roots.hold(&real) { Ok(real) } else { Err(outside()) }
}

/// Creates the folder. The folder above it must exist: a path that is mistyped makes no tree.
fn make(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(mode & 0o777).create(path)
}

fn outside() -> SentRefusal {
    SentRefusal::new(
        "the helper at the far end was started with --root for another folder; name one in it, or correct --root in ~/.ssh/authorized_keys there",
    )
}
