//! Matches text against a pattern with `*`, `**`, `?`, `[…]` and `\`, by rsync(1), PATTERN MATCHING RULES.

use crate::filter::steps::Steps;

/// Whether all of `text` matches all of `pattern`.
///
/// `*`, `?` and classes match no slash; `**` matches any text. A class without an end, or with an
/// unknown `[:kind:]`, matches nothing.
///
/// After a mismatch only the last star is extended. Extending an earlier `*` would stop at the same
/// slash, and the last `**` can match whatever an earlier `**` could. The result is `false` when
/// `steps` runs out.
pub(crate) fn matches(pattern: &[u8], text: &[u8], steps: &Steps) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut any: Option<(usize, usize)> = None;
    let mut within: Option<(usize, usize)> = None;
    while steps.take() {
        if pattern.get(p) == Some(&b'*') {
            let stars = pattern[p..].iter().take_while(|byte| **byte == b'*').count();
            p += stars;
            if stars > 1 {
                (any, within) = (Some((p, t)), None);
            } else {
                within = Some((p, t));
            }
            continue;
        }
        if p == pattern.len() && t == text.len() {
            return true;
        }
        if let Some(next) = text.get(t).and_then(|byte| one(&pattern[p..], *byte)) {
            (p, t) = (p + next, t + 1);
            continue;
        }
        match (&mut within, &mut any) {
            (Some((after, from)), _) if text.get(*from).is_some_and(|byte| *byte != b'/') => {
                *from += 1;
                (p, t) = (*after, *from);
            }
            (_, Some((after, from))) if *from < text.len() => {
                *from += 1;
                (p, t) = (*after, *from);
                within = None;
            }
            _ => return false,
        }
    }
    false
}

/// The length of the pattern element that matches `byte`; `None` when it does not match.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => (byte != b'/').then_some(1),
        [b'[', class @ ..] => match in_class(class, byte)? {
            (true, length) if byte != b'/' => Some(length + 1),
            _ => None,
        },
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'\\'] => None,
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Whether `byte` is in the class whose text starts after `[`, and the length of the class
/// including its `]`.
fn in_class(class: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(class.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let mut at = start;
    let mut found = false;
    // The possible lower end of a range.
    let mut low = None;
    loop {
        match &class[at..] {
            [] => return None,
            [b']', ..] if at > start => return Some((found != negated, at + 1)),
            [b'-', next, ..] if low.is_some() && *next != b']' => {
                let (high, length) = match &class[at + 1..] {
                    [b'\\', literal, ..] => (*literal, 2),
                    [b'\\'] => return None,
                    _ => (*next, 1),
                };
                found |= low.is_some_and(|low| (low..=high).contains(&byte));
                (low, at) = (None, at + 1 + length);
            }
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                (low, at) = (Some(*literal), at + 2);
            }
            [b'\\'] => return None,
            [b'[', b':', rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b']')?;
                match rest[..end].strip_suffix(b":") {
                    Some(kind) => {
                        found |= is_kind(kind, byte)?;
                        (low, at) = (None, at + 2 + end + 1);
                    }
                    // Not a POSIX class: a literal bracket.
                    None => {
                        found |= byte == b'[';
                        (low, at) = (Some(b'['), at + 1);
                    }
                }
            }
            [literal, ..] => {
                found |= *literal == byte;
                (low, at) = (Some(*literal), at + 1);
            }
        }
    }
}

/// Whether `byte` belongs to a POSIX character class, in ASCII; `None` for an unknown class.
fn is_kind(kind: &[u8], byte: u8) -> Option<bool> {
    Some(match kind {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::filter::steps::Steps;

    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        super::matches(pattern, text, &Steps::new())
    }

    #[test]
    fn stars_question_marks_classes_and_backslashes() {
        for (pattern, text, expected) in [
            ("a*c", "abc", true),
            ("a*c", "ab/c", false),
            ("a**c", "ab/c", true),
            ("*a*b", "xaab", true),
            ("**/*.o", "a/b/c.o", true),
            ("**a/*b", "a/a/cb", true),
            ("a?c", "a/c", false),
            ("*", "", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a]", "/", false),
            ("[]x]", "]", true),
            ("[a-]", "-", true),
            ("[[:digit:]]", "7", true),
            ("[[:wrong:]]", "7", false),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[\\]]", "]", true),
            ("a\\", "a\\", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_end_soon() {
        let pattern = "**a*".repeat(40) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(2_000).as_bytes()));
    }
}
