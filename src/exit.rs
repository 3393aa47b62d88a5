//! Exit codes.

/// Each exit code with its meaning, as help and manual pages show them.
pub(crate) const MEANINGS: [(&str, &str); 6] = [
    ("0", "done, or nothing to do"),
    ("1", "failed; a later attempt may succeed"),
    ("2", "a mistake in the command line or the configuration"),
    ("3", "completed, but some files could not be read"),
    ("4", "damage was found in the backups"),
    (
        "129, 130, 143",
        "stopped by SIGHUP, SIGINT or SIGTERM, or at the end of WINDOW (143); the next run resumes",
    ),
];

/// The exit code of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Failed; a later attempt may succeed.
    Failed,
    /// A mistake in the command line or the configuration.
    Usage,
    /// Completed, but some files could not be read.
    Listed,
    /// Data in the backups is damaged.
    Damaged,
    /// Stopped at the end of the window of a job; the next run can resume.
    WindowEnd,
    /// Stopped by the signal with this number; the next run can resume.
    Signal(u8),
}

impl Exit {
    /// The work was stopped. The code that watches for signals knows the number.
    pub(crate) const STOPPED: Self = Self::Signal(0);

    /// The exit code that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Listed => 3,
            Self::Damaged => 4,
            // As by SIGTERM.
            Self::WindowEnd => 143,
            // The status of a command that signal N ends is 128+N (bash(1)).
            Self::Signal(number) => 128 + number,
        }
    }

    /// The exit of another process of this program, if it is one.
    pub(crate) fn of_code(code: i32) -> Option<Self> {
        match code {
            0 => Some(Self::Done),
            1 => Some(Self::Failed),
            2 => Some(Self::Usage),
            3 => Some(Self::Listed),
            4 => Some(Self::Damaged),
            129 | 130 | 143 => Some(Self::WindowEnd),
            _ => None,
        }
    }

    /// The worse of two exits.
    pub(crate) fn worse(self, other: Self) -> Self {
        let weight = |exit: Self| match exit {
            Self::Done => 0,
            Self::Listed => 1,
            Self::WindowEnd => 2,
            Self::Failed => 3,
            Self::Damaged => 4,
            Self::Usage => 5,
            Self::Signal(_) => 6,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_meaning_and_is_documented() {
        use Exit::{Damaged, Done, Failed, Listed, Signal, Usage};
        let (signals, others) = MEANINGS.split_last().unwrap();
        let codes = [Done, Failed, Usage, Listed, Damaged].map(|exit| exit.code().to_string());
        assert_eq!(others.iter().map(|(code, _)| *code).collect::<Vec<_>>(), codes);
        let of_signals = [1, 2, 15].map(|number| Signal(number).code().to_string());
        assert_eq!(signals.0, of_signals.join(", "));
        let page = include_str!("../docs/runs.md");
        for (code, _) in MEANINGS {
            assert!(page.contains(&format!("| {code} |")), "docs/runs.md: {code}");
        }
    }

    #[test]
    fn a_code_is_read_as_the_exit_that_has_it() {
        use Exit::{Damaged, Done, Failed, Listed, Usage, WindowEnd};
        for exit in [Done, Failed, Usage, Listed, Damaged, WindowEnd] {
            assert_eq!(Exit::of_code(i32::from(exit.code())), Some(exit));
        }
        assert_eq!(Exit::of_code(101), None);
    }

    #[test]
    fn a_failure_weighs_more_than_a_list() {
        use Exit::Damaged;
        use Exit::Done;
        use Exit::Failed;
        use Exit::Listed;
        use Exit::Signal;
        use Exit::WindowEnd;
        for (one, other, worse, code) in [
            (Done, Done, Done, 0),
            (Done, Listed, Listed, 3),
            (Listed, Failed, Failed, 1),
            (Listed, WindowEnd, WindowEnd, 143),
            (WindowEnd, Failed, Failed, 1),
            (Failed, Damaged, Damaged, 4),
            (Failed, Signal(15), Signal(15), 143),
            (Done, Signal(2), Signal(2), 130),
        ] {
            assert_eq!((one.worse(other), other.worse(one)), (worse, worse));
            assert_eq!(worse.code(), code);
        }
    }
}
