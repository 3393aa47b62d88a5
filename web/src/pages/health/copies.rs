//! The further copies of the snapshots of a job.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::pages::parts::{fact, time};
use crate::program::Copy;
use crate::site::request::Asked;
use crate::text::Text;

/// A line of facts for each copy: where it is, the age of its newest snapshot, and its state.
pub(crate) fn copies(asked: &Asked, copies: &[Copy], now: DateTime<Utc>) -> Markup {
    html! { @for copy in copies { (fact(asked, Text::Copy, &one(asked, copy, now))) } }
}

fn one(asked: &Asked, copy: &Copy, now: DateTime<Utc>) -> Markup {
    html! {
        code { bdi { (copy.folder) } } ": "
        @match copy.newest {
            Some(newest) => { (asked.language.ago(now - newest)) " (" (time(asked, newest)) ")" }
            None => { (asked.say(Text::CopyWithoutSnapshot)) }
        }
        @if copy.is_whole { ", " (asked.say(Text::CopyWhole)) }
        @if copy.is_late { " " span.mark.removed { (asked.say(Text::CopyLate)) } }
        @if copy.is_absent {
            " " span.mark.changed { (asked.say(Text::CopyAbsent)) }
        } @else if let Some(why) = &copy.why {
            " " (asked.say(Text::CopyFailed)) " " span lang="en" { (why) }
        }
    }
}
