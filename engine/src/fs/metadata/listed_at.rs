//! listxattrat(2), since Linux 6.13: lists the attributes of an entry through the handle of its folder. Without it, this needs
//! a path through `/proc`, which takes the kernel four times as long (measured).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of names that are read. Most entries have none, or one of this program's.
const NAMES: usize = 512;

/// `AT_SYMLINK_NOFOLLOW` of linux/fcntl.h.
const NO_FOLLOW: u32 = 0x100;

/// Whether the entry `name` in the folder `dir` is known to have none of the attributes that `takes` accepts by their names.
/// `false` also when that is unknown: the kernel lacks the call, or its result is an error or too long.
pub(super) fn has_none(dir: BorrowedFd<'_>, name: &CStr, takes: impl Fn(&[u8]) -> bool) -> bool {
    static MISSING: AtomicBool = AtomicBool::new(false);
    if MISSING.load(Ordering::Relaxed) {
        return false;
    }
    let mut names = [0; NAMES];
    match list(dir, name, &mut names) {
        Ok(length) => {
            // Each name ends with a NUL.
            let mut names = names[..length].split_inclusive(|byte| *byte == 0);
            !names.any(takes)
        }
        Err(error) => {
            // A filter of system calls may refuse those that it does not know with EPERM.
            if matches!(error, libc::ENOSYS | libc::EPERM) {
                MISSING.store(true, Ordering::Relaxed);
            }
            false
        }
    }
}

/// Its number on all machines but alpha and mips.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const LISTXATTRAT: libc::c_long = 465;

/// Returns the length of the list of names, or an errno.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[expect(unsafe_code, reason = "neither rustix nor nix has this call")]
fn list(dir: BorrowedFd<'_>, name: &CStr, names: &mut [u8]) -> Result<usize, i32> {
    // SAFETY: the kernel reads `name` up to its NUL, writes at most `names.len()` bytes to `names`, and keeps neither
    // pointer. Both live longer than the call.
    let length = unsafe {
        libc::syscall(
            LISTXATTRAT,
            dir.as_raw_fd(),
            name.as_ptr(),
            NO_FOLLOW,
            names.as_mut_ptr(),
            names.len(),
        )
    };
    let errno = || std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    usize::try_from(length).map_err(|_| errno())
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn list(_: BorrowedFd<'_>, _: &CStr, _: &mut [u8]) -> Result<usize, i32> {
    Err(libc::ENOSYS)
}
