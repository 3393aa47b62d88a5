//! Checks the settings for when a job runs, how fast, at which priority, and beside how many others.

use std::num::NonZeroUsize;

use crate::config::checks::backup::count;
use crate::config::checks::value::{Checked, Raw, text, wrong};
use crate::config::rsync::rate;
use crate::config::values::io_priority::IoPriority;
use crate::schedule::timetable::Timetable;
use crate::schedule::window::Window;

/// Maximum number of jobs at the same time. Each is a process with threads and connections of its own.
const MAX_JOBS: usize = 64;

/// The level of ioprio_set(2) for a class without one, as in ionice(1).
const LEVEL: u8 = 4;

pub(crate) fn window(raw: &Raw) -> Checked<Window> {
    Window::read(&text(raw)?).map_err(|what| vec![what])
}

pub(crate) fn bwlimit(raw: &Raw) -> Checked<Timetable> {
    rate::read(&text(raw)?).map_err(|what| vec![what])
}

pub(crate) fn nice(raw: &Raw) -> Checked<i8> {
    let text = text(raw)?;
    match text.parse() {
        Ok(number) if (-20..=19).contains(&number) => Ok(number),
        _ => wrong(format!("'{text}' is not a nice value; write -20 to 19, for example 10")),
    }
}

pub(crate) fn ionice(raw: &Raw) -> Checked<IoPriority> {
    let text = text(raw)?.to_ascii_lowercase();
    let (class, level) = match text.split_once(':') {
        Some((class, level)) => (class, Some(level)),
        None => (text.as_str(), None),
    };
    match (class, level) {
        ("none", None) => Ok(IoPriority::None),
        ("idle", None) => Ok(IoPriority::Idle),
        ("best-effort", None) => Ok(IoPriority::BestEffort(LEVEL)),
        ("best-effort", Some(level)) => match level.parse() {
            Ok(level @ 0..=7) => Ok(IoPriority::BestEffort(level)),
            _ => wrong(format!("'{level}' is not a level; write best-effort:0 to best-effort:7")),
        },
        _ => wrong(format!(
            "'{text}' is not an I/O priority; write idle, best-effort, best-effort:0 to best-effort:7, or none"
        )),
    }
}

pub(crate) fn jobs_at_once(raw: &Raw) -> Checked<NonZeroUsize> {
    match count(raw, "no job would run", "4")? {
        many if many.get() > MAX_JOBS => {
            wrong(format!("{many} jobs at once are too many; write 1 to {MAX_JOBS}"))
        }
        jobs => Ok(jobs),
    }
}
