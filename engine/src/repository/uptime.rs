//! A lower bound for the age of the last snapshot, from the time since boot. Needed when the wall clock is
//! wrong.

use chrono::TimeDelta;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::fs::small_file::{read_small, write_whole};
use crate::repository::backups_folder::Repository;
use crate::repository::records::report::BootTime;
use crate::repository::records::report_file::report;
use crate::repository::store::Store;
use crate::snapshot::history::History;
use crate::snapshot::name::Prefix;

/// The current boot and the seconds since it. `None` where `/proc` does not provide the boot ID.
pub(crate) fn boot() -> Option<BootTime> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let seconds = u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).ok()?;
    Some(BootTime { id: id.trim().to_owned(), seconds })
}

/// How long this machine was observed to be up since the last snapshot, in the boots after the one of the
/// snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct SeenUptime {
    /// The complete snapshots at that time. When they change, the count restarts at zero.
    snapshots: String,
    /// Seconds observed in boots that have ended.
    before: u64,
    /// The boot observed last, and how long it had lasted then.
    boot: Option<BootTime>,
}

impl SeenUptime {
    /// Records that the machine is up in `boot`. Returns the seconds of observed uptime since the last
    /// snapshot.
    fn see(&mut self, snapshots: String, boot: &BootTime) -> u64 {
        if self.snapshots != snapshots {
            *self = Self { snapshots, ..Self::default() };
        }
        if let Some(last) = self.boot.take().filter(|last| last.id != boot.id) {
            self.before += last.seconds;
        }
        self.boot = Some(boot.clone());
        self.before + boot.seconds
    }
}

/// A lower bound for the age of the last snapshot. The value is exact when the snapshot was taken in the
/// current boot; otherwise it is the observed uptime since then. With `note`, stores the observed uptime for
/// later boots.
pub(crate) fn since_last(
    repository: &Repository,
    prefix: &Prefix,
    history: &History,
    note: bool,
) -> Option<TimeDelta> {
    let boot = boot()?;
    let taken = history.complete.iter().filter_map(|name| report(repository, name)?.boot);
    let in_this_boot = taken.filter(|taken| taken.id == boot.id).map(|taken| taken.seconds).max();
    if let Some(then) = in_this_boot {
        return seconds(boot.seconds.saturating_sub(then));
    }
    let status = repository.store(Store::Status)?;
    let file = format!("{prefix}.uptime");
    let left = read_small(&status, &file).and_then(|left| serde_json::from_slice(&left).ok());
    let mut seen: SeenUptime = left.unwrap_or_default();
    let names: Vec<String> = history.complete.iter().map(ToString::to_string).collect();
    let since = seen.see(names.join(" "), &boot);
    if note && let Ok(text) = serde_json::to_vec(&seen) {
        // When the write fails, the uptime of this boot is not counted after the next reboot.
        let _ = write_whole(&status, &file, &text);
    }
    seconds(since)
}

fn seconds(seconds: u64) -> Option<TimeDelta> {
    TimeDelta::try_seconds(i64::try_from(seconds).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_several_boots_adds_up_until_there_is_another_snapshot() {
        let boot = |id: &str, seconds| BootTime { id: id.to_owned(), seconds };
        let mut seen = SeenUptime::default();
        for (snapshots, boot, expected) in [
            ("a", boot("1", 100), 100),
            ("a", boot("1", 3600), 3600),
            ("a", boot("2", 50), 3650),
            ("a", boot("2", 3600), 7200),
            ("a", boot("3", 10), 7210),
            ("a b", boot("4", 5), 5),
            ("a b", boot("5", 5), 10),
        ] {
            assert_eq!(seen.see(snapshots.to_owned(), &boot), expected, "{boot:?}");
        }
    }
}
