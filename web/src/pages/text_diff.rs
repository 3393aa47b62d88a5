//! The differences between two versions of a text.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use engine::SnapshotName;
use engine::inspect::OpenSnapshot;
use maud::{Markup, html};
use similar::{ChangeTag, TextDiff};

use crate::pages::file::text;
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
/// Equal lines around a difference.
const AROUND: usize = 3;

/// The page of the differences between the version of the snapshot `with` and the one that the place names.
pub(crate) fn differences(asked: &Asked, place: &Place, open: &OpenSnapshot) -> Outcome {
    let name = asked.query.bytes("with").unwrap_or_default();
    let index = position(&place.job, &place.history, name).ok_or(Failure::NoSuchSnapshot)?;
    let with = &place.history.complete[index];
    let inside = asked.site.roots(&place.job, with).inside(&place.source(asked));
    let earlier = Place { index, inside, job: place.job.clone(), history: place.history.clone() };
    let texts = (read(&earlier, &earlier.open()?)?, read(place, open)?);
    let content = html! {
        (crumbs(asked, place))
        h1 { (asked.say(Text::DiffTitle)) }
        p {
            a href=(earlier.link(asked, "browse")) { (label(asked, with)) }
            " → "
            a href=(place.link(asked, "browse")) { (label(asked, place.snapshot())) }
        }
        @match texts {
            (Some(one), Some(other)) => (compared(asked, [with, place.snapshot()], &one, &other)),
            _ => p { (asked.say(Text::Incomparable)) },
        }
    };
    Ok(page(asked, asked.say(Text::DiffTitle), &content))
}

/// The content, if it is a text that is small enough.
fn read(place: &Place, open: &OpenSnapshot) -> Result<Option<String>, Failure> {
    let Some((parent, name)) = place.split() else { return Err(Failure::NoSuchPath) };
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open.folder(parent)?.file(&name)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read()?;
    Ok(if bytes.len() as u64 > LARGEST { None } else { text(&bytes, false) })
}

fn compared(asked: &Asked, names: [&SnapshotName; 2], one: &str, other: &str) -> Markup {
    if one == other {
        return html! { p { (asked.say(Text::SameContent)) } };
    }
    let deadline = Instant::now() + PATIENCE;
    let found = TextDiff::configure().deadline(deadline).diff_lines(one, other);
    let titles = names.map(|name| label(asked, name));
    html! {
        div.scroll tabindex="0" role="region" aria-label=(asked.say(Text::DiffTitle)) {
            table.diff {
                thead { tr {
                    @for title in &titles { th scope="col" { (title) } }
                    th scope="col" { (asked.say(Text::Differences)) }
                } }
                @for group in found.grouped_ops(AROUND) {
                    tbody {
                        @for change in group.iter().flat_map(|operation| found.iter_changes(operation)) {
                            (line(asked, change.tag(), change.old_index(), change.new_index(), change.value()))
                        }
                    }
                }
            }
        }
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
