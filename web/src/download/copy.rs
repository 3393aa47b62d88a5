//! Copies the content of a file.

use std::fs::File;
use std::io::{self, Read, Write};

/// Bytes that are read at once.
const READ: usize = 256 * 1024;

/// Copies exactly `length` bytes.
pub(crate) fn copy(file: &mut File, length: u64, out: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; length.min(READ as u64) as usize];
    let mut left = length;
    while left > 0 {
        let want = left.min(READ as u64) as usize;
        match file.read(&mut buffer[..want]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                out.write_all(&buffer[..count])?;
                left -= count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
