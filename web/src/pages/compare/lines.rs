//! The differences of a comparison as a table and a list.

use engine::SnapshotName;
use engine::entry::escape::shown;
use engine::inspect::{Difference, DifferenceKind};
use maud::{Markup, html};

use crate::pages::compare::found::{Found, KINDS, Sums};
use crate::site::link::Link;
use crate::site::place::Place;
use crate::site::request::Asked;
use crate::text::Text;

/// What is compared: `first` with the snapshot of `place`, or with the source.
pub(crate) struct Compared<'a> {
    pub(crate) place: &'a Place,
    pub(crate) first: &'a SnapshotName,
    pub(crate) with_source: bool,
}

impl Compared<'_> {
    /// The other side, as the URL names it.
    fn second(&self) -> String {
        match self.with_source {
            true => "now".to_owned(),
            false => self.place.snapshot().to_string(),
        }
    }

    /// The page of the entry that differs. `None` if only the source has it.
    fn link(&self, asked: &Asked, difference: &Difference) -> Option<Link> {
        let only_first = difference.kind == DifferenceKind::Removed;
        let of = |path, snapshot| self.place.link_of(asked, "browse", path, snapshot);
        match (self.with_source, difference.kind, &difference.from) {
            (true, DifferenceKind::Added, _) => None,
            (true, _, Some(from)) => Some(of(from, self.first)),
            (true, ..) => Some(of(&difference.path, self.first)),
            (false, ..) if only_first => Some(of(&difference.path, self.first)),
            (false, DifferenceKind::Changed, _) if !difference.folder => {
                let link = of(&difference.path, self.place.snapshot());
                Some(link.with("with", &self.first.to_string()))
            }
            (false, ..) => Some(of(&difference.path, self.place.snapshot())),
        }
    }
}

/// The sums of all differences, and those of each folder.
pub(crate) fn sums(asked: &Asked, sides: &Compared<'_>, found: &Found) -> Markup {
    let place = sides.place;
    let to = |folder: &[u8]| {
        let link = asked.link("compare").component(place.job.name.as_bytes()).path(folder);
        link.with("a", &sides.first.to_string()).with("b", &sides.second())
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

/// The differences.
pub(crate) fn list(asked: &Asked, sides: &Compared<'_>, found: &Found) -> Markup {
    html! {
        section {
            h2 { (asked.say(Text::Differences)) }
            ul.differences {
                @for difference in &found.listed { li { (line(asked, sides, difference)) } }
            }
            @let more = found.number - found.listed.len() as u64;
            @if more > 0 { p { (asked.language.fill(Text::MoreDifferences, &[&asked.language.count(more)])) } }
        }
    }
}

fn line(asked: &Asked, sides: &Compared<'_>, difference: &Difference) -> Markup {
    let text = KINDS.iter().find(|(kind, _)| *kind == difference.kind).map(|(_, text)| *text);
    let class = match difference.kind {
        DifferenceKind::Added => "mark added",
        DifferenceKind::Removed => "mark removed",
        DifferenceKind::Metadata => "mark",
        DifferenceKind::Changed | DifferenceKind::Renamed => "mark changed",
    };
    let name = html! { bdi { (shown(&difference.path)) @if difference.folder { "/" } } };
    html! {
        @if let Some(text) = text { span class=(class) { (asked.say(text)) } " " }
        @if let Some(from) = &difference.from { bdi { (shown(from)) } " → " }
        @match sides.link(asked, difference) {
            Some(link) => { a href=(link) { (name) } }
            None => { (name) }
        }
        " " small { (asked.language.size(difference.bytes)) }
    }
}
