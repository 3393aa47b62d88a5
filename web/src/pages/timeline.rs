//! The time line of a job: a calendar, a strip and a table of its snapshots.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use chrono::{Datelike, NaiveDate, TimeDelta, Utc};
use engine::inspect::Usage;
use engine::repository::Standing;
use engine::snapshot::SnapshotState;
use engine::{Report, SnapshotName};
use maud::{Markup, PreEscaped, html};

use crate::pages::health::{copies, reasons};
use crate::pages::layout::streamed;
use crate::pages::parts::{counts, label, time};
use crate::program::Job;
use crate::site::answer::{Failure, Outcome};
use crate::site::place::local;
use crate::site::request::Asked;
use crate::text::Text;

/// Months of the calendar.
const MONTHS: usize = 24;
/// Height of the strip, pixels.
const HEIGHT: u64 = 60;

/// A snapshot of the time line.
struct Row {
    name: SnapshotName,
    report: Option<Report>,
    standing: Standing,
    usage: Option<Usage>,
}

pub(crate) fn timeline(asked: Asked) -> Outcome {
    let (job, rest) = asked.job()?;
    if !rest.is_empty() {
        return Err(Failure::NotFound);
    }
    let history = job.repository.history(&job.prefix)?;
    let lists = [history.complete, history.incomplete, history.deleting];
    let mut names: Vec<SnapshotName> = lists.into_iter().flatten().collect();
    names.sort_by_key(|name| name.stamp);
    let measure = asked.query.has("sizes");
    let permit = match measure {
        true => Some(asked.site.searches.clone().try_acquire_owned().map_err(|_| Failure::Busy)?),
        false => None,
    };
    let title = job.name.clone();
    let states = asked.site.program.states().map_err(Failure::Unreadable)?;
    let state = states.iter().find(|state| state.job == job.name);
    let first = html! {
        h1 { (title) }
        @if let Some(state) = state {
            (reasons(&asked, &state.reasons))
            @if !state.copies.is_empty() { dl.facts { (copies(&asked, &state.copies, Utc::now())) } }
        }
    };
    let asked = std::sync::Arc::new(asked);
    let page = std::sync::Arc::clone(&asked);
    streamed(&asked, &title, &first, move |out| {
        let _permit = permit;
        let measured = match measure {
            true => page.site.measured(&job, &names).ok(),
            false => page.site.known_sizes(&names),
        };
        let usage = |at: usize| measured.as_ref().and_then(|found| found.each.get(at).copied());
        let row = |(at, name): (usize, &SnapshotName)| Row {
            report: job.repository.report(name),
            standing: job.repository.standing(name),
            usage: usage(at),
            name: name.clone(),
        };
        let rows: Vec<Row> = names.iter().enumerate().map(row).collect();
        let content = content(&page, &job, &rows, measured.is_some());
        out.write_all(content.into_string().as_bytes())
    })
}

fn content(asked: &Asked, job: &Job, rows: &[Row], measured: bool) -> Markup {
    html! {
        @if rows.is_empty() { p { (asked.say(Text::NotYet)) } } @else {
            (strip(asked, job, rows))
            (table(asked, job, rows))
            @if !measured {
                form action=(asked.link("job").component(job.name.as_bytes())) {
                    input type="hidden" name="sizes" value="1";
                    button { (asked.say(Text::MeasureSizes)) }
                    " " small { (asked.say(Text::MeasureHint)) }
                }
            }
            (calendar(asked, job, rows))
        }
    }
}

/// The page of a complete snapshot.
fn link(asked: &Asked, job: &Job, name: &SnapshotName) -> crate::site::link::Link {
    asked.link("browse").component(job.name.as_bytes()).path(b"").with("at", &name.to_string())
}

/// A bar for each snapshot, as high as the logarithm of the number of its changes.
fn strip(asked: &Asked, job: &Job, rows: &[Row]) -> Markup {
    let complete = rows.iter().filter(|row| row.name.state == SnapshotState::Complete);
    let bars: Vec<(&Row, u64)> = complete
        .map(|row| (row, counts(row.report.as_ref()).map_or(0, |counts| counts.iter().sum())))
        .collect();
    let tallest = bars.iter().map(|(_, changes)| changes.max(&1).ilog2() + 1).max().unwrap_or(1);
    let width = bars.len() as u64 * 12;
    html! {
        div.strip tabindex="0" role="group" aria-label=(asked.say(Text::StripLabel)) {
            svg width=(width) height=(HEIGHT) viewBox=(format!("0 0 {width} {HEIGHT}")) {
                @for (at, (row, changes)) in bars.iter().enumerate() {
                    @let height = (u64::from(changes.max(&1).ilog2() + 1) * (HEIGHT - 6) / u64::from(tallest)).max(4);
                    @let words = summary(asked, row);
                    a href=(link(asked, job, &row.name)) aria-label=(words) {
                        title { (words) }
                        rect class=[row.standing.damaged.then_some("bad")] x=(at * 12 + 1) y=(HEIGHT - height) width="10" height=(height) rx="2" {}
                    }
                }
            }
        }
    }
}

/// A snapshot in words.
fn summary(asked: &Asked, row: &Row) -> String {
    let mut words = label(asked, &row.name);
    if let Some([added, changed, removed]) = counts(row.report.as_ref()) {
        let parts = [(Text::Added, added), (Text::Changed, changed), (Text::Removed, removed)];
        for (text, number) in parts {
            let _ = write!(words, ", {} {}", asked.say(text), asked.language.count(number));
        }
    }
    words
}

fn table(asked: &Asked, job: &Job, rows: &[Row]) -> Markup {
    let mut before: Option<&SnapshotName> = None;
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        lines.push(line(asked, job, row, before));
        if row.name.state == SnapshotState::Complete {
            before = Some(&row.name);
        }
    }
    lines.reverse();
    let head = [
        Text::Snapshot,
        Text::Added,
        Text::Changed,
        Text::Removed,
        Text::Size,
        Text::Alone,
        Text::Marks,
    ];
    html! {
        div.scroll tabindex="0" role="region" aria-label=(asked.say(Text::Snapshots)) {
            table.snapshots {
                thead { tr {
                    @for text in head { th scope="col" { (asked.say(text)) } }
                    th scope="col" { (asked.say(Text::Compare)) }
                } }
                tbody { @for line in &lines { (line) } }
            }
        }
    }
}

fn line(asked: &Asked, job: &Job, row: &Row, before: Option<&SnapshotName>) -> Markup {
    let language = asked.language;
    let counts = counts(row.report.as_ref());
    let number = |at: usize| counts.map(|counts| language.count(counts[at])).unwrap_or_default();
    let size = row.usage.map(|usage| usage.bytes).or(row.report.as_ref().map(|it| it.counts.bytes));
    let complete = row.name.state == SnapshotState::Complete;
    html! {
        tr {
            th scope="row" {
                @if complete {
                    a href=(link(asked, job, &row.name)) { (time(asked, row.name.stamp.time())) }
                } @else {
                    (time(asked, row.name.stamp.time()))
                }
                " " small { (language.ago(Utc::now() - row.name.stamp.time())) }
            }
            td.number { (number(0)) }
            td.number { (number(1)) }
            td.number { (number(2)) }
            td.number { @if let Some(size) = size { (language.size(size)) } }
            td.number { @if let Some(usage) = row.usage { (language.size(usage.alone_bytes)) } }
            td { (marks(asked, row)) }
            td {
                @if let (true, Some(before)) = (complete, before) {
                    @let to = asked.link("compare").component(job.name.as_bytes()).path(b"");
                    a href=(to.with("a", &before.to_string()).with("b", &row.name.to_string())) { (asked.say(Text::CompareWithBefore)) }
                }
            }
        }
    }
}

fn marks(asked: &Asked, row: &Row) -> Markup {
    let unread = row.report.as_ref().map_or(0, |report| report.counts.problems);
    html! {
        @match row.name.state {
            SnapshotState::Complete => {}
            SnapshotState::Incomplete => span.mark { (asked.say(Text::Incomplete)) },
            SnapshotState::Deleting => span.mark { (asked.say(Text::BeingRemoved)) },
        }
        @if row.standing.damaged { span.mark.removed { (asked.say(Text::Damaged)) } }
        @if let Some(hold) = &row.standing.held {
            span.mark.added title=[hold.note.as_deref()] { (asked.say(Text::Held)) }
        }
        @if unread > 0 {
            span.mark.changed { (asked.language.fill(Text::UnreadMark, &[&asked.language.count(unread)])) }
        }
    }
}

/// The months that have snapshots, the newest first. Each day links to its last snapshot.
fn calendar(asked: &Asked, job: &Job, rows: &[Row]) -> Markup {
    let mut days: BTreeMap<NaiveDate, (&SnapshotName, usize)> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.name.state == SnapshotState::Complete) {
        let day = days.entry(local(asked, &row.name).date()).or_insert((&row.name, 0));
        *day = (&row.name, day.1 + 1);
    }
    let mut months: Vec<NaiveDate> = days.keys().filter_map(|day| day.with_day(1)).collect();
    months.dedup();
    html! {
        h2 { (asked.say(Text::Calendar)) }
        div.months {
            @for first in months.iter().rev().take(MONTHS) {
                table.month {
                    caption { (first.format("%Y-%m")) }
                    thead { tr {
                        @for day in asked.say(Text::Weekdays).split(' ') { th scope="col" { (day) } }
                    } }
                    tbody {
                        @for week in weeks(*first) {
                            tr { @for day in week { td { (cell(asked, job, day, &days)) } } }
                        }
                    }
                }
            }
        }
    }
}

/// The weeks of a month, from Monday on.
fn weeks(first: NaiveDate) -> Vec<[Option<NaiveDate>; 7]> {
    let mut weeks = Vec::new();
    let mut monday = first - TimeDelta::days(first.weekday().num_days_from_monday().into());
    while monday < first || monday.month() == first.month() {
        let day =
            |at: i64| Some(monday + TimeDelta::days(at)).filter(|day| day.month() == first.month());
        weeks.push([0, 1, 2, 3, 4, 5, 6].map(day));
        monday += TimeDelta::days(7);
    }
    weeks
}

fn cell(
    asked: &Asked,
    job: &Job,
    day: Option<NaiveDate>,
    days: &BTreeMap<NaiveDate, (&SnapshotName, usize)>,
) -> Markup {
    let Some(day) = day else { return PreEscaped(String::new()) };
    html! {
        @match days.get(&day) {
            None => (day.day()),
            Some((name, number)) => a href=(link(asked, job, name)) aria-label=(format!("{}, {day}: {number}", day.day())) { (day.day()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weeks_of_a_month_begin_on_monday() {
        let weeks = weeks(NaiveDate::from_ymd_opt(2026, 11, 1).unwrap());
        assert_eq!(weeks.len(), 6, "a Sunday is the last day of the first week");
        assert_eq!(weeks[0][6].map(|day| day.day()), Some(1));
        assert_eq!(weeks[5][0].map(|day| day.day()), Some(30));
        assert_eq!(weeks.iter().flatten().flatten().count(), 30);
    }
}
