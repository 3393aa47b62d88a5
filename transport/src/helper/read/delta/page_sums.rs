//! The sums of the base's pages where a part of the file may be.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::helper::delta::pieces;
use crate::helper::delta::sums::PIECE_SUM;
use crate::helper::protocol::delta::SentSums;
use crate::helper::read::delta::plan::Part;

/// The sums of the pieces of a part, as the base has them at another offset. Zeros where it has none.
pub(crate) fn sums_of_base(
    base: &File,
    size: u64,
    sums: &SentSums,
    part: &Part,
    shift: i64,
) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = vec![0; usize::try_from(part.length).unwrap_or_default()];
    let whole = part.offset.checked_add_signed(shift).filter(|at| at + part.length <= size);
    if let Some(at) = whole {
        base.read_exact_at(&mut bytes, at)?;
    }
    let mut rest = &mut bytes[..];
    for (offset, length) in pieces(part.offset, part.length) {
        let (piece, later) = std::mem::take(&mut rest).split_at_mut(length);
        rest = later;
        let at = offset.checked_add_signed(shift).filter(|at| at + length as u64 <= size);
        match at {
            None => out.extend_from_slice(&[0; PIECE_SUM]),
            Some(at) => {
                if whole.is_none() {
                    base.read_exact_at(piece, at)?;
                }
                out.extend_from_slice(&sums.key.piece(piece));
            }
        }
    }
    Ok(out)
}
