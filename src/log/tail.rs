//! Keeps the last log lines of each job, for alerts.
//!
//! A process has one log, so these lines are global too.

use std::collections::VecDeque;
use std::sync::Mutex;

/// Maximum number of kept lines.
const LINES: usize = 200;
/// Maximum length of a kept line, and of a text that is sent, in bytes (healthchecks.io accepts 10,000).
const LINE: usize = 1_000;
const TEXT: usize = 8_000;

static TAIL: Mutex<VecDeque<(String, String)>> = Mutex::new(VecDeque::new());

/// Keeps a line of `job`.
pub(crate) fn note(job: &str, mut line: String) {
    if line.len() > LINE {
        line.truncate((0..=LINE).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0));
    }
    let Ok(mut tail) = TAIL.lock() else { return };
    if tail.len() == LINES {
        tail.pop_front();
    }
    tail.push_back((job.to_owned(), line));
}

/// The last lines of `job`.
pub(crate) fn of(job: &str) -> String {
    let Ok(tail) = TAIL.lock() else { return String::new() };
    let mut lines = Vec::new();
    let mut room = TEXT;
    for (_, line) in tail.iter().rev().filter(|(of, _)| of == job) {
        if line.len() >= room {
            break;
        }
        room -= line.len() + 1;
        lines.push(line.as_str());
    }
    lines.reverse();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_one_job_are_told() {
        for number in 0..300 {
            note("tail-one", format!("line {number} {}", "x".repeat(90)));
            note("tail-two", "ä".repeat(5_000));
        }
        let tail = of("tail-one");
        assert!(tail.len() <= TEXT && tail.contains("line 299 ") && !tail.contains("line 200 "));
        assert!(!tail.contains('ä') && of("tail-two").len() <= TEXT);
        assert_eq!(of("tail-none"), "");
    }
}
