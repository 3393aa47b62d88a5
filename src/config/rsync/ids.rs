//! Parses `--usermap`, `--groupmap` and `--chown`.

use std::path::Path;

use engine::source::{Ids, Mapping};

/// The users or groups in the local machine's files.
#[derive(Debug, Default)]
pub(crate) struct Base {
    /// Names and their numbers.
    entries: Vec<(String, u32)>,
    file: &'static str,
}

impl Base {
    pub(crate) fn users() -> Self {
        Self::of("/etc/passwd")
    }

    pub(crate) fn groups() -> Self {
        Self::of("/etc/group")
    }

    fn of(file: &'static str) -> Self {
        // If the file is missing, there are no names.
        let text = crate::config::bounded::read(Path::new(file), crate::config::bounded::TEXT)
            .unwrap_or_default();
        Self { entries: entries(&String::from_utf8_lossy(&text)), file }
    }

    fn number(&self, name: &str) -> Result<u32, String> {
        if let Ok(number) = name.parse() {
            return Ok(number);
        }
        let found = self.entries.iter().find(|(entry, _)| entry == name);
        found.map(|(_, number)| *number).ok_or_else(|| {
            format!("'{name}' is not in {} of this machine; write the number", self.file)
        })
    }
}

/// Parses lines of the form `name:…:number:…` (passwd(5), group(5)).
fn entries(text: &str) -> Vec<(String, u32)> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

/// Reads a map of the form `FROM:TO,…`.
///
/// # Errors
/// A message with what to write instead.
pub(crate) fn read_map(text: &str, base: &Base) -> Result<Mapping, String> {
    let mut mapping = Mapping::default();
    for pair in text.split(',') {
        let (from, to) = pair
            .rsplit_once(':')
            .ok_or_else(|| format!("'{pair}' is not FROM:TO; write for example 1000:backup"))?;
        if to.is_empty() {
            return Err(format!("'{pair}' does not say to whom; write for example 1000:backup"));
        }
        mapping.add(from_ids(from, base)?, base.number(to)?);
    }
    Ok(mapping)
}

fn from_ids(from: &str, base: &Base) -> Result<Ids, String> {
    if from == "*" {
        return Ok(Ids::Range(0, u32::MAX));
    }
    if from.is_empty() {
        return Ok(Ids::NoneOf(base.entries.iter().map(|(_, number)| *number).collect()));
    }
    if from.starts_with(|first: char| first.is_ascii_digit()) {
        let (low, high) = from.split_once('-').unwrap_or((from, from));
        return match (low.parse(), high.parse()) {
            (Ok(low), Ok(high)) if low <= high => Ok(Ids::Range(low, high)),
            _ => Err(format!("'{from}' is not a range of numbers; write for example 1000-1999")),
        };
    }
    if from.contains(['*', '?', '[']) {
        let matching = base.entries.iter().filter(|(name, _)| matches(from, name));
        return Ok(Ids::OneOf(matching.map(|(_, number)| *number).collect()));
    }
    Ok(Ids::OneOf(vec![base.number(from)?]))
}

/// Whether `name` matches a pattern with `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => (0..=name.len())
            .filter(|at| name.is_char_boundary(*at))
            .any(|at| matches(rest.as_str(), &name[at..])),
        Some(wanted) => {
            let mut letters = name.chars();
            letters.next().is_some_and(|letter| wanted == '?' || wanted == letter)
                && matches(rest.as_str(), letters.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Base {
        let text = "root:x:0:0:root:/root:/bin/sh\nwayne:x:1000:1000::/:\nwanda:x:1001:1::/:\n:x:5:\nbad\n";
        Base { entries: entries(text), file: "/etc/passwd" }
    }

    #[test]
    fn the_first_pair_that_matches_counts() {
        let map = read_map("0-99:7,wayne:8,wa*:9,:10,*:wayne", &base()).unwrap();
        for (from, to) in [(0, 7), (99, 7), (1000, 8), (1001, 9), (4000, 10)] {
            assert_eq!(map.map(from), to, "{from}");
        }
        let map = read_map("5:6", &base()).unwrap();
        assert_eq!((map.map(5), map.map(6), map.map(7)), (6, 6, 7));
        assert_eq!(read_map("?an*:1", &base()).unwrap().map(1001), 1);
    }

    #[test]
    fn an_unknown_user_or_group_is_refused() {
        for (text, wrong) in [
            ("wayne", "not FROM:TO"),
            ("wayne:", "to whom"),
            ("wayne:nobody-here", "not in /etc/passwd"),
            ("nobody-here:1", "not in /etc/passwd"),
            ("9-1:1", "not a range"),
            ("1x:1", "not a range"),
            ("1:2,,3:4", "not FROM:TO"),
        ] {
            let error = read_map(text, &base()).unwrap_err();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }
}
