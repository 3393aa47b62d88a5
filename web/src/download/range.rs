//! The header `Range` (RFC 9110, 14.2).

/// The part of a file that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: there is no range, or one that is not understood.
    All,
    /// The start and the length.
    Range(u64, u64),
    /// Bytes that the file does not have.
    Outside,
}

impl Part {
    /// Reads the header for a file of `size` bytes. Several ranges at once are answered with all of it.
    pub(crate) fn read(header: &str, size: u64) -> Self {
        let Some(range) = header.trim().strip_prefix("bytes=") else { return Self::All };
        let Some((first, last)) = range.split_once('-') else { return Self::All };
        let (first, last) = (first.trim(), last.trim());
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u64>().ok(),
            false => None,
        };
        match (first.is_empty(), number(first), number(last)) {
            // The last bytes.
            (true, _, Some(0)) => Self::Outside,
            (true, _, Some(length)) if size > 0 => {
                Self::Range(size - length.min(size), length.min(size))
            }
            (true, _, Some(_)) => Self::Outside,
            (false, Some(first), _) if last.is_empty() => {
                Self::between(first, size.saturating_sub(1), size)
            }
            (false, Some(first), Some(last)) if first <= last => Self::between(first, last, size),
            _ => Self::All,
        }
    }

    fn between(first: u64, last: u64, size: u64) -> Self {
        match first < size {
            true => Self::Range(first, last.min(size - 1) - first + 1),
            false => Self::Outside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (header, size, part) in [
            ("bytes=0-499", 1000, Part::Range(0, 500)),
            ("bytes=500-", 1000, Part::Range(500, 500)),
            ("bytes=-1", 1000, Part::Range(999, 1)),
            ("bytes=-2000", 1000, Part::Range(0, 1000)),
            ("bytes=0-5000", 1000, Part::Range(0, 1000)),
            ("bytes=1000-", 1000, Part::Outside),
            ("bytes=0-0", 0, Part::Outside),
            ("bytes=0-", 0, Part::Outside),
            ("bytes=-0", 9, Part::Outside),
            ("bytes=-1", 0, Part::Outside),
            ("bytes=5-1", 9, Part::All),
            ("bytes=0-1,3-4", 9, Part::All),
            ("bytes=+1-2", 9, Part::All),
            ("lines=1-2", 9, Part::All),
            ("bytes=-", 9, Part::All),
            ("bytes=99999999999999999999-", 9, Part::All),
        ] {
            assert_eq!(Part::read(header, size), part, "{header} of {size}");
        }
    }
}
