//! Sets the priority of this process.

use engine::threads::{IoClass, set_io_priority};
use rustix::process::setpriority_process;

use crate::config::types::RunLimits;
use crate::config::values::io_priority::IoPriority;
use crate::log::JobLog;

/// Sets the priority of this thread and of all that it starts later, so it is called before other threads start. What
/// cannot be set is reported: a backup at another priority is better than none.
pub(crate) fn set(limits: &RunLimits, log: &JobLog) {
    if let Some(nice) = limits.nice
        && let Err(error) = setpriority_process(None, i32::from(nice))
    {
        log.warn(&format!(
            "NICE={nice} cannot be set: {error}; the run goes on without it; below the value that it was started with, it needs root or CAP_SYS_NICE"
        ));
    }
    let Some(priority) = limits.ionice else { return };
    let class = match priority {
        IoPriority::None => IoClass::None,
        IoPriority::BestEffort(level) => IoClass::BestEffort(level),
        IoPriority::Idle => IoClass::Idle,
    };
    if let Err(error) = set_io_priority(class) {
        log.warn(&format!("IONICE cannot be set: {error}; the run goes on without it"));
    }
}
