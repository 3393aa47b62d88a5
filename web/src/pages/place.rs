//! The page of a path: a folder, a file, or any other entry.

use engine::entry::Kind;

use crate::pages::{file, folder, text_diff};
use crate::site::answer::Outcome;
use crate::site::place::Place;
use crate::site::request::Asked;

pub(crate) fn place(asked: Asked) -> Outcome {
    let place = Place::of(&asked)?;
    let open = place.open()?;
    match place.entry(&open)? {
        Some(entry) if entry.meta.kind != Kind::Folder => match asked.query.has("with") {
            true => text_diff::differences(&asked, &place, &open),
            false => file::file(&asked, &place, &open, &entry),
        },
        _ => folder::folder(asked, place, open),
    }
}
