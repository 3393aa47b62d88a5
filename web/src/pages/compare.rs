//! Two snapshots compared: sums per folder, and the differences.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use engine::SnapshotName;
use engine::entry::escape::shown;
use engine::inspect::{Difference, DifferenceKind, Differences, diff};
use maud::{Markup, html};

use crate::pages::layout::page;
use crate::pages::parts::{crumbs, label};
use crate::site::answer::{Failure, Outcome};
use crate::site::place::{Place, position};
use crate::site::request::Asked;
use crate::text::Text;

/// Differences that are listed.
const LISTED: usize = 2000;
/// Folders with sums.
const FOLDERS: usize = 1000;

/// The differences in one folder, and all below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    counts: [u64; 5],
    bytes: u64,
}

/// Each kind of difference, in the order of the columns.
const KINDS: [(DifferenceKind, Text); 5] = [
    (DifferenceKind::Added, Text::Added),
    (DifferenceKind::Removed, Text::Removed),
    (DifferenceKind::Changed, Text::Changed),
    (DifferenceKind::Renamed, Text::Renamed),
    (DifferenceKind::Metadata, Text::MetadataOnly),
];

impl Sums {
    fn add(&mut self, difference: &Difference) {
        for ((kind, _), count) in KINDS.iter().zip(&mut self.counts) {
            *count += u64::from(*kind == difference.kind);
        }
        self.bytes += difference.bytes;
    }
}

/// What a comparison found.
#[derive(Default)]
struct Found {
    folders: BTreeMap<Vec<u8>, Sums>,
    listed: Vec<Difference>,
    total: Sums,
    number: u64,
}

impl Found {
    /// Adds a difference. Its folder is the one directly below `inside` that contains it.
    fn add(&mut self, inside: &[u8], difference: &Difference) {
        self.number += 1;
        self.total.add(difference);
        if self.listed.len() < LISTED {
            self.listed.push(difference.clone());
        }
        let rest = difference.path.strip_prefix(inside).unwrap_or(&difference.path);
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let folder = match rest.iter().position(|byte| *byte == b'/') {
            Some(end) => &difference.path[..difference.path.len() - rest.len() + end],
            None if difference.folder => &difference.path[..],
            None => return,
        };
        if self.folders.len() < FOLDERS || self.folders.contains_key(folder) {
            self.folders.entry(folder.to_vec()).or_default().add(difference);
        }
    }
}

pub(crate) fn compare(asked: Asked) -> Outcome {
    let asked = &asked;
    let (job, inside) = asked.job()?;
    let history = job.repository.history(&job.prefix)?;
    let index = |name: &str, default: Option<usize>| match asked.query.bytes(name) {
        None => default.ok_or(Failure::NoSuchSnapshot),
        Some(text) => position(&job, &history, text).ok_or(Failure::NoSuchSnapshot),
    };
    let newest = history.complete.len().checked_sub(1);
    let second = index("b", newest)?;
    let first = index("a", Some(second.saturating_sub(1)))?;
    let place = Place { index: second, inside, job, history };
    let chosen = asked.query.has("a") && asked.query.has("b");
    let content = html! {
        (crumbs(asked, &place))
        h1 { (asked.say(Text::CompareTitle)) }
        (form(asked, &place, first, second))
        @if chosen { (compared(asked, &place, &place.history.complete[first])?) }
        @let command = asked.site.program.compare_command(&place.job, place.snapshot());
        section {
            p { (asked.say(Text::CompareWithSource)) }
            pre.command tabindex="0" { (command) }
        }
    };
    Ok(page(asked, asked.say(Text::CompareTitle), &content))
}

fn form(asked: &Asked, place: &Place, first: usize, second: usize) -> Markup {
    let action = asked.link("compare").component(place.job.name.as_bytes()).path(&place.inside);
    html! {
        form.when action=(action) {
            @for (name, text, chosen) in [("a", Text::First, first), ("b", Text::Second, second)] {
                label {
                    span { (asked.say(text)) }
                    select name=(name) {
                        @for (index, snapshot) in place.history.complete.iter().enumerate().rev() {
                            option value=(snapshot) selected[index == chosen] { (label(asked, snapshot)) }
                        }
                    }
                }
            }
            button { (asked.say(Text::Compare)) }
        }
    }
}

fn compared(asked: &Asked, place: &Place, first: &SnapshotName) -> Result<Markup, Failure> {
    let _permit = asked.site.searches.try_acquire().map_err(|_| Failure::Busy)?;
    let repository = &place.job.repository;
    let mut found = Found::default();
    let totals = diff(
        (repository, first),
        (repository, place.snapshot()),
        &place.inside,
        &mut |difference| {
            found.add(&place.inside, difference);
            ControlFlow::Continue(())
        },
    )?;
    Ok(html! {
        @if totals.is_none() { p { (asked.say(Text::NoDifference)) } } @else {
            (sums(asked, place, first, &found))
            (list(asked, place, first, &found))
        }
        (unread(asked, &totals))
    })
}

fn unread(asked: &Asked, totals: &Differences) -> Markup {
    let number = totals.unread.len() as u64;
    html! {
        @if number > 0 {
            p.complaint { (asked.language.fill(Text::NotCompared, &[&asked.language.count(number)])) }
        }
    }
}

fn sums(asked: &Asked, place: &Place, first: &SnapshotName, found: &Found) -> Markup {
    let to = |folder: &[u8]| {
        let link = asked.link("compare").component(place.job.name.as_bytes()).path(folder);
        link.with("a", &first.to_string()).with("b", &place.snapshot().to_string())
    };
    let cells = |sums: &Sums| {
        html! {
            @for count in sums.counts { td.number { @if count > 0 { (asked.language.count(count)) } } }
            td.number { (asked.language.size(sums.bytes)) }
        }
    };
    html! {
        section {
            h2 { (asked.say(Text::SumsPerFolder)) }
            div.scroll tabindex="0" role="region" aria-label=(asked.say(Text::SumsPerFolder)) {
                table.sums {
                    thead { tr {
                        th scope="col" { (asked.say(Text::Path)) }
                        @for (_, text) in KINDS { th scope="col" { (asked.say(text)) } }
                        th scope="col" { (asked.say(Text::Size)) }
                    } }
                    tbody {
                        tr { th scope="row" { "/" (shown(&place.inside)) } (cells(&found.total)) }
                        @for (folder, sums) in &found.folders {
                            tr { th scope="row" { a href=(to(folder)) { bdi { (shown(folder)) } } } (cells(sums)) }
                        }
                    }
                }
            }
        }
    }
}

fn list(asked: &Asked, place: &Place, first: &SnapshotName, found: &Found) -> Markup {
    html! {
        section {
            h2 { (asked.say(Text::Differences)) }
            ul.differences {
                @for difference in &found.listed { li { (line(asked, place, first, difference)) } }
            }
            @let more = found.number - found.listed.len() as u64;
            @if more > 0 { p { (asked.language.fill(Text::MoreDifferences, &[&asked.language.count(more)])) } }
        }
    }
}

fn line(asked: &Asked, place: &Place, first: &SnapshotName, difference: &Difference) -> Markup {
    let removed = difference.kind == DifferenceKind::Removed;
    let snapshot = if removed { first } else { place.snapshot() };
    let text = KINDS.iter().find(|(kind, _)| *kind == difference.kind).map(|(_, text)| *text);
    let class = match difference.kind {
        DifferenceKind::Added => "mark added",
        DifferenceKind::Removed => "mark removed",
        DifferenceKind::Metadata => "mark",
        DifferenceKind::Changed | DifferenceKind::Renamed => "mark changed",
    };
    let link = place.link_of(asked, "browse", &difference.path, snapshot);
    let link = match difference.kind == DifferenceKind::Changed && !difference.folder {
        true => link.with("with", &first.to_string()),
        false => link,
    };
    html! {
        @if let Some(text) = text { span class=(class) { (asked.say(text)) } " " }
        @if let Some(from) = &difference.from { bdi { (shown(from)) } " → " }
        a href=(link) { bdi { (shown(&difference.path)) @if difference.folder { "/" } } }
        " " small { (asked.language.size(difference.bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_counts_for_the_folder_directly_below() {
        let mut found = Found::default();
        let mut add = |path: &str, folder: bool| {
            let (kind, path) = (DifferenceKind::Added, path.as_bytes().to_vec());
            found.add(b"home", &Difference { kind, path, from: None, folder, bytes: 1 });
        };
        add("home/u/a/x", false);
        add("home/u", true);
        add("home/x", false);
        let sums = found.folders.get(&b"home/u"[..]).copied();
        assert_eq!(sums, Some(Sums { counts: [2, 0, 0, 0, 0], bytes: 2 }));
        assert_eq!((found.folders.len(), found.number, found.total.bytes), (1, 3, 3));
    }
}
