//! Why a job is not healthy, in words. Messages of the system and of runs stay in English.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use crate::pages::parts::label;
use crate::program::Reason;
use crate::site::request::Asked;
use crate::text::Text;
use crate::text::amounts::minute;

/// A paragraph for each reason.
pub(crate) fn reasons(asked: &Asked, reasons: &[Reason]) -> Markup {
    html! { @for reason in reasons { p.complaint { (words(asked, reason)) } } }
}

fn words(asked: &Asked, reason: &Reason) -> Markup {
    let language = asked.language;
    let limit = |limit: &TimeDelta| language.hours(*limit);
    let say = |text| html! { (asked.say(text)) };
    let fill = |text, parts: &[&str]| html! { (language.fill(text, parts)) };
    let at = |when: DateTime<Utc>| minute((asked.clock)(when));
    let perhaps = |when: &Option<DateTime<Utc>>| when.map_or_else(|| "?".to_owned(), at);
    match reason {
        Reason::Old { age, limit: most } => {
            fill(Text::ReasonOld, &[&language.span(*age), &limit(most)])
        }
        Reason::ClockNeverSet(now) => fill(Text::ReasonClock, &[&at(*now)]),
        Reason::FromTheFuture(newest) => fill(Text::ReasonFuture, &[&label(asked, newest)]),
        Reason::NoSnapshot => say(Text::ReasonNoSnapshot),
        Reason::NoRun => say(Text::ReasonNoRun),
        Reason::NotCompleted { since, limit: most } => {
            fill(Text::ReasonNotCompleted, &[&language.span(*since), &limit(most)])
        }
        Reason::Unread { number, since, limit: most, report } => {
            let number = language.counted(*number, Text::OneEntry, Text::Entries);
            fill(Text::ReasonUnread, &[&at(*since), &number, &limit(most), report])
        }
        Reason::Failed { runs, why } => {
            let failed = match runs {
                1 => say(Text::ReasonFailedOnce),
                runs => fill(Text::ReasonFailed, &[&language.count(u64::from(*runs))]),
            };
            html! {
                (failed) " "
                @match why {
                    Some(why) => { (asked.say(Text::ReasonWhy)) " " (english(why)) }
                    None => { (asked.say(Text::ReasonKilled)) }
                }
            }
        }
        Reason::Stuck { snapshot, why } => {
            html! { (language.fill(Text::ReasonStuck, &[snapshot])) " " (english(why)) }
        }
        Reason::NoDrill { finished, why } => {
            html! { (language.fill(Text::ReasonNoDrill, &[&perhaps(finished)])) " " (english(why)) }
        }
        Reason::DrillFailed { finished, failed, snapshot, why } => {
            let (at, failed) = (perhaps(finished), language.count(*failed));
            html! {
                (language.fill(Text::ReasonDrillFailed, &[&at, &failed, snapshot])) " "
                (english(why))
            }
        }
        Reason::OtherSources(why) => {
            html! { (asked.say(Text::ReasonOtherSources)) " " (english(why)) }
        }
        Reason::MassChange { since, noticed, what, held, commands } => html! {
            (asked.say(Text::ReasonMassChange)) " " (english(what)) ". "
            @if let Some(since) = since { (language.fill(Text::ReasonMassSince, &[&at(*since)])) " " }
            @if !noticed.is_empty() { (language.fill(Text::ReasonMassNoticed, &[noticed])) " " }
            (asked.say(Text::ReasonNothingRemoved))
            @if !held.is_empty() { " " (language.fill(Text::ReasonHeld, &[held])) }
            @if let Some([unwanted, wanted]) = commands {
                " " (asked.say(Text::ReasonUnwanted)) " " code { (unwanted) }
                " " (asked.say(Text::ReasonWanted)) " " code { (wanted) }
            }
        },
        Reason::OldCopy { folder, age, limit: most, why } => html! {
            (language.fill(Text::ReasonOldCopy, &[folder, &language.span(*age), &limit(most)]))
            @if let Some(why) = why { " " (asked.say(Text::ReasonWhy)) " " (english(why)) }
        },
        Reason::NoCopy { folder, age, limit: most, why } => html! {
            (language.fill(Text::ReasonNoCopy, &[folder, &language.span(*age), &limit(most)]))
            @if let Some(why) = why { " " (asked.say(Text::ReasonWhy)) " " (english(why)) }
        },
        Reason::CopyDrill { folder, reason } => html! {
            (language.fill(Text::ReasonOfCopy, &[folder])) " " (words(asked, reason))
        },
        Reason::Unreadable(why) => {
            html! { (asked.say(Text::ReasonUnreadable)) " " (english(why)) }
        }
    }
}

fn english(message: &str) -> Markup {
    html! { span lang="en" { (message) } }
}
