//! The findings of doctor.

use engine::RunError;
use serde::Serialize;

use crate::hint::hint;
use crate::hint::step::Step;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grade {
    Good,
    /// It works, but the user should know about it.
    Warning,
    /// No snapshot can be taken, or no alert will arrive.
    Bad,
}

/// A finding of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DoctorFinding {
    /// The job that the finding is about; `None` for all jobs.
    pub(crate) job: Option<String>,
    pub(crate) check: &'static str,
    pub(crate) grade: Grade,
    pub(crate) found: String,
    /// How to correct it.
    pub(crate) fix: Option<Step>,
}

impl DoctorFinding {
    pub(crate) fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { job: None, check, grade: Grade::Good, found: found.into(), fix: None }
    }

    pub(crate) fn warning(
        check: &'static str,
        found: impl Into<String>,
        fix: impl Into<Step>,
    ) -> Self {
        let fix = Some(fix.into());
        Self { job: None, check, grade: Grade::Warning, found: found.into(), fix }
    }

    pub(crate) fn bad(check: &'static str, found: impl Into<String>, fix: Option<Step>) -> Self {
        Self { job: None, check, grade: Grade::Bad, found: found.into(), fix }
    }

    /// The finding for an error that would make a run fail.
    pub(crate) fn of(check: &'static str, error: &RunError) -> Self {
        Self::bad(check, error.to_string(), hint(error))
    }

    pub(crate) fn about(self, job: &str) -> Self {
        Self { job: Some(job.to_owned()), ..self }
    }
}
