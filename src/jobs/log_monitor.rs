//! Writes the engine's events to the log.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::Monitor;
use engine::monitor::Problem;
use engine::{Event, Severity};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::Level;

use crate::log::JobLog;
use crate::term::local_time;
use crate::ui::summary::Problems;

/// Maximum number of problems that are logged one by one. The report lists all of them.
const LISTED: u64 = 100;

/// A monitor that writes to the log.
#[derive(Debug)]
pub(crate) struct LogMonitor {
    log: JobLog,
    problems: Mutex<Problems>,
    is_denied: AtomicBool,
    /// What lists all problems.
    list: &'static str,
}

impl LogMonitor {
    pub(crate) fn new(log: JobLog) -> Self {
        let list = "the report lists all of them";
        Self { log, problems: Mutex::default(), is_denied: AtomicBool::new(false), list }
    }

    /// A monitor of a copy. Its snapshots have the reports of the originals.
    pub(crate) fn of_copy(log: JobLog) -> Self {
        let list = ".backup_manager/damaged/SNAPSHOT of the copy lists those that it lacks";
        Self { list, ..Self::new(log) }
    }

    /// The problems so far.
    pub(crate) fn problems(&self) -> Problems {
        self.problems.lock().map(|problems| *problems).unwrap_or_default()
    }

    /// Whether this user has no permission to read an entry.
    pub(crate) fn is_denied(&self) -> bool {
        self.is_denied.load(Ordering::Relaxed)
    }
}

impl Monitor for LogMonitor {
    fn event(&self, event: &Event) {
        match event {
            // This event repeats every minute, and only the engine needs it.
            Event::Checkpoint => return,
            Event::Problem(problem) => {
                if problem.what.contains("Permission denied") {
                    self.is_denied.store(true, Ordering::Relaxed);
                }
                let Ok(mut problems) = self.problems.lock() else { return };
                problems.add(problem.instead);
                let total = problems.total();
                drop(problems);
                if total > LISTED {
                    if total == LISTED + 1 {
                        self.log.warn(&format!("there are more such entries; {}", self.list));
                    }
                    return;
                }
            }
            _ => {}
        }
        let level = match event.severity() {
            Severity::Info => Level::INFO,
            Severity::Warning => Level::WARN,
        };
        self.log.log(level, &message(event), fields(event), "");
    }
}

/// The message of an event, with times as local times.
pub(crate) fn message(event: &Event) -> String {
    let local = |time: &String| local_time::of_rfc3339(time);
    match event.clone() {
        Event::Clock { says, what } => Event::Clock { says: local(&says), what }.to_string(),
        Event::Problem(problem) => {
            let since = problem.since.as_ref().map(local);
            Event::Problem(Problem { since, ..problem }).to_string()
        }
        event => event.to_string(),
    }
}

/// The fields of a log line.
pub(crate) fn event(fields: Value) -> Option<Map<String, Value>> {
    match fields {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// The fields of a value that serializes as an object.
pub(crate) fn fields(value: &impl Serialize) -> Option<Map<String, Value>> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use engine::monitor::Instead;

    use super::*;
    use crate::config::values::log_format::Format;

    #[test]
    fn problems_are_counted_by_kind() {
        let monitor = LogMonitor::new(JobLog::new("j", Format::Text));
        for (instead, times) in [(Instead::Nothing, 150), (Instead::CarriedForward, 2)] {
            for _ in 0..times {
                monitor.event(&Event::Problem(Problem::new(b"/x", "denied", instead)));
            }
        }
        let expected = Problems { carried_forward: 2, nothing: 150, ..Problems::default() };
        assert_eq!(monitor.problems(), expected);
    }

    #[test]
    fn an_event_has_fields_of_its_own() {
        let problem = Event::Problem(Problem::new(b"/x", "denied", Instead::Nothing));
        let fields = Value::Object(fields(&problem).unwrap());
        assert_eq!(fields["event"], "problem");
        assert_eq!(fields["path"], "/x");
    }
}
