//! Encodes messages into frames and decodes them.

use serde::{Deserialize, Serialize};

use crate::helper::protocol::FRAME_MAX;

/// A message that does not fit into a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of more than {FRAME_MAX} bytes")]
pub(crate) struct TooLong;

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message that is not understood")]
pub(crate) struct NotUnderstood;

/// Appends the frame of `message`, which belongs to the request `number`, and of the `rest` behind it. Leaves
/// `out` as it was when the frame would be too long.
///
/// # Errors
/// [`TooLong`].
pub(crate) fn append<M: Serialize>(
    out: &mut Vec<u8>,
    number: u32,
    message: &M,
    rest: &[u8],
) -> Result<(), TooLong> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&number.to_be_bytes());
    let encoded = postcard::to_extend(message, std::mem::take(out)).map_err(|_| TooLong);
    *out = encoded?;
    out.extend_from_slice(rest);
    let length = out.len() - start - 4;
    if length > FRAME_MAX {
        out.truncate(start);
        return Err(TooLong);
    }
    let length = u32::try_from(length).map_err(|_| TooLong)?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Decodes a frame without its length field: the number of the request, the message, and the bytes behind it.
///
/// # Errors
/// [`NotUnderstood`].
pub(crate) fn read<'a, M: Deserialize<'a>>(
    frame: &'a [u8],
) -> Result<(u32, M, &'a [u8]), NotUnderstood> {
    let (number, message) = frame.split_first_chunk().ok_or(NotUnderstood)?;
    let (message, rest) = postcard::take_from_bytes(message).map_err(|_| NotUnderstood)?;
    Ok((u32::from_be_bytes(*number), message, rest))
}
