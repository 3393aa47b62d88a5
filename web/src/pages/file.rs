//! A file, or any other entry that is no folder: metadata, preview and versions.

use std::fs::File;
use std::io::{self, Read};

use engine::StoredEntry;
use engine::entry::Kind;
use engine::entry::escape::shown;
use engine::inspect::OpenSnapshot;
use maud::{Markup, html};

use crate::download::picture::is_picture;
use crate::pages::layout::page;
use crate::pages::parts::{crumbs, fact, kind, label, modified, snapshots};
use crate::pages::versions::{Wanted, versions};
use crate::site::answer::Outcome;
use crate::site::place::Place;
use crate::site::request::Asked;
use crate::text::Text;

/// Bytes of a text that are shown.
const SHOWN: u64 = 64 * 1024;

pub(crate) fn file(
    asked: &Asked,
    place: &Place,
    open: &OpenSnapshot,
    entry: &StoredEntry,
) -> Outcome {
    let name = place.name();
    let is_file = entry.meta.kind == Kind::File && entry.on_disk;
    let content = html! {
        (crumbs(asked, place))
        h1 { bdi { (name) } }
        (snapshots(asked, place))
        p.actions {
            @if is_file { a.button.main href=(place.link(asked, "raw")) { (asked.say(Text::Download)) } }
            a.button href=(place.link(asked, "restore")) { (asked.say(Text::Restore)) }
        }
        dl.facts { (facts(asked, place, entry)) }
        @if is_file { (preview(asked, place, open)?) }
        (versions(asked, place, &Wanted::File))
    };
    Ok(page(asked, &name, &content))
}

fn facts(asked: &Asked, place: &Place, entry: &StoredEntry) -> Markup {
    let meta = &entry.meta;
    html! {
        (fact(asked, Text::Path, &html! { code { bdi { (shown(&place.source(asked))) } } }))
        (fact(asked, Text::Type, &html! { (asked.say(kind(meta.kind))) }))
        @if let Some(target) = &entry.target { (fact(asked, Text::Target, &html! { code { bdi { (shown(target)) } } })) }
        @if meta.kind == Kind::File {
            (fact(asked, Text::Size, &html! { (asked.language.size(meta.size)) " (" (asked.language.count(meta.size)) ")" }))
        }
        (fact(asked, Text::Modified, &modified(asked, meta.mtime)))
        (fact(asked, Text::Owner, &html! { (meta.uid) ":" (meta.gid) }))
        @if meta.kind != Kind::Symlink { (fact(asked, Text::Mode, &html! { code { (format!("{:04o}", meta.mode)) } })) }
    }
}

fn preview(asked: &Asked, place: &Place, open: &OpenSnapshot) -> io::Result<Markup> {
    let Some((parent, name)) = place.split() else { return Ok(html! {}) };
    let file = open.folder(parent)?.file(&name)?;
    let mut start = Vec::new();
    (&file).take(SHOWN + 1).read_to_end(&mut start)?;
    let cut = start.len() as u64 > SHOWN;
    let before = place.before().filter(|_| is_picture(&start).is_some());
    Ok(html! {
        section {
            h2 { (asked.say(Text::Preview)) }
            @if is_picture(&start).is_some() {
                div.pictures {
                    @if let Some(before) = before.filter(|before| differs(place, before, &file)) {
                        (picture(asked, place, before))
                    }
                    (picture(asked, place, place.snapshot()))
                }
            } @else if let Some(text) = text(&start, cut) {
                pre.preview tabindex="0" dir="auto" { (text) }
                @if cut { p { small { (asked.say(Text::PreviewCut)) } } }
            } @else {
                p { (asked.say(Text::NoPreview)) }
            }
        }
    })
}

/// Whether the file of the snapshot before is another inode than `file`.
fn differs(place: &Place, before: &engine::SnapshotName, file: &File) -> bool {
    let earlier = || {
        let (parent, name) = place.split()?;
        let open = OpenSnapshot::open(&place.job.repository, before).ok()?;
        open.folder(parent).ok()?.file(&name).ok()
    };
    let id = |file: &File| engine::fs::stat::meta(file).ok().and_then(|meta| meta.id);
    earlier().is_some_and(|earlier| id(&earlier) != id(file))
}

/// The picture that a place is in `snapshot`.
pub(crate) fn picture(asked: &Asked, place: &Place, snapshot: &engine::SnapshotName) -> Markup {
    let words = asked.language.fill(Text::PictureOf, &[&label(asked, snapshot)]);
    html! {
        figure {
            img src=(place.link_at(asked, "picture", snapshot)) alt=(words) loading="lazy";
            figcaption { (words) }
        }
    }
}

/// The bytes as text, if they are text: UTF-8 without NUL. The last character may be `cut`.
pub(crate) fn text(bytes: &[u8], cut: bool) -> Option<String> {
    if bytes.contains(&0) {
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.to_owned()),
        Err(error) if cut && error.error_len().is_none() => {
            Some(String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned())
        }
        // Text of another encoding: most bytes are letters.
        Err(_) => {
            let odd =
                bytes.iter().filter(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace());
            (odd.count() * 100 < bytes.len())
                .then(|| bytes.iter().map(|byte| char::from(*byte)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_other_content() {
        assert_eq!(text(b"plain\n", false).as_deref(), Some("plain\n"));
        assert_eq!(text("ä".as_bytes(), false).as_deref(), Some("ä"));
        assert_eq!(text(b"x\xc3", true).as_deref(), Some("x"), "cut within a character");
        assert_eq!(text(b"caf\xe9", false).as_deref(), Some("café"), "ISO 8859-1");
        assert_eq!(text(b"\x7fELF\0", false), None);
        assert_eq!(text(b"\x01\x02\xff", false), None);
    }
}
