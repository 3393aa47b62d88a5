//! The daemon: runs a crontab, as the first process of a container or as a service.

pub(crate) mod capabilities;
pub(crate) mod checks;
pub(crate) mod child_processes;
pub(crate) mod config_dir;
pub(crate) mod keys;
pub(crate) mod puid;
pub(crate) mod service;

use std::env;

use crate::schedule::zone::{Zone, of_environment};

/// The default zone of crontab lines, and the variables whose value is not the name of a zone.
pub(crate) fn environment_zone() -> (Zone, Vec<(&'static str, String)>) {
    let value = |name| env::var(name).ok();
    of_environment(value("CRON_TZ").as_deref(), value("TZ").as_deref())
}
