//! The I/O priority of a job.

/// A class of ioprio_set(2) with its level. The class for real time is missing: it could stop everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IoPriority {
    /// As the nice value says.
    None,
    /// 0, the first, to 7.
    BestEffort(u8),
    /// When nothing else uses the disk.
    Idle,
}
