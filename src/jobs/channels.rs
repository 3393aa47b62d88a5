//! The number of SFTP channels that a host accepts: `SFTP_CHANNELS`, and a lower number if the host ended
//! earlier connections with more channels. That number is stored in `.backup_manager/hosts/channels.json`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};
use engine::repository::AppFiles;
use serde::{Deserialize, Serialize};
use transport::ssh::connect::address::Address;
use transport::ssh::options::ChannelLimit;

use crate::term::units::counted;

/// The folder in `.backup_manager/`, and the file in it.
const FOLDER: &str = "hosts";
const FILE: &str = "channels.json";

/// Maximum number of stored hosts.
const HOSTS: usize = 1000;

/// Hosts by their addresses.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Hosts {
    hosts: BTreeMap<String, HostChannels>,
}

/// The stored data of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct HostChannels {
    /// The number of channels that the host accepts.
    channels: usize,
    /// The value of `SFTP_CHANNELS` when this was found out.
    setting: Option<usize>,
    /// The time in RFC 3339 format.
    since: String,
}

impl Hosts {
    fn read(own: &AppFiles) -> Self {
        let content = own.read(FOLDER, FILE).unwrap_or_default();
        serde_json::from_slice(&content).unwrap_or_default()
    }

    /// The number of channels that the host accepts. A number found with another setting does not count.
    fn channels(&self, address: &str, setting: Option<usize>) -> Option<usize> {
        let host = self.hosts.get(address)?;
        let counts = host.channels > 0 && (setting.is_none() || host.setting == setting);
        counts.then_some(host.channels)
    }
}

/// Where the number of a host is stored.
#[derive(Debug, Clone)]
pub(crate) struct ChannelMemory<'a> {
    pub(crate) backups_dir: &'a Path,
    pub(crate) address: &'a Address,
    /// `SFTP_CHANNELS`.
    pub(crate) setting: Option<NonZeroUsize>,
    /// Whether the number may be written.
    pub(crate) may_write: bool,
}

impl ChannelMemory<'_> {
    /// The known limit of the host. If the host accepts fewer channels later, `warn` is called and the number
    /// is stored.
    pub(crate) fn limit(&self, warn: impl Fn(&str) + Send + Sync + 'static) -> ChannelLimit {
        let (address, setting) = (self.address.to_string(), self.setting.map(NonZeroUsize::get));
        // Other code reports a folder that cannot be opened.
        let known = AppFiles::open(self.backups_dir).ok();
        let known = known.and_then(|own| Hosts::read(&own).channels(&address, setting));
        let (dir, may_write): (PathBuf, _) = (self.backups_dir.to_owned(), self.may_write);
        ChannelLimit::new(known, move |channels| {
            let found = format!(
                "{address} ended the connection when more than {} opened: it gets no more from now on; SFTP_CHANNELS sets another number",
                counted(channels as u64, "SFTP channel was", "SFTP channels were")
            );
            warn(&found);
            if may_write {
                // Before the first snapshot the folder may not exist yet; `keep` then stores the number at
                // the end.
                let _ = remember(&dir, &address, setting, channels);
            }
        })
    }

    /// Stores the limit if it is not stored already.
    ///
    /// # Errors
    /// The message for the alert.
    pub(crate) fn keep(&self, limit: &ChannelLimit) -> Result<(), String> {
        let (address, setting) = (self.address.to_string(), self.setting.map(NonZeroUsize::get));
        let Some(channels) = limit.get() else { return Ok(()) };
        let known = AppFiles::open(self.backups_dir).ok();
        let known = known.and_then(|own| Hosts::read(&own).channels(&address, setting));
        if known == Some(channels) {
            return Ok(());
        }
        remember(self.backups_dir, &address, setting, channels).map_err(|error| {
            format!("how many SFTP channels {address} takes is not remembered, as .backup_manager/{FOLDER}/{FILE} cannot be written: {error}")
        })
    }
}

fn remember(
    dir: &Path,
    address: &str,
    setting: Option<usize>,
    channels: usize,
) -> Result<(), String> {
    let own = AppFiles::open(dir).map_err(|error| error.to_string())?;
    let mut all = Hosts::read(&own);
    while all.hosts.len() >= HOSTS && !all.hosts.contains_key(address) {
        all.hosts.pop_first();
    }
    let since = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    all.hosts.insert(address.to_owned(), HostChannels { channels, setting, since });
    let text = serde_json::to_vec_pretty(&all).map_err(|error| error.to_string())?;
    own.write(FOLDER, FILE, &text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_found_number_counts_until_another_one_is_set() {
        let host = |setting| HostChannels { channels: 2, setting, since: String::new() };
        let hosts = |setting| Hosts { hosts: [("nas".to_owned(), host(setting))].into() };
        assert_eq!(hosts(None).channels("nas", None), Some(2));
        assert_eq!(hosts(Some(4)).channels("nas", None), Some(2));
        assert_eq!(hosts(Some(4)).channels("nas", Some(4)), Some(2));
        assert_eq!(hosts(Some(4)).channels("nas", Some(3)), None);
        assert_eq!(hosts(None).channels("other", None), None);
        let unusable = Hosts { hosts: [("nas".to_owned(), HostChannels::default())].into() };
        assert_eq!(unusable.channels("nas", None), None);
    }
}
