//! The page of a path: a folder, a file, any other entry, or nothing in this snapshot.

use axum::http::StatusCode;
use engine::entry::Kind;
use maud::html;

use crate::pages::layout::with_status;
use crate::pages::parts::{crumbs, snapshots};
use crate::pages::versions::{table, versions_of};
use crate::pages::{file, folder, text_diff};
use crate::site::answer::{Failure, Outcome};
use crate::site::place::Place;
use crate::site::request::Asked;
use crate::text::Text;

pub(crate) fn place(asked: Asked) -> Outcome {
    let place = Place::of(&asked)?;
    let open = place.open()?;
    let found = match place.entry(&open) {
        Err(Failure::NoSuchPath) => return missing(&asked, &place),
        found => found?,
    };
    match found {
        Some(entry) if entry.meta.kind != Kind::Folder => match asked.query.has("with") {
            true => text_diff::differences(&asked, &place, &open),
            false => file::file(&asked, &place, &open, &entry),
        },
        _ => folder::folder(asked, place, open),
    }
}

/// The page of a path that this snapshot does not have: the control that moves in time, and the snapshots that have it.
fn missing(asked: &Asked, place: &Place) -> Outcome {
    let versions = versions_of(asked, place).ok().filter(|(found, _)| !found.is_empty());
    let Some((found, inside)) = versions else { return Err(Failure::NoSuchPath) };
    let name = place.name();
    let content = html! {
        (crumbs(asked, place))
        h1 { bdi { (name) } }
        (snapshots(asked, place))
        p { (asked.say(Text::NoSuchPath)) }
        (table(asked, place, &inside, &found))
    };
    Ok(with_status(asked, StatusCode::NOT_FOUND, &name, &content))
}
