//! Parses a single rule: rsync(1), FILTER RULES IN DEPTH.

use crate::filter::error::RuleError;
use crate::filter::rule::{Reading, Sides, Syntax};

/// A parsed rule, before its pattern is compiled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// `!`: discard the rules so far.
    Clear,
    /// A rule with a pattern.
    Pattern(PatternRule<'a>),
    /// `-C`: the rules of CVS are inserted here, for these sides.
    Cvs(Sides),
    /// Merge the rules of another file, either once or in each folder.
    Merge { per_folder: bool, excludes_itself: bool, reading: Reading, name: &'a [u8] },
}

/// A rule with a pattern.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PatternRule<'a> {
    pub(crate) include: bool,
    pub(crate) negated: bool,
    pub(crate) absolute: bool,
    pub(crate) attributes: bool,
    pub(crate) sides: Sides,
    pub(crate) pattern: &'a [u8],
}

/// The file name that `C` implies when the rule gives none.
const CVS_FILE: &[u8] = b".cvsignore";

const LONG: [(&[u8], u8); 9] = [
    (b"clear", b'!'),
    (b"dir-merge", b':'),
    (b"exclude", b'-'),
    (b"hide", b'H'),
    (b"include", b'+'),
    (b"merge", b'.'),
    (b"protect", b'P'),
    (b"risk", b'R'),
    (b"show", b'S'),
];

/// Parses `text`, which must not be empty, in the syntax of `reading`.
///
/// # Errors
/// The reason why the text is not a rule.
pub(crate) fn parse(text: &[u8], reading: Reading) -> Result<Parsed<'_>, RuleError> {
    let (include, pattern) = match reading.syntax {
        Syntax::Full => return full(text, reading),
        Syntax::Old { .. } | Syntax::Cvs if text == b"!" => return Ok(Parsed::Clear),
        Syntax::Old { include } => match text {
            [b'-', b' ', pattern @ ..] => (false, pattern),
            [b'+', b' ', pattern @ ..] => (true, pattern),
            pattern => (include, pattern),
        },
        Syntax::Patterns { include } => (include, text),
        Syntax::Cvs => (false, text),
    };
    if pattern.is_empty() {
        return Err(RuleError::NoPattern);
    }
    let Reading { absolute, sides, .. } = reading;
    let parsed =
        PatternRule { include, negated: false, absolute, attributes: false, sides, pattern };
    Ok(Parsed::Pattern(parsed))
}

fn full(text: &[u8], from: Reading) -> Result<Parsed<'_>, RuleError> {
    let (rule, rest) = prefix(text)?;
    if rule == b'!' {
        return if rest.is_empty() { Ok(Parsed::Clear) } else { Err(RuleError::ClearWithMore) };
    }
    let merges = matches!(rule, b'.' | b':');
    let end = rest.iter().position(|byte| matches!(byte, b' ' | b'_')).unwrap_or(rest.len());
    let (modifiers, name) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let mut parsed = PatternRule {
        include: matches!(rule, b'+' | b'S' | b'R'),
        negated: false,
        absolute: from.absolute,
        attributes: false,
        sides: Sides { sender: matches!(rule, b'H' | b'S'), receiver: matches!(rule, b'P' | b'R') },
        pattern: name,
    };
    let fixed = parsed.sides.any();
    let mut reading = Reading::default();
    let (mut cvs, mut excludes_itself) = (false, false);
    for modifier in modifiers {
        match modifier {
            b'/' => parsed.absolute = true,
            b'!' if !merges => parsed.negated = true,
            b'C' if !fixed && !cvs && reading.syntax == Syntax::Full && rule != b'+' => {
                cvs = true;
                reading.syntax = Syntax::Cvs;
                (reading.words, reading.own_only) = (true, true);
            }
            b'-' | b'+' if merges && reading.syntax == Syntax::Full => {
                reading.syntax = Syntax::Patterns { include: *modifier == b'+' };
            }
            b'e' if merges => excludes_itself = true,
            b'n' if merges => reading.own_only = true,
            b'w' if merges => reading.words = true,
            b's' if !fixed => parsed.sides.sender = true,
            b'r' if !fixed => parsed.sides.receiver = true,
            // Perishable: concerns only folders that a receiver deletes.
            b'p' => {}
            b'x' => parsed.attributes = true,
            _ => return Err(RuleError::UnknownModifier(*modifier)),
        }
    }
    if from.sides.any() {
        if parsed.sides.any() {
            return Err(RuleError::SidesTwice);
        }
        parsed.sides = from.sides;
    }
    if merges {
        let name = if name.is_empty() && cvs { CVS_FILE } else { name };
        if name.is_empty() {
            return Err(RuleError::NoPattern);
        }
        (reading.absolute, reading.sides) = (parsed.absolute, parsed.sides);
        return Ok(Parsed::Merge { per_folder: rule == b':', excludes_itself, reading, name });
    }
    match (cvs, name.is_empty()) {
        (true, true) => Ok(Parsed::Cvs(parsed.sides)),
        (true, false) => Err(RuleError::CvsWithName),
        (false, true) => Err(RuleError::NoPattern),
        (false, false) => Ok(Parsed::Pattern(parsed)),
    }
}

/// The letter of the rule, and the text after it and after an optional comma.
fn prefix(text: &[u8]) -> Result<(u8, &[u8]), RuleError> {
    for (name, letter) in LONG {
        match text.strip_prefix(name) {
            Some([b',', rest @ ..]) => return Ok((letter, rest)),
            Some(rest @ ([] | [b' ' | b'_', ..])) => return Ok((letter, rest)),
            _ => {}
        }
    }
    match text {
        [letter @ (b'-' | b'+' | b'.' | b':' | b'H' | b'S' | b'P' | b'R' | b'!'), rest @ ..] => {
            Ok((*letter, rest.strip_prefix(b",").unwrap_or(rest)))
        }
        _ => Err(RuleError::UnknownRule),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_rule_is_reported_with_the_reason() {
        for (rule, fault) in [
            ("- ", RuleError::NoPattern),
            ("exclude", RuleError::NoPattern),
            (":n", RuleError::NoPattern),
            (". ", RuleError::NoPattern),
            ("x", RuleError::UnknownRule),
            (" - b", RuleError::UnknownRule),
            ("exclude! b", RuleError::UnknownRule),
            ("excludes b", RuleError::UnknownRule),
            ("-b", RuleError::UnknownModifier(b'b')),
            ("-n b", RuleError::UnknownModifier(b'n')),
            ("-- b", RuleError::UnknownModifier(b'-')),
            ("Hs b", RuleError::UnknownModifier(b's')),
            (":! .f", RuleError::UnknownModifier(b'!')),
            (":+- .f", RuleError::UnknownModifier(b'-')),
            ("! ", RuleError::ClearWithMore),
            ("clear x", RuleError::ClearWithMore),
            ("-C b", RuleError::CvsWithName),
        ] {
            let found = parse(rule.as_bytes(), Reading::default());
            assert_eq!(found, Err(fault), "{rule}");
        }
    }

    #[test]
    fn rules_in_all_their_forms() {
        for (rule, include, pattern) in [
            ("- b", false, "b"),
            ("-_b", false, "b"),
            ("-, b", false, "b"),
            ("exclude b", false, "b"),
            ("exclude,p b", false, "b"),
            ("exclude_b", false, "b"),
            ("-  b", false, " b"),
            ("include b ", true, "b "),
            ("Sp b", true, "b"),
            ("-s/ b c", false, "b c"),
        ] {
            match parse(rule.as_bytes(), Reading::default()) {
                Ok(Parsed::Pattern(parsed)) => {
                    assert_eq!((parsed.include, parsed.pattern), (include, pattern.as_bytes()));
                }
                other => panic!("{rule}: {other:?}"),
            }
        }
        assert_eq!(parse(b"!", Reading::default()), Ok(Parsed::Clear));
        assert_eq!(parse(b"clear", Reading::default()), Ok(Parsed::Clear));
        for (rule, sender, receiver) in
            [("-C", false, false), ("-Cr", false, true), ("-sC", true, false)]
        {
            let parsed = parse(rule.as_bytes(), Reading::default());
            assert_eq!(parsed, Ok(Parsed::Cvs(Sides { sender, receiver })), "{rule}");
        }
    }
}
