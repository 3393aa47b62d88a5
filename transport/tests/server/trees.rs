//! Trees for the tests, and helpers to create them.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use transport::sftp::read::SftpSource;
use transport::ssh::connect::connect_error::ConnectError;

use super::Sshd;

pub(crate) fn connect(server: &Sshd) -> SftpSource {
    SftpSource::connect(server.address(), server.options(), || false).expect("it can be made")
}

pub(crate) fn refused(server: &Sshd) -> ConnectError {
    let start = Instant::now();
    let error = SftpSource::connect(server.address(), server.options(), || false)
        .err()
        .expect("it can be made");
    assert!(start.elapsed() < Duration::from_secs(10));
    error
}

/// Non-zero bytes that differ from block to block.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8 | 1
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) fn name(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// Every type of entry and unusual names.
pub(crate) fn odd_tree(root: &Path) {
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    for chunk in bytes.chunks(100) {
        fs::write(root.join(name(chunk)), chunk).expect("it can be made");
    }
    for byte in bytes.iter().filter(|byte| **byte != b'.') {
        fs::write(root.join(name(&[*byte])), [*byte]).expect("it can be made");
    }
    fs::write(root.join("x".repeat(255)), "long").expect("it can be made");
    fs::write(root.join("empty"), "").expect("it can be made");
    fs::write(root.join("large"), noise(9_000_001, 1)).expect("it can be made");
    for (number, size) in [4095, 4096, 258_047, 258_048, 258_049, 1 << 20].into_iter().enumerate() {
        fs::write(root.join(format!("size {size}")), noise(size, number as u64))
            .expect("it can be made");
    }
    let deep = root.join(name(b"folder\xff")).join("a/b/c/d");
    fs::create_dir_all(&deep).expect("it can be made");
    fs::create_dir(root.join("empty folder")).expect("it can be made");
    fs::write(deep.join("deep"), "deep").expect("it can be made");
    symlink("large", root.join("link")).expect("it can be made");
    symlink(name(b"nowhere/\xfe\n"), root.join("dangling")).expect("it can be made");
    symlink("..", deep.join("up")).expect("it can be made");
    let fifo = root.join("fifo");
    assert!(
        std::process::Command::new("mkfifo").arg(fifo).status().expect("it can be made").success()
    );
}
