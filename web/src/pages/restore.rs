//! The command that restores a path. The page itself restores nothing.

use maud::html;

use crate::pages::layout::page;
use crate::pages::parts::crumbs;
use crate::site::answer::Outcome;
use crate::site::place::Place;
use crate::site::request::Asked;
use crate::text::Text;

pub(crate) fn restore(asked: Asked) -> Outcome {
    let asked = &asked;
    let place = Place::of(asked)?;
    place.entry(&place.open()?)?;
    let path = place.source(asked);
    let command = asked.site.program.restore_command(&place.job, place.snapshot(), &path);
    let content = html! {
        (crumbs(asked, &place))
        h1 { (asked.say(Text::Restore)) ": " bdi { (place.name()) } }
        p { (asked.say(Text::RestoreExplained)) }
        pre.command tabindex="0" { (command) }
        p { a.button href=(place.link(asked, "browse")) { (asked.say(Text::View)) } }
    };
    Ok(page(asked, asked.say(Text::Restore), &content))
}
