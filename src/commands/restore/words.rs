//! Interprets the arguments of `restore [SNAPSHOT] [PATH…]`: the snapshot, and the paths in it.

use std::ffi::{OsStr, OsString};

use chrono::{DateTime, Local};
use engine::Selector;
use engine::SnapshotName;

use crate::exit::Exit;
use crate::snapshots::open::{SelectedSnapshot, Series, in_snapshot, on_source, one, pick};
use crate::term::print::fail;

/// Words that name a snapshot.
const KNOWN: [&str; 4] = ["latest", "oldest", "yesterday", "today"];

/// Words that other programs have for snapshots, and the words here.
const OTHERS: [(&str, &str); 9] = [
    ("newest", "latest"),
    ("last", "latest"),
    ("current", "latest"),
    ("recent", "latest"),
    ("now", "latest"),
    ("head", "latest"),
    ("previous", "latest~1"),
    ("prev", "latest~1"),
    ("first", "oldest"),
];

/// The most words of an age or a date: `2 days ago`.
const LONGEST: usize = 3;

/// Maximum number of wrong letters in a misspelt word.
const FEW_LETTERS: usize = 2;

/// The snapshot that the arguments name, and the paths on its source.
///
/// # Errors
/// The exit code if the arguments name none; the reason is already printed.
pub(crate) fn meaning<'a>(
    all: &'a [Series],
    words: &[OsString],
    now: &DateTime<Local>,
) -> Result<(SelectedSnapshot<'a>, Vec<Vec<u8>>), Exit> {
    if let Some(text) = in_pieces(words, now) {
        fail(&format!(
            "'{text}' means a snapshot, but a shell splits it at its spaces; write it in quotes"
        ));
        return Err(Exit::Usage);
    }
    let named = words.first().and_then(|word| snapshot_of(word, now));
    let paths = &words[usize::from(named.is_some())..];
    let of_paths = one_snapshot(all, paths)?;
    let picked = match (&named, of_paths) {
        (None, Some(picked)) => picked,
        (Some(text), of_paths) => {
            let picked = pick(all, text, now)?;
            if let Some(other) = of_paths
                && other.name != picked.name
            {
                fail(&format!(
                    "the path lies in {}, but '{text}' means {}; name one of the two",
                    other.name, picked.name
                ));
                return Err(Exit::Usage);
            }
            picked
        }
        (None, None) => {
            if let Some(word) = paths.first().and_then(|word| word.to_str()) {
                refuse_mistyped(all, word)?;
            }
            one(all, None)?;
            pick(all, "latest", now)?
        }
    };
    let roots = picked.series.roots_of(&picked.name);
    let paths = paths.iter().map(|path| roots.meant(&on_source(picked.series, path))).collect();
    Ok((picked, paths))
}

/// Returns `word` if it names a snapshot. A word with a slash is a path, unless it ends with a complete
/// snapshot name.
fn snapshot_of(word: &OsStr, now: &DateTime<Local>) -> Option<String> {
    let text = word.to_str()?;
    let last = text.trim_end_matches('/').rsplit('/').next()?;
    let whole = SnapshotName::parse_any(last.as_bytes()).is_some();
    let means = Selector::parse(text, now).is_ok();
    (means && (whole || !text.contains('/'))).then(|| text.to_owned())
}

/// The first words, if only together they mean a snapshot: `2 days ago` without quotes. A word with a slash is a path.
fn in_pieces(words: &[OsString], now: &DateTime<Local>) -> Option<String> {
    let plain =
        |word: &OsString| word.to_str().filter(|text| !text.contains('/')).map(str::to_owned);
    let plain: Vec<String> = words.iter().take(LONGEST).map_while(plain).collect();
    let joined = (2..=plain.len()).rev().map(|count| plain[..count].join(" "));
    joined.into_iter().find(|text| Selector::parse(text, now).is_ok())
}

/// The snapshot that contains all the paths, if there is one.
fn one_snapshot<'a>(
    all: &'a [Series],
    paths: &[OsString],
) -> Result<Option<SelectedSnapshot<'a>>, Exit> {
    let of = |path: &OsString| {
        all.iter().find_map(|series| {
            let (name, _) = in_snapshot(series, path)?;
            Some(SelectedSnapshot { series, name })
        })
    };
    let mut found: Option<SelectedSnapshot<'a>> = None;
    for picked in paths.iter().filter_map(of) {
        match &found {
            Some(first) if first.name != picked.name => {
                fail(&format!(
                    "the paths lie in different snapshots, {} and {}; restore them one after the other",
                    first.name, picked.name
                ));
                return Err(Exit::Usage);
            }
            Some(_) => {}
            None => found = Some(picked),
        }
    }
    let Some(SelectedSnapshot { series, name }) = found else { return Ok(None) };
    let known = series.history.complete.iter().chain(&series.history.incomplete);
    if !known.into_iter().any(|there| *there == name) {
        fail(&format!("there is no snapshot {name}; list shows the snapshots"));
        return Err(Exit::Usage);
    }
    Ok(Some(SelectedSnapshot { series, name }))
}

/// Reports a word without a slash as a mistake if it is nearly a word for a snapshot and no file has this
/// name.
fn refuse_mistyped(all: &[Series], word: &str) -> Result<(), Exit> {
    if word.contains('/') || std::path::Path::new(word).symlink_metadata().is_ok() {
        return Ok(());
    }
    let complete = all.iter().flat_map(|series| &series.history.complete);
    let Some(near) = nearest(word, complete.map(ToString::to_string)) else { return Ok(()) };
    fail(&format!(
        "'{word}' is not a snapshot; did you mean {near}? Write ./{word} for a file of that name"
    ));
    Err(Exit::Usage)
}

/// The word for a snapshot that `word` is a misspelling of.
fn nearest(word: &str, snapshots: impl Iterator<Item = String>) -> Option<String> {
    let lower = word.to_lowercase();
    if let Some((_, here)) = OTHERS.iter().find(|(other, _)| *other == lower) {
        return Some((*here).to_owned());
    }
    let (base, rest) = lower.split_at(lower.find('~').unwrap_or(lower.len()));
    let known =
        KNOWN.iter().map(|known| (strsim::osa_distance(base, known), format!("{known}{rest}")));
    let named = snapshots.map(|name| {
        let stamp = name.rsplit('.').next().unwrap_or_default();
        let distance = strsim::osa_distance(word, &name).min(strsim::osa_distance(word, stamp));
        (distance, name)
    });
    let (distance, near) = known.chain(named).min_by_key(|(distance, _)| *distance)?;
    (distance <= FEW_LETTERS && word.len() > 2 * FEW_LETTERS).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_or_a_date_in_pieces_is_recognised() {
        for (words, text) in [
            ("12 days ago /home", Some("12 days ago")),
            ("2026-11-23 14:30", Some("2026-11-23 14:30")),
            ("latest docs", None),
            ("yesterday /home/latest", None),
            ("docs", None),
        ] {
            let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
            assert_eq!(in_pieces(&words, &Local::now()).as_deref(), text, "{words:?}");
        }
    }

    #[test]
    fn a_word_that_is_nearly_a_snapshot_is_recognised() {
        let snapshots = || ["p.07-12-2023_13-32-58".to_owned()].into_iter();
        for (word, near) in [
            ("lastest", Some("latest")),
            ("Latst~2", Some("latest~2")),
            ("yesterdya", Some("yesterday")),
            ("p.07-12-2023_13-32-59", Some("p.07-12-2023_13-32-58")),
            ("07-12-2023_13-32-5", Some("p.07-12-2023_13-32-58")),
            ("docs", None),
            ("Newest", Some("latest")),
            ("previous", Some("latest~1")),
            ("late", None),
            ("thesis.odt", None),
        ] {
            assert_eq!(nearest(word, snapshots()).as_deref(), near, "{word}");
        }
    }
}
