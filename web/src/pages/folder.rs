//! A folder: its entries in one snapshot, a page at a time.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io::{self, Write};

use engine::entry::Kind;
use engine::entry::escape::shown;
use engine::inspect::{DifferenceKind, FolderName, OpenFolder, OpenSnapshot};
use engine::{SnapshotName, StoredEntry};
use maud::{Markup, html};

use crate::pages::layout::streamed;
use crate::pages::parts::{crumbs, label, mark, modified, sign, snapshots};
use crate::pages::versions::{Wanted, versions};
use crate::site::answer::Outcome;
use crate::site::link::Link;
use crate::site::place::Place;
use crate::site::request::Asked;
use crate::site::stream::ChunkWriter;
use crate::text::Text;

/// Entries on a page.
const PAGE: usize = 10_000;
/// Rows that are sent together.
const ROWS: usize = 100;
/// Names of earlier snapshots that are read to find deleted entries, and deleted entries that are shown.
const EARLIER: (usize, usize) = (1_000_000, 100_000);

/// The order of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Name,
    Size,
    Modified,
}

impl Order {
    const ALL: [(Self, &'static str, Text); 3] = [
        (Self::Name, "name", Text::Name),
        (Self::Size, "size", Text::Size),
        (Self::Modified, "modified", Text::Modified),
    ];

    fn of(asked: &Asked) -> (Self, bool) {
        let text = asked.query.text("sort").unwrap_or_default();
        let (text, down) = text.strip_prefix('-').map_or((text, false), |text| (text, true));
        let known = Self::ALL.into_iter().find(|(_, name, _)| *name == text);
        (known.map_or(Self::Name, |(order, ..)| order), down)
    }
}

pub(crate) fn folder(asked: Asked, place: Place, open: OpenSnapshot) -> Outcome {
    // A folder that cannot be read has no page.
    open.folder(&place.inside)?.own()?;
    let name = place.name();
    let first = head(&asked, &place, &name);
    let asked = std::sync::Arc::new(asked);
    let page = std::sync::Arc::clone(&asked);
    streamed(&asked, &name, &first, move |out| {
        let written = entries(&page, &place, &open, out);
        if let Err(error) = &written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            let words = page.language.fill(Text::CannotRead, &[&error.to_string()]);
            let text = html! { p.complaint { (words) } };
            return out.write_all(text.into_string().as_bytes());
        }
        written?;
        let versions = versions(&page, &place, &Wanted::Folder);
        out.write_all(versions.into_string().as_bytes())
    })
}

fn head(asked: &Asked, place: &Place, name: &str) -> Markup {
    html! {
        (crumbs(asked, place))
        h1 { bdi { (name) } }
        (snapshots(asked, place))
        p.actions {
            a.button href=(place.link(asked, "tar")) { (asked.say(Text::DownloadTar)) }
            a.button href=(place.link(asked, "zip")) { (asked.say(Text::DownloadZip)) }
            a.button href=(place.link(asked, "restore")) { (asked.say(Text::Restore)) }
            @if let Some(before) = place.before() {
                @let to = asked.link("compare").component(place.job.name.as_bytes()).path(&place.inside);
                a.button href=(to.with("a", &before.to_string()).with("b", &place.snapshot().to_string())) { (asked.say(Text::CompareWithBefore)) }
            }
            @match asked.query.has("deleted") {
                true => a.button href=(place.link(asked, "browse")) { (asked.say(Text::HideDeleted)) },
                false => a.button href=(place.link(asked, "browse").with("deleted", "1")) { (asked.say(Text::ShowDeleted)) },
            }
        }
    }
}

/// An entry of the list.
struct Row {
    name: CString,
    /// `None` until it is needed, and if it cannot be read.
    entry: Option<StoredEntry>,
    folder: bool,
    /// The last snapshot that has a deleted entry.
    deleted: Option<usize>,
}

impl Row {
    fn of(name: FolderName) -> Self {
        Self { name: name.name, entry: None, folder: name.folder, deleted: None }
    }

    fn size(&self) -> u64 {
        let file = self.entry.as_ref().filter(|entry| entry.meta.kind == Kind::File);
        file.map_or(0, |entry| entry.meta.size)
    }
}

/// Writes the list.
fn entries(
    asked: &Asked,
    place: &Place,
    open: &OpenSnapshot,
    out: &mut ChunkWriter,
) -> io::Result<()> {
    let folder = open.folder(&place.inside)?;
    let earlier =
        place.before().and_then(|before| OpenSnapshot::open(&place.job.repository, before).ok());
    let before =
        earlier.as_ref().and_then(|earlier| earlier.folder(&inside_before(asked, place)).ok());
    let mut rows: Vec<Row> = folder.names()?.into_iter().map(Row::of).collect();
    let oldest = match asked.query.has("deleted") {
        true => add_deleted(asked, place, &mut rows),
        false => None,
    };
    let (order, down) = Order::of(asked);
    sort(&folder, &mut rows, order, down);
    let (pages, number) = (rows.len().div_ceil(PAGE).max(1), rows.len() as u64);
    let wanted = asked.query.text("page").and_then(|page| page.parse().ok()).unwrap_or(1_usize);
    let current = wanted.clamp(1, pages);
    if let Some(oldest) = oldest {
        let words = asked.language.fill(Text::DeletedFrom, &[&label(asked, oldest)]);
        out.write_all(html! { p { (words) } }.into_string().as_bytes())?;
    }
    if rows.is_empty() {
        let empty = html! { p { (asked.say(Text::EmptyFolder)) } };
        return out.write_all(empty.into_string().as_bytes());
    }
    let region = asked.say(Text::Folder);
    let open_table = format!(
        "<p class=\"total\">{}</p><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{region}\"><table class=\"entries\">",
        asked.language.counted(number, Text::OneEntry, Text::Entries)
    );
    out.write_all(open_table.as_bytes())?;
    out.write_all(columns(asked, place, order, down).into_string().as_bytes())?;
    out.write_all(b"<tbody>")?;
    let shown = rows.into_iter().skip((current - 1) * PAGE).take(PAGE);
    for (at, mut row) in shown.enumerate() {
        look(&folder, &mut row);
        let change = match (&row.entry, row.deleted) {
            (Some(entry), None) if place.before().is_some() => {
                folder.change_since(before.as_ref(), &row.name, entry).unwrap_or_default()
            }
            _ => None,
        };
        out.write_all(line(asked, place, &row, change).into_string().as_bytes())?;
        if at % ROWS == ROWS - 1 && at < 5 * ROWS {
            out.flush()?;
        }
    }
    out.write_all(b"</tbody></table></div>")?;
    out.write_all(pager(asked, place, current, pages).into_string().as_bytes())
}

/// The path of the folder in the snapshot before, which may have another layout.
fn inside_before(asked: &Asked, place: &Place) -> Vec<u8> {
    match place.before() {
        Some(before) => asked.site.roots(&place.job, before).inside(&place.source(asked)),
        None => Vec::new(),
    }
}

fn look(folder: &OpenFolder<'_>, row: &mut Row) {
    if row.entry.is_none() && row.deleted.is_none() {
        row.entry = folder.entry(&row.name).unwrap_or_default();
        row.folder = row.entry.as_ref().map_or(row.folder, |it| it.meta.kind == Kind::Folder);
    }
}

/// Adds the names that earlier snapshots have in this folder, the newest first. Returns the oldest snapshot that was read.
fn add_deleted<'a>(
    asked: &Asked,
    place: &'a Place,
    rows: &mut Vec<Row>,
) -> Option<&'a SnapshotName> {
    let mut known: HashSet<CString> = rows.iter().map(|row| row.name.clone()).collect();
    let (mut left, most) = (EARLIER.0, rows.len() + EARLIER.1);
    let source = place.source(asked);
    let mut oldest = None;
    for (index, snapshot) in place.history.complete[..place.index].iter().enumerate().rev() {
        if left == 0 || rows.len() >= most {
            break;
        }
        oldest = Some(snapshot);
        let inside = asked.site.roots(&place.job, snapshot).inside(&source);
        let names = OpenSnapshot::open(&place.job.repository, snapshot)
            .ok()
            .and_then(|open| open.folder(&inside).and_then(|folder| folder.names()).ok());
        let names = names.unwrap_or_default();
        left = left.saturating_sub(names.len());
        for name in names {
            if known.insert(name.name.clone()) {
                rows.push(Row { deleted: Some(index), ..Row::of(name) });
            }
        }
    }
    oldest
}

/// Sorts folders first, then by `order`. Entries are looked at only where the order needs it.
fn sort(folder: &OpenFolder<'_>, rows: &mut [Row], order: Order, down: bool) {
    if order != Order::Name {
        rows.iter_mut().for_each(|row| look(folder, row));
    }
    let mtime = |row: &Row| row.entry.as_ref().map(|entry| entry.meta.mtime);
    rows.sort_by(|one, other| {
        let ordering = match order {
            Order::Name => one.name.cmp(&other.name),
            Order::Size => one.size().cmp(&other.size()).then_with(|| one.name.cmp(&other.name)),
            Order::Modified => {
                mtime(one).cmp(&mtime(other)).then_with(|| one.name.cmp(&other.name))
            }
        };
        let ordering = if down { ordering.reverse() } else { ordering };
        other.folder.cmp(&one.folder).then(ordering)
    });
}

/// A link to this folder with the same deleted entries.
fn here(asked: &Asked, place: &Place) -> Link {
    let link = place.link(asked, "browse");
    if asked.query.has("deleted") { link.with("deleted", "1") } else { link }
}

fn columns(asked: &Asked, place: &Place, order: Order, down: bool) -> Markup {
    html! {
        thead { tr {
            @for (column, name, text) in Order::ALL {
                @let sorted = order == column;
                @let next = if sorted && !down { format!("-{name}") } else { name.to_owned() };
                th scope="col" aria-sort=[sorted.then_some(if down { "descending" } else { "ascending" })] {
                    a href=(here(asked, place).with("sort", &next)) {
                        (asked.say(text)) @if sorted { (if down { " ▼" } else { " ▲" }) }
                    }
                }
            }
            th scope="col" { (asked.say(Text::Change)) }
        } }
    }
}

fn line(asked: &Asked, place: &Place, row: &Row, change: Option<DifferenceKind>) -> Markup {
    let snapshot: &SnapshotName =
        row.deleted.map_or(place.snapshot(), |index| &place.history.complete[index]);
    let what = row
        .entry
        .as_ref()
        .map_or(if row.folder { Kind::Folder } else { Kind::File }, |entry| entry.meta.kind);
    html! {
        tr.gone[row.deleted.is_some()] {
            th scope="row" {
                (sign(asked, what))
                " "
                a href=(place.link_of(asked, "browse", &joined(&place.inside, &row.name), snapshot)) { bdi { (shown(row.name.to_bytes())) } }
                @if let Some(target) = row.entry.as_ref().and_then(|entry| entry.target.as_ref()) {
                    small { " → " bdi { (shown(target)) } }
                }
            }
            td.number { @if what == Kind::File && row.entry.is_some() { (asked.language.size(row.size())) } }
            td { @if let Some(entry) = &row.entry { (modified(asked, entry.meta.mtime)) } }
            td {
                (mark(asked, change))
                @if row.deleted.is_some() {
                    span.mark.removed { (asked.language.fill(Text::DeletedMark, &[&label(asked, snapshot)])) }
                }
            }
        }
    }
}

fn pager(asked: &Asked, place: &Place, current: usize, pages: usize) -> Markup {
    let sort = asked.query.text("sort").unwrap_or_default();
    let to = |page: usize| here(asked, place).with("sort", sort).with("page", &page.to_string());
    let words = |number: usize| asked.language.count(number as u64);
    html! {
        @if pages > 1 {
            nav.pager aria-label=(asked.say(Text::Page).split(' ').next().unwrap_or_default()) {
                @if current > 1 { a.button rel="prev" href=(to(current - 1)) { (asked.say(Text::PreviousPage)) } }
                span { (asked.language.fill(Text::Page, &[&words(current), &words(pages)])) }
                @if current < pages { a.button rel="next" href=(to(current + 1)) { (asked.say(Text::NextPage)) } }
            }
        }
    }
}

/// The path of `name` in the folder `inside`.
fn joined(inside: &[u8], name: &CStr) -> Vec<u8> {
    match inside.is_empty() {
        true => name.to_bytes().to_vec(),
        false => [inside, b"/", name.to_bytes()].concat(),
    }
}
