//! The differences between two versions of a text, and two pictures beside each other.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use engine::SnapshotName;
use engine::inspect::OpenSnapshot;
use maud::{Markup, html};
use similar::{ChangeTag, TextDiff};

use crate::download::picture::is_picture;
use crate::pages::file::{picture, text};
use crate::pages::layout::page;
use crate::pages::parts::{crumbs, label};
use crate::site::answer::{Failure, Outcome};
use crate::site::place::{Place, position};
use crate::site::request::Asked;
use crate::text::Text;

/// The largest text that is compared, bytes.
const LARGEST: u64 = 1024 * 1024;
/// After this time the comparison becomes coarse.
const PATIENCE: Duration = Duration::from_secs(1);
/// Lines that are shown.
const LISTED: usize = 5000;
/// Equal lines around a difference.
const AROUND: usize = 3;

/// The page of the differences between the version of the snapshot `with` and the one that the place names.
pub(crate) fn differences(asked: &Asked, place: &Place, open: &OpenSnapshot) -> Outcome {
    let name = asked.query.bytes("with").unwrap_or_default();
    let index = position(&place.job, &place.history, name).ok_or(Failure::NoSuchSnapshot)?;
    let with = &place.history.complete[index];
    let inside = asked.site.roots(&place.job, with).inside(&place.source(asked));
    let earlier = Place { index, inside, job: place.job.clone(), history: place.history.clone() };
    let versions = (read(&earlier, &earlier.open()?)?, read(place, open)?);
    let content = html! {
        (crumbs(asked, place))
        h1 { (asked.say(Text::DiffTitle)) }
        p {
            a href=(earlier.link(asked, "browse")) { (label(asked, with)) }
            " → "
            a href=(place.link(asked, "browse")) { (label(asked, place.snapshot())) }
        }
        @match versions {
            (Content::Text(one), Content::Text(other)) => (compared(asked, [with, place.snapshot()], &one, &other)),
            (Content::Picture, Content::Picture) => div.pictures {
                (picture(asked, &earlier, with))
                (picture(asked, place, place.snapshot()))
            },
            _ => p { (asked.say(Text::Incomparable)) },
        }
    };
    Ok(page(asked, asked.say(Text::DiffTitle), &content))
}

/// What a version is.
enum Content {
    Text(String),
    Picture,
    /// A text that is too large, or anything else.
    Other,
}

/// The content, if it can be compared.
fn read(place: &Place, open: &OpenSnapshot) -> Result<Content, Failure> {
    let Some((parent, name)) = place.split() else { return Err(Failure::NoSuchPath) };
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open.folder(parent)?.file(&name)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read()?;
    Ok(match is_picture(&bytes) {
        Some(_) => Content::Picture,
        None if bytes.len() as u64 > LARGEST => Content::Other,
        None => text(&bytes, false).map_or(Content::Other, Content::Text),
    })
}

fn compared(asked: &Asked, names: [&SnapshotName; 2], one: &str, other: &str) -> Markup {
    if one == other {
        return html! { p { (asked.say(Text::SameContent)) } };
    }
    let deadline = Instant::now() + PATIENCE;
    let found = TextDiff::configure().deadline(deadline).diff_lines(one, other);
    let mut listed = 0;
    let mut groups = Vec::new();
    for group in found.grouped_ops(AROUND) {
        let changes = group.iter().flat_map(|operation| found.iter_changes(operation));
        let changes: Vec<_> = changes.take(LISTED - listed).collect();
        listed += changes.len();
        groups.push(changes);
        if listed == LISTED {
            break;
        }
    }
    let titles = names.map(|name| label(asked, name));
    html! {
        div.scroll tabindex="0" role="region" aria-label=(asked.say(Text::DiffTitle)) {
            table.diff {
                thead { tr {
                    @for title in &titles { th scope="col" { (title) } }
                    th scope="col" { (asked.say(Text::Differences)) }
                } }
                @for group in &groups {
                    tbody {
                        @for change in group {
                            (line(asked, change.tag(), change.old_index(), change.new_index(), change.value()))
                        }
                    }
                }
            }
        }
        @if listed == LISTED { p { small { (asked.say(Text::PreviewCut)) } } }
    }
}

fn line(
    asked: &Asked,
    tag: ChangeTag,
    old: Option<usize>,
    new: Option<usize>,
    text: &str,
) -> Markup {
    let number =
        |index: Option<usize>| index.map(|index| (index + 1).to_string()).unwrap_or_default();
    let text = text.strip_suffix('\n').unwrap_or(text);
    html! {
        @match tag {
            ChangeTag::Equal => tr {
                td.number { (number(old)) } td.number { (number(new)) } td { span { (text) } }
            },
            ChangeTag::Delete => tr.removed {
                td.number { (number(old)) } td {} td { del { span.spoken { (asked.say(Text::RemovedLine)) ": " } (text) } }
            },
            ChangeTag::Insert => tr.added {
                td {} td.number { (number(new)) } td { ins { span.spoken { (asked.say(Text::AddedLine)) ": " } (text) } }
            },
        }
    }
}
