//! Exit codes.

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
    /// Stopped by the signal with this number; the next run can resume.
    Signal(u8),
}

impl Exit {
    /// The exit code that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Listed => 3,
            Self::Damaged => 4,
            // The status of a command that signal N ends is 128+N (bash(1)).
            Self::Signal(number) => 128 + number,
        }
    }

    /// The worse of two exits.
    pub(crate) fn worse(self, other: Self) -> Self {
        let weight = |exit: Self| match exit {
            Self::Done => 0,
            Self::Listed => 1,
            Self::Failed => 2,
            Self::Damaged => 3,
            Self::Usage => 4,
            Self::Signal(_) => 5,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_weighs_more_than_a_list() {
        use Exit::Damaged;
        use Exit::Done;
        use Exit::Failed;
        use Exit::Listed;
        use Exit::Signal;
        for (one, other, worse, code) in [
            (Done, Done, Done, 0),
            (Done, Listed, Listed, 3),
            (Listed, Failed, Failed, 1),
            (Failed, Damaged, Damaged, 4),
            (Failed, Signal(15), Signal(15), 143),
            (Done, Signal(2), Signal(2), 130),
        ] {
            assert_eq!((one.worse(other), other.worse(one)), (worse, worse));
            assert_eq!(worse.code(), code);
        }
    }
}
