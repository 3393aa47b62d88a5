//! Pieces of markup that several pages share.

use chrono::{DateTime, NaiveDateTime, Utc};
use engine::entry::escape::shown;
use engine::entry::{Kind, Time};
use engine::inspect::DifferenceKind;
use engine::{Report, SnapshotName};
use maud::{Markup, html};

use crate::site::place::{Place, local};
use crate::site::request::Asked;
use crate::text::Text;
use crate::text::amounts::{minute, second};

/// A time for people and for programs.
pub(crate) fn time(asked: &Asked, time: DateTime<Utc>) -> Markup {
    let here: NaiveDateTime = (asked.clock)(time);
    html! { time datetime=(time.to_rfc3339()) { (minute(here)) } }
}

/// The modification time of an entry.
pub(crate) fn modified(asked: &Asked, mtime: Time) -> Markup {
    match DateTime::from_timestamp(mtime.secs, mtime.nanos) {
        Some(at) => time(asked, at),
        None => html! {},
    }
}

/// The local time of a snapshot, for lists and links.
pub(crate) fn label(asked: &Asked, snapshot: &SnapshotName) -> String {
    second(local(asked, snapshot))
}

/// The path of a place as links to each folder above it.
pub(crate) fn crumbs(asked: &Asked, place: &Place) -> Markup {
    let mut ends: Vec<usize> =
        (0..place.inside.len()).filter(|at| place.inside[*at] == b'/').collect();
    if !place.inside.is_empty() {
        ends.push(place.inside.len());
    }
    let name = |end: usize| {
        let path = &place.inside[..end];
        shown(path.rsplit(|byte| *byte == b'/').next().unwrap_or_default())
    };
    html! {
        nav.crumbs aria-label=(asked.say(Text::Path)) {
            ol {
                li { a href=(asked.link("job").component(place.job.name.as_bytes())) { (place.job.name) } }
                li { a href=(place.link_of(asked, "browse", b"", place.snapshot())) { "/" } }
                @for end in &ends {
                    li {
                        @if *end == place.inside.len() {
                            span aria-current="page" { bdi { (name(*end)) } }
                        } @else {
                            a href=(place.link_of(asked, "browse", &place.inside[..*end], place.snapshot())) { bdi { (name(*end)) } }
                        }
                    }
                }
            }
        }
    }
}

/// The control that chooses another snapshot at the same path.
pub(crate) fn snapshots(asked: &Asked, place: &Place) -> Markup {
    let complete = &place.history.complete;
    // How a folder is shown stays as it is.
    let kept: Vec<(&str, &str)> = ["sort", "deleted"]
        .into_iter()
        .filter_map(|name| Some((name, asked.query.text(name)?)))
        .collect();
    let to = |index: Option<usize>| {
        let link = place.link_at(asked, "browse", complete.get(index?)?);
        Some(kept.iter().fold(link, |link, (name, value)| link.with(name, value)))
    };
    let action = asked.link("browse").component(place.job.name.as_bytes()).path(&place.inside);
    html! {
        form.when action=(action) {
            @for (name, value) in &kept { input type="hidden" name=(name) value=(value); }
            @if let Some(link) = to(place.index.checked_sub(1)) {
                a.button rel="prev" href=(link) { "← " (asked.say(Text::Earlier)) }
            } @else {
                span.button.off { "← " (asked.say(Text::Earlier)) }
            }
            label {
                span { (asked.say(Text::At)) }
                select name="at" {
                    @for (index, snapshot) in complete.iter().enumerate().rev() {
                        option value=(snapshot) selected[index == place.index] { (label(asked, snapshot)) }
                    }
                }
            }
            button { (asked.say(Text::Show)) }
            @if let Some(link) = to(Some(place.index + 1)) {
                a.button rel="next" href=(link) { (asked.say(Text::Later)) " →" }
            } @else {
                span.button.off { (asked.say(Text::Later)) " →" }
            }
        }
    }
}

/// The word for a kind of entry.
pub(crate) fn kind(kind: Kind) -> Text {
    match kind {
        Kind::File => Text::File,
        Kind::Folder => Text::Folder,
        Kind::Symlink => Text::Symlink,
        Kind::Fifo => Text::Fifo,
        Kind::Socket => Text::Socket,
        Kind::BlockDevice | Kind::CharDevice => Text::Device,
    }
}

/// The sign of a kind of entry, with its word for screen readers.
pub(crate) fn sign(asked: &Asked, of: Kind) -> Markup {
    let path = match of {
        Kind::Folder => "M1 3h5l1.5 2H15v9H1z",
        Kind::Symlink => "M2 13V7h7V4l5 5-5 5v-3H6v2z",
        Kind::File => "M3 1h6l4 4v10H3zM9 1v4h4",
        Kind::Fifo | Kind::Socket | Kind::BlockDevice | Kind::CharDevice => {
            "M8 2a6 6 0 1 0 .01 0zM8 6a2 2 0 1 0 .01 0z"
        }
    };
    html! {
        svg.sign.folder[of == Kind::Folder] role="img" aria-label=(asked.say(kind(of))) viewBox="0 0 16 16" {
            path d=(path) {}
        }
    }
}

/// The mark of an entry that differs from the snapshot before.
pub(crate) fn mark(asked: &Asked, change: Option<DifferenceKind>) -> Markup {
    let (class, text) = match change {
        None => return html! {},
        Some(DifferenceKind::Added) => ("mark added", Text::AddedMark),
        Some(DifferenceKind::Metadata) => ("mark", Text::MetadataMark),
        Some(_) => ("mark changed", Text::ChangedMark),
    };
    html! { span class=(class) { (asked.say(text)) } }
}

/// The number of entries that a run added, changed and removed, if a report says it.
pub(crate) fn counts(report: Option<&Report>) -> Option<[u64; 3]> {
    let counts = &report?.counts;
    Some([counts.new, counts.changed + counts.metadata, counts.deleted])
}

/// A line of facts: what, and how much.
pub(crate) fn fact(asked: &Asked, what: Text, value: &Markup) -> Markup {
    html! { div { dt { (asked.say(what)) } dd { (value) } } }
}
