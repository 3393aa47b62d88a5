//! Parses sizes and rates in rsync's notation: `1.5m`, `2GB`, `1g-1`.

/// The unit of a number without a suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Byte,
    Kibibyte,
}

/// Parses a size into bytes. A letter alone or with `ib` counts by 1024, with `b` by 1000 (rsync(1),
/// `--max-size`).
///
/// # Errors
/// A message with what to write instead.
pub(crate) fn read(text: &str, plain: Unit) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a size; write for example 500, 1.5m or 2GB");
    let lower = text.to_ascii_lowercase();
    let (rest, offset) = match (lower.strip_suffix("+1"), lower.strip_suffix("-1")) {
        (Some(rest), _) => (rest, 1),
        (_, Some(rest)) => (rest, -1),
        _ => (lower.as_str(), 0),
    };
    let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = rest.split_at(digits);
    let factor = factor(unit, plain).ok_or_else(wrong)?;
    let bytes = multiply(number, factor).ok_or_else(wrong)?;
    bytes
        .checked_add_signed(offset)
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| format!("'{text}' is out of range; write 0 to 8192P-1"))
}

fn factor(unit: &str, plain: Unit) -> Option<u64> {
    let mut letters = unit.chars();
    let power = match letters.next() {
        None => return Some(if plain == Unit::Kibibyte { 1024 } else { 1 }),
        Some('b') => 0,
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        Some(_) => return None,
    };
    match (letters.as_str(), power) {
        ("", _) => Some(1024_u64.pow(power)),
        ("ib", 1..) => Some(1024_u64.pow(power)),
        ("b", 1..) => Some(1000_u64.pow(power)),
        _ => None,
    }
}

/// Multiplies `number`, which may have decimals, by `factor`, and truncates to whole bytes. The arithmetic is
/// exact.
fn multiply(number: &str, factor: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && decimals.is_empty()) || decimals.len() > 15 || decimals.contains('.') {
        return None;
    }
    let read = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
    let scale = 10_u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let number = read(whole)?.checked_mul(scale)?.checked_add(read(decimals)?)?;
    u64::try_from(number.checked_mul(u128::from(factor))? / scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_rsync_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("1.5mb-1", 1_499_999),
            ("2g+1", 2_147_483_649),
            ("100b", 100),
            ("1k", 1024),
            ("1K", 1024),
            ("1KiB", 1024),
            ("1kB", 1000),
            (".5m", 524_288),
            ("1.5", 1),
            ("3p", 3 << 50),
            ("8191p", 8191 << 50),
        ] {
            assert_eq!(read(text, Unit::Byte), Ok(bytes), "{text}");
        }
        assert_eq!(read("5", Unit::Kibibyte), Ok(5120));
        assert_eq!(read("5b", Unit::Kibibyte), Ok(5));
        assert_eq!(read("1.5m", Unit::Kibibyte), Ok(3 << 19));
    }

    #[test]
    fn text_that_is_no_size_is_refused() {
        for text in [
            "", "k", ".", "-1", "1x", "1kib2", "1bb", "1 k", "0-1", "9999999p", "1.2.3", "1k+2",
            "NaN",
        ] {
            assert!(read(text, Unit::Byte).is_err(), "{text}");
        }
    }
}
