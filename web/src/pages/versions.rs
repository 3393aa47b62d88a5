//! The versions of a path over all snapshots.

use engine::entry::escape::shown;
use engine::inspect::{Span, renamed_from, versions as spans};
use engine::{LookError, SnapshotName};
use maud::{Markup, html};

use crate::pages::parts::{label, modified};
use crate::site::place::Place;
use crate::site::request::Asked;
use crate::text::Text;

/// What to show of the versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those of a file, with links to the differences between two.
    File,
    /// Of a folder only a link: comparing all that lies below takes a while.
    Folder,
}

/// The versions, as a section of a page.
pub(crate) fn versions(asked: &Asked, place: &Place, wanted: &Wanted) -> Markup {
    if *wanted == Wanted::Folder && !asked.query.has("versions") {
        return html! {
            @if !place.inside.is_empty() {
                p { a href=(place.link(asked, "browse").with("versions", "1")) { (asked.say(Text::Versions)) } }
            }
        };
    }
    let (found, inside) = match versions_of(asked, place) {
        Ok(found) => found,
        // A snapshot was removed meanwhile; the next request sees the others.
        Err(error) => {
            return html! { p.complaint { (asked.language.fill(Text::CannotRead, &[&error.to_string()])) } };
        }
    };
    let before = found.first().filter(|span| span.first > 0).and_then(|span| {
        let (snapshot, inside) = &inside[span.first];
        renamed_from(&place.job.repository, snapshot, inside).ok().flatten()
    });
    html! {
        (table(asked, place, &inside, &found))
        @if let Some((snapshot, from)) = before {
            @let source = asked.site.roots(&place.job, &snapshot).source(&from);
            p {
                a href=(place.link_of(asked, "browse", &from, &snapshot)) {
                    (asked.language.fill(Text::RenamedFrom, &[&shown(&source)]))
                }
            }
        }
    }
}

/// The path of a place inside each snapshot.
type Inside = Vec<(SnapshotName, Vec<u8>)>;

/// The versions of a path, and where it is in each snapshot.
///
/// # Errors
/// A snapshot cannot be opened.
pub(crate) fn versions_of(asked: &Asked, place: &Place) -> Result<(Vec<Span>, Inside), LookError> {
    let source = place.source(asked);
    let inside: Inside = place
        .history
        .complete
        .iter()
        .map(|name| (name.clone(), asked.site.roots(&place.job, name).inside(&source)))
        .collect();
    Ok((spans(&place.job.repository, &inside)?, inside))
}

/// The versions, the newest first.
pub(crate) fn table(
    asked: &Asked,
    place: &Place,
    inside: &[(SnapshotName, Vec<u8>)],
    found: &[Span],
) -> Markup {
    html! {
        section {
            h2 { (asked.say(Text::Versions)) }
            div.scroll tabindex="0" role="region" aria-label=(asked.say(Text::Versions)) {
                table.versions {
                    thead { tr {
                        @for text in [Text::Version, Text::FirstIn, Text::LastIn, Text::InSnapshots, Text::Size, Text::Modified, Text::View] {
                            th scope="col" { (asked.say(text)) }
                        }
                    } }
                    tbody {
                        @for (at, span) in found.iter().enumerate().rev() {
                            (line(asked, place, inside, span, at.checked_sub(1).map(|at| &found[at])))
                        }
                    }
                }
            }
        }
    }
}

fn line(
    asked: &Asked,
    place: &Place,
    inside: &[(SnapshotName, Vec<u8>)],
    span: &Span,
    before: Option<&Span>,
) -> Markup {
    let ((first, _), (last, path)) = (&inside[span.first], &inside[span.last]);
    let current = (span.first..=span.last).contains(&place.index);
    let number = asked.language.count((span.last - span.first + 1) as u64);
    let to = |name| place.link_of(asked, name, path, last);
    html! {
        tr.current[current] aria-current=[current.then_some("true")] {
            th scope="row" { (span.version) }
            td { (label(asked, first)) }
            td { (label(asked, last)) }
            td.number { (number) }
            td.number { (asked.language.size(span.bytes)) }
            td { (modified(asked, span.mtime)) }
            td {
                a href=(to("browse")) { (asked.say(Text::View)) }
                @if span.kind == engine::entry::Kind::File {
                    " · " a href=(to("raw")) { (asked.say(Text::Download)) }
                    @if let Some(before) = before.filter(|before| before.kind == span.kind) {
                        " · "
                        a href=(to("browse").with("with", &inside[before.last].0.to_string())) {
                            (asked.language.fill(Text::DiffWithBefore, &[&before.version.to_string()]))
                        }
                    }
                }
            }
        }
    }
}
