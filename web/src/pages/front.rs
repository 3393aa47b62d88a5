//! The front page: is everything backed up, and what about each job.

use chrono::{DateTime, TimeDelta, Utc};
use engine::SnapshotName;
use engine::inspect::Look;
use engine::repository::Reached;
use maud::{Markup, html};

use crate::pages::health::{copies, reasons};
use crate::pages::layout::page;
use crate::pages::parts::{fact, time};
use crate::program::{Contents, Origin, State};
use crate::site::answer::{Failure, Outcome};
use crate::site::request::Asked;
use crate::text::Text;

pub(crate) fn front(asked: &Asked) -> Outcome {
    let states = asked.site.program.states().map_err(Failure::Unreadable)?;
    let now = Utc::now();
    let well = states.iter().all(|state| state.reasons.is_empty());
    let content = html! {
        section.verdict.good[well].bad[!well] {
            h1 { (verdict(asked, &states, now)) }
        }
        @for mistake in asked.site.program.mistakes() {
            p.complaint { (asked.say(Text::Mistake)) " " span lang="en" { (mistake) } }
        }
        @for state in &states { (job(asked, state, now)) }
    };
    Ok(page(asked, asked.say(Text::Overview), &content))
}

/// The newest snapshot that counts, and its age.
fn newest(state: &State, now: DateTime<Utc>) -> Option<(&SnapshotName, TimeDelta)> {
    let newest = state.look.as_ref().ok()?.history.base(now)?;
    Some((newest, (now - newest.stamp.time()).max(TimeDelta::zero())))
}

/// One sentence that reassures or warns.
fn verdict(asked: &Asked, states: &[State], now: DateTime<Utc>) -> String {
    let language = asked.language;
    let ill = |state: &&State| !state.reasons.is_empty();
    if states.is_empty() {
        return language.say(Text::NothingHere).to_owned();
    }
    let warnings: Vec<String> = states
        .iter()
        .filter(ill)
        .map(|state| match newest(state, now) {
            Some((_, age)) if age > TimeDelta::days(1) => {
                language.fill(Text::NoSnapshotFor, &[&state.job, &language.span(age)])
            }
            Some(_) => language.fill(Text::NeedsALook, &[&state.job]),
            None => language.fill(Text::NoSnapshot, &[&state.job]),
        })
        .collect();
    if !warnings.is_empty() {
        return warnings.join(" ");
    }
    let ages: Option<Vec<_>> = states.iter().map(|state| Some(newest(state, now)?.1)).collect();
    match (ages, states) {
        (Some(ages), [_]) => language.fill(Text::AllWell, &[&language.ago(ages[0])]),
        (Some(ages), _) => {
            let oldest = ages.into_iter().max().unwrap_or_default();
            language.fill(Text::OldestNewest, &[&language.span(oldest)])
        }
        (None, _) => language.say(Text::NotYet).to_owned(),
    }
}

fn job(asked: &Asked, state: &State, now: DateTime<Utc>) -> Markup {
    let well = state.reasons.is_empty();
    let name = state.job.as_bytes();
    html! {
        article.job {
            h2 {
                a href=(asked.link("job").component(name)) { (state.job) }
                " "
                span.badge.good[well].bad[!well] {
                    (asked.say(if well { Text::Healthy } else { Text::Unhealthy }))
                }
            }
            (reasons(asked, &state.reasons))
            @if let Ok(look) = &state.look {
                (run(asked, look))
                dl.facts { (facts(asked, state, look, now)) }
                p.actions {
                    @if !look.history.complete.is_empty() {
                        a.button.main href=(asked.link("browse").component(name).path(b"")) { (asked.say(Text::OpenFolder)) }
                    }
                    a.button href=(asked.link("job").component(name)) { (asked.say(Text::TimeLine)) }
                    @if look.history.complete.len() > 1 {
                        a.button href=(asked.link("compare").component(name).path(b"")) { (asked.say(Text::Compare)) }
                    }
                }
            }
        }
    }
}

/// The run in progress.
fn run(asked: &Asked, look: &Look) -> Markup {
    let Some(reached) = look.reached.as_ref().filter(|_| look.at_work) else { return html! {} };
    let language = asked.language;
    let (done, copied) = (language.count(reached.entries), language.size(reached.bytes_copied));
    let expected = reached.entries_expected.max(reached.entries);
    let words = match reached.entries_expected {
        0 => language.fill(Text::ProgressFirst, &[&done, &copied]),
        _ => language.fill(Text::Progress, &[&done, &language.count(expected), &copied]),
    };
    let (rate, left) = pace(reached);
    html! {
        section.run {
            h3 { (asked.say(Text::RunInProgress)) }
            @if reached.entries_expected > 0 {
                @let percent = reached.entries.saturating_mul(100) / expected.max(1);
                progress aria-label=(asked.say(Text::RunInProgress)) max="100" value=(percent) {}
                " " (percent) " %"
            }
            p {
                (words)
                @if let Some(rate) = rate { ", " (language.fill(Text::Rate, &[&language.size(rate)])) }
                @if let Some(left) = left { ", " (language.fill(Text::TimeLeft, &[&language.span(left)])) }
            }
        }
    }
}

/// The bytes per second of a run, and the time that is left at its pace.
fn pace(reached: &Reached) -> (Option<u64>, Option<TimeDelta>) {
    let at = |text: &str| DateTime::parse_from_rfc3339(text).ok();
    let (Some(began), Some(updated)) = (at(&reached.began), at(&reached.updated)) else {
        return (None, None);
    };
    let seconds = u64::try_from((updated - began).num_seconds()).unwrap_or_default();
    if seconds < 2 {
        return (None, None);
    }
    let missing = reached.entries_expected.saturating_sub(reached.entries);
    let left = (missing > 0 && reached.entries > 0)
        .then(|| u128::from(seconds) * u128::from(missing) / u128::from(reached.entries))
        .and_then(|left| TimeDelta::try_seconds(i64::try_from(left).ok()?));
    (Some(reached.bytes_copied / seconds), left)
}

fn facts(asked: &Asked, state: &State, look: &Look, now: DateTime<Utc>) -> Markup {
    let language = asked.language;
    let number = |number: usize| language.count(number as u64);
    let complete = number(look.history.complete.len());
    let report = look.reports.last();
    html! {
        @if let Some((newest, age)) = newest(state, now) {
            (fact(asked, Text::Newest, &html! { (language.ago(age)) " (" (time(asked, newest.stamp.time())) ")" }))
        }
        @if let Some(contains) = &state.contains {
            (fact(asked, Text::Contains, &html! { bdi { (contents(asked, contains)) } }))
        }
        (fact(asked, Text::Snapshots, &match state.max_backups {
            Some(most) => html! { (language.fill(Text::OfAtMost, &[&complete, &number(most)])) },
            None => html! { (complete) },
        }))
        @if let Some(report) = report {
            (fact(asked, Text::Size, &html! {
                (language.size(report.counts.bytes)) ", " (language.counted(report.counts.entries, Text::OneEntry, Text::Entries))
            }))
        }
        @if let Some(due) = state.due { (fact(asked, Text::NextRun, &next(asked, state, due, now))) }
        @if let Some(space) = look.space {
            (fact(asked, Text::FreeSpace, &html! {
                (language.fill(Text::FreeOf, &[&language.size(space.free_bytes), &language.size(space.total_bytes)]))
            }))
        }
        (fact(asked, Text::DiskFull, &full(asked, state, now)))
        (fact(asked, Text::LastVerify, &checked(asked, look)))
        (copies(asked, &state.copies, now))
        @if let Some(report) = report.filter(|report| report.counts.problems > 0) {
            (fact(asked, Text::Unread, &html! {
                (language.fill(Text::UnreadEntries, &[
                    &language.count(report.counts.problems),
                    &language.count(report.counts.carried_forward),
                ]))
            }))
        }
        @if let Some(frozen) = &look.frozen {
            (fact(asked, Text::Suspicious, &html! { span lang="en" { (frozen.what) } }))
        }
    }
}

fn contents(asked: &Asked, of: &Contents) -> String {
    let roots = of.roots.as_str();
    match &of.from {
        Origin::Unknown => roots.to_owned(),
        Origin::Host(host) => asked.language.fill(Text::ContainsOf, &[roots, host]),
        Origin::ThisMachine => asked.language.fill(Text::ContainsHere, &[roots]),
        Origin::AnotherMachine => asked.language.fill(Text::ContainsElsewhere, &[roots]),
    }
}

fn next(asked: &Asked, state: &State, due: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    match state.starts {
        Some(starts) => time(asked, starts),
        None if due <= now => html! { (asked.say(Text::AtNextRun)) },
        None => {
            let (before, after) = asked.say(Text::From).split_once("{}").unwrap_or_default();
            html! { (before) (time(asked, due)) (after) }
        }
    }
}

fn full(asked: &Asked, state: &State, now: DateTime<Utc>) -> Markup {
    let language = asked.language;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let pace = |bytes: f64| language.size(bytes as u64);
    html! {
        @match (state.disk_full, state.bytes_per_day) {
            (Some(when), Some(per_day)) => (language.fill(Text::InAbout, &[&language.span(when - now), &pace(per_day)])),
            (None, Some(_)) => (asked.say(Text::NotInTenYears)),
            _ => (asked.say(Text::NotKnown)),
        }
    }
}

fn checked(asked: &Asked, look: &Look) -> Markup {
    let Some(check) = &look.last_check else { return html! { (asked.say(Text::NeverVerified)) } };
    let finished = DateTime::parse_from_rfc3339(&check.finished).ok();
    html! {
        @if let Some(finished) = finished { (time(asked, finished.to_utc())) ", " }
        @match check.damaged {
            0 => (asked.say(Text::NoDamage)),
            number => strong.bad { (asked.language.fill(Text::DamagedFiles, &[&asked.language.count(number as u64)])) },
        }
    }
}
