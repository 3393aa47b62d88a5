//! The I/O priority of this thread and of those that it starts from now on (ioprio_set(2)).

use std::io;

/// A class of linux/ioprio.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoClass {
    /// As the nice value says.
    None,
    /// The default class, with a level from 0 (first) to 7 (last).
    BestEffort(u8),
    /// Only when nothing else uses the disk.
    Idle,
}

/// `IOPRIO_WHO_PROCESS` of linux/ioprio.h, and the calling thread.
const OF_A_THREAD: libc::c_int = 1;
const THIS: libc::c_int = 0;

/// Sets the I/O priority of the calling thread.
///
/// # Errors
/// The system's error.
pub fn set_io_priority(class: IoClass) -> io::Result<()> {
    let (class, level) = match class {
        IoClass::None => (0, 0),
        IoClass::BestEffort(level) => (2, libc::c_int::from(level)),
        IoClass::Idle => (3, 0),
    };
    set(class << 13 | level)
}

#[expect(unsafe_code, reason = "neither rustix nor nix has this call")]
fn set(priority: libc::c_int) -> io::Result<()> {
    // SAFETY: the call takes three numbers and no pointer.
    let answer = unsafe { libc::syscall(libc::SYS_ioprio_set, OF_A_THREAD, THIS, priority) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
