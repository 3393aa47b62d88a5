//! The effect of a job's rsync options.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use engine::FilterOption;
use engine::Preserve;
use engine::Window;
use engine::source::{Chmod, Mapping};
use transport::compress::Level;
use transport::local::Follow;

use crate::config::rsync::ids::Base;
use crate::config::rsync::remote_program::RemoteProgram;
use crate::config::rsync::shell::Shell;
use crate::config::rsync::size::Unit;
use crate::config::rsync::{ids, rate, size};
use crate::schedule::timetable::Timetable;

/// The effect of a job's rsync options, on top of rsync's `--archive`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent switch of rsync's")]
pub(crate) struct RsyncOptions {
    /// What a snapshot keeps of its source.
    pub(crate) keep: Preserve,
    /// `-r` was given. Recursion is always on; `-r` matters only for the entries that `--files-from` lists.
    pub(crate) recursive: bool,
    /// `-R`: snapshots contain the full source path.
    pub(crate) relative: bool,
    /// Which symlinks are followed.
    pub(crate) follow: Follow,
    /// `--chmod`.
    pub(crate) chmod: Chmod,
    /// `--usermap`, `--chown`.
    pub(crate) users: Option<Mapping>,
    /// `--groupmap`, `--chown`.
    pub(crate) groups: Option<Mapping>,
    /// `--max-delete`.
    pub(crate) max_delete: Option<u64>,
    /// `-m`.
    pub(crate) prune_empty: bool,
    /// `--files-from`.
    pub(crate) files_from: Option<PathBuf>,
    /// `-0`.
    pub(crate) from0: bool,
    /// The filter options, in their order, each with its origin.
    pub(crate) filters: Vec<(FilterOption, String)>,
    /// The origin of the option that is being applied.
    pub(crate) place: String,
    /// `--bwlimit`, if it is given.
    pub(crate) bwlimit: Option<Timetable>,
    /// `--timeout`, in seconds.
    pub(crate) timeout: Option<u64>,
    /// `--contimeout`, in seconds.
    pub(crate) contimeout: Option<u64>,
    /// `-z`.
    pub(crate) compress: bool,
    /// `--compress-level`.
    pub(crate) compress_level: Level,
    /// `-4`, `-6`.
    pub(crate) family: Option<char>,
    /// `-e`.
    pub(crate) shell: Shell,
    /// `--rsync-path`.
    pub(crate) program: Option<RemoteProgram>,
    /// `-n`.
    pub(crate) dry_run: bool,
    /// How often `-i` was given.
    pub(crate) itemize: u8,
    /// `--stats`.
    pub(crate) stats: bool,
}

impl Default for RsyncOptions {
    fn default() -> Self {
        Self {
            keep: Preserve { hard_links: false, one_file_system: false, ..Preserve::default() },
            recursive: false,
            relative: false,
            follow: Follow::default(),
            chmod: Chmod::default(),
            users: None,
            groups: None,
            max_delete: None,
            prune_empty: false,
            files_from: None,
            from0: false,
            filters: Vec::new(),
            place: String::new(),
            bwlimit: None,
            timeout: None,
            contimeout: None,
            compress: false,
            compress_level: Level::default(),
            family: None,
            shell: Shell::default(),
            program: None,
            dry_run: false,
            itemize: 0,
            stats: false,
        }
    }
}

/// The result of applying a value.
type Taken = Result<(), String>;

/// Maximum timeout in seconds: one day.
const LONGEST: u64 = 86_400;

impl RsyncOptions {
    pub(crate) fn one_file_system(&mut self, on: bool) {
        self.keep.mount_points = !(on && self.keep.one_file_system);
        self.keep.one_file_system = on;
    }

    pub(crate) fn chmod(&mut self, value: &[u8]) -> Taken {
        if self.chmod == Chmod::default() {
            self.chmod = Chmod::with_umask(engine::fs::own_umask());
        }
        self.chmod.add(text(value)?).map_err(|error| error.to_string())
    }

    pub(crate) fn usermap(&mut self, value: &[u8]) -> Taken {
        self.keep.owner = true;
        map_once(&mut self.users, ids::read_map(text(value)?, &Base::users())?, "--usermap")
    }

    pub(crate) fn groupmap(&mut self, value: &[u8]) -> Taken {
        self.keep.group = true;
        map_once(&mut self.groups, ids::read_map(text(value)?, &Base::groups())?, "--groupmap")
    }

    pub(crate) fn chown(&mut self, value: &[u8]) -> Taken {
        let text = text(value)?;
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() && group.is_empty() {
            return Err(
                "it contains no user and no group; write USER:GROUP, USER or :GROUP".to_owned()
            );
        }
        if !user.is_empty() {
            self.usermap(format!("*:{user}").as_bytes())?;
        }
        if group.is_empty() { Ok(()) } else { self.groupmap(format!("*:{group}").as_bytes()) }
    }

    pub(crate) fn modify_window(&mut self, value: &[u8]) -> Taken {
        let seconds: i64 = number(value)?;
        self.keep.window = match u32::try_from(seconds) {
            Ok(seconds) => Window::Seconds(seconds),
            Err(_) if seconds < 0 => Window::Exact,
            Err(_) => return Err("that many seconds make all times the same".to_owned()),
        };
        Ok(())
    }

    pub(crate) fn max_delete(&mut self, value: &[u8]) -> Taken {
        self.max_delete = Some(number(value)?);
        Ok(())
    }

    pub(crate) fn max_size(&mut self, value: &[u8]) -> Taken {
        self.keep.max_size = Some(size::read(text(value)?, Unit::Byte)?);
        Ok(())
    }

    pub(crate) fn min_size(&mut self, value: &[u8]) -> Taken {
        self.keep.min_size = Some(size::read(text(value)?, Unit::Byte)?);
        Ok(())
    }

    pub(crate) fn filter(&mut self, option: FilterOption) {
        self.filters.push((option, self.place.clone()));
    }

    pub(crate) fn filter_with(
        &mut self,
        option: fn(Vec<u8>) -> FilterOption,
        value: &[u8],
    ) -> Taken {
        if value.is_empty() {
            return Err("it is empty; write what it is about".to_owned());
        }
        self.filter(option(value.to_vec()));
        Ok(())
    }

    pub(crate) fn filter_file(
        &mut self,
        option: fn(PathBuf) -> FilterOption,
        value: &[u8],
    ) -> Taken {
        if value.is_empty() {
            return Err("it is empty; write the path of a file".to_owned());
        }
        self.filter(option(OsString::from_vec(value.to_vec()).into()));
        Ok(())
    }

    pub(crate) fn from0(&mut self, on: bool) {
        self.from0 = on;
        if on {
            self.filter(FilterOption::Nul);
        }
    }

    pub(crate) fn files_from(&mut self, value: &[u8]) -> Taken {
        if value == b"-" {
            return Err("the list cannot come from stdin; write the path of a file".to_owned());
        }
        let host = value.iter().position(|byte| matches!(byte, b':' | b'/'));
        if host.is_some_and(|at| value[at] == b':') {
            return Err("the list has to be a file of this machine; write its path".to_owned());
        }
        self.files_from = Some(OsString::from_vec(value.to_vec()).into());
        Ok(())
    }

    pub(crate) fn bwlimit(&mut self, value: Option<&[u8]>) -> Taken {
        self.bwlimit = Some(match value {
            Some(value) => rate::read(text(value)?)?,
            None => Timetable::constant(None),
        });
        Ok(())
    }

    /// rsync(1): it implies `-z`, 0 is the default level, and a level that there is not becomes the nearest one.
    pub(crate) fn compress_level(&mut self, value: &[u8]) -> Taken {
        let level = number(value)?;
        self.compress = true;
        self.compress_level = if level == 0 { Level::default() } else { Level::nearest(level) };
        Ok(())
    }

    pub(crate) fn timeout(&mut self, value: Option<&[u8]>) -> Taken {
        self.timeout = seconds(value)?;
        Ok(())
    }

    pub(crate) fn contimeout(&mut self, value: Option<&[u8]>) -> Taken {
        self.contimeout = seconds(value)?;
        Ok(())
    }

    pub(crate) fn rsync_path(&mut self, value: &[u8]) -> Taken {
        self.program = Some(RemoteProgram::read(text(value)?));
        Ok(())
    }

    pub(crate) fn rsh(&mut self, value: &[u8]) -> Taken {
        self.shell = Shell::read(text(value)?)?;
        Ok(())
    }
}

/// Sets a mapping. rsync allows only one mapping, and `--chown` counts as one.
fn map_once(slot: &mut Option<Mapping>, mapping: Mapping, option: &str) -> Taken {
    if slot.as_ref().is_some_and(|other| *other != mapping) {
        return Err(format!(
            "there is another {option} (or --chown); write all pairs into one, separated by commas"
        ));
    }
    *slot = Some(mapping);
    Ok(())
}

fn text(value: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(value).map(str::trim);
    match text {
        Ok("") => Err("its value is empty; write one, or remove it".to_owned()),
        Ok(text) => Ok(text),
        Err(_) => Err("its value is not valid UTF-8; write it again".to_owned()),
    }
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Result<T, String> {
    let text = text(value)?;
    text.parse().map_err(|_| format!("'{text}' is not a whole number that it takes"))
}

fn seconds(value: Option<&[u8]>) -> Result<Option<u64>, String> {
    let seconds = value.map(number).transpose()?.unwrap_or(0);
    if seconds > LONGEST {
        return Err(format!("{seconds} seconds are too many; write at most {LONGEST}"));
    }
    Ok((seconds > 0).then_some(seconds))
}
