//! Two snapshots compared, or a snapshot with the source as it is now.

mod found;
mod lines;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use engine::inspect::{Difference, DifferenceSink, Differences, diff};
use maud::{Markup, html};

use crate::pages::compare::found::Found;
use crate::pages::compare::lines::{Compared, list, sums};
use crate::pages::layout::page;
use crate::pages::parts::{crumbs, label};
use crate::program::NoSource;
use crate::site::answer::{Failure, Outcome};
use crate::site::place::{Place, position};
use crate::site::request::Asked;
use crate::text::Text;

/// The name of the source as it is now, among those of snapshots.
const NOW: &[u8] = b"now";

pub(crate) fn compare(asked: Asked) -> Outcome {
    let asked = &asked;
    let (job, inside) = asked.job()?;
    let history = job.repository.history(&job.prefix)?;
    let index = |name: &str, default: Option<usize>| match asked.query.bytes(name) {
        None => default.ok_or(Failure::NoSuchSnapshot),
        Some(text) => position(&job, &history, text).ok_or(Failure::NoSuchSnapshot),
    };
    let newest = history.complete.len().checked_sub(1);
    let with_source = asked.query.bytes("b") == Some(NOW);
    let second = if with_source { None } else { Some(index("b", newest)?) };
    let first = index("a", second.map_or(newest, |second| Some(second.saturating_sub(1))))?;
    let place = Place { index: second.unwrap_or(first), inside, job, history };
    let chosen = asked.query.has("a") && asked.query.has("b");
    let sides = Compared { place: &place, first: &place.history.complete[first], with_source };
    let content = html! {
        (crumbs(asked, &place))
        h1 { (asked.say(Text::CompareTitle)) }
        (form(asked, &place, first, second))
        @if chosen && with_source { (source_compared(asked, &sides)?) }
        @if chosen && !with_source { (snapshots_compared(asked, &sides)?) }
        @let command = asked.site.program.compare_command(&place.job, place.snapshot());
        section {
            p { (asked.say(Text::CompareWithSource)) }
            pre.command tabindex="0" { (command) }
        }
    };
    Ok(page(asked, asked.say(Text::CompareTitle), &content))
}

fn form(asked: &Asked, place: &Place, first: usize, second: Option<usize>) -> Markup {
    let action = asked.link("compare").component(place.job.name.as_bytes()).path(&place.inside);
    let options = |chosen: Option<usize>| {
        html! {
            @for (index, snapshot) in place.history.complete.iter().enumerate().rev() {
                option value=(snapshot) selected[Some(index) == chosen] { (label(asked, snapshot)) }
            }
        }
    };
    html! {
        form.when action=(action) {
            label {
                span { (asked.say(Text::First)) }
                select name="a" { (options(Some(first))) }
            }
            label {
                span { (asked.say(Text::Second)) }
                select name="b" {
                    option value="now" selected[second.is_none()] { (asked.say(Text::SourceNow)) }
                    (options(second))
                }
            }
            button { (asked.say(Text::Compare)) }
        }
    }
}

fn snapshots_compared(asked: &Asked, sides: &Compared<'_>) -> Result<Markup, Failure> {
    let _permit = asked.site.searches.try_acquire().map_err(|_| Failure::Busy)?;
    let (place, repository) = (sides.place, &sides.place.job.repository);
    let mut found = Found::default();
    let totals = diff(
        (repository, sides.first),
        (repository, place.snapshot()),
        &place.inside,
        &mut |difference| {
            found.add(&place.inside, difference);
            ControlFlow::Continue(())
        },
    )?;
    Ok(shown(asked, sides, &found, &totals))
}

/// Receives the differences from the source, from several threads.
struct Collector {
    inside: Vec<u8>,
    found: Mutex<Found>,
}

impl DifferenceSink for Collector {
    fn difference(&self, difference: &Difference) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.add(&self.inside, difference);
    }
}

fn source_compared(asked: &Asked, sides: &Compared<'_>) -> Result<Markup, Failure> {
    let _permit = asked.site.searches.try_acquire().map_err(|_| Failure::Busy)?;
    let collector =
        Arc::new(Collector { inside: sides.place.inside.clone(), found: Mutex::default() });
    let sink = Arc::clone(&collector) as Arc<dyn DifferenceSink>;
    let compared = asked.site.program.compare_with_source(&sides.place.job, sides.first, sink);
    Ok(match compared {
        Ok(totals) => {
            let mut found = collector.found.lock().unwrap_or_else(PoisonError::into_inner);
            found.sort();
            shown(asked, sides, &found, &totals)
        }
        Err(why) => unreachable(asked, &why),
    })
}

/// Why the source is not compared.
fn unreachable(asked: &Asked, why: &NoSource) -> Markup {
    html! {
        p.complaint {
            @match why {
                NoSource::Unknown => { (asked.say(Text::SourceUnknown)) }
                NoSource::OnHost(host) => { (asked.language.fill(Text::SourceOnHost, &[host])) }
                NoSource::OtherMachine => { (asked.say(Text::SourceElsewhere)) }
                NoSource::TooLarge => { (asked.say(Text::SourceTooLarge)) }
                NoSource::Failed(message) => {
                    (asked.say(Text::SourceUnreadable)) " " span lang="en" { (message) }
                }
            }
        }
    }
}

fn shown(asked: &Asked, sides: &Compared<'_>, found: &Found, totals: &Differences) -> Markup {
    let counted = |text, number: u64| asked.language.fill(text, &[&asked.language.count(number)]);
    html! {
        @if found.number == 0 { p { (asked.say(Text::NoDifference)) } } @else {
            (sums(asked, sides, found))
            (list(asked, sides, found))
        }
        @if !totals.unread.is_empty() {
            p.complaint { (counted(Text::NotCompared, totals.unread.len() as u64)) }
        }
        @if totals.unread_entries > 0 {
            p.complaint { (counted(Text::SourceUnread, totals.unread_entries)) }
        }
    }
}
