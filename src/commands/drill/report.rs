//! Prints the result of a drill.

use engine::drill::{DrillError, Drilled, Fault};
use engine::entry::escape::shown;
use engine::repository::SourceRoots;
use engine::restore::{PlaceError, RestoreError};
use serde_json::json;

use crate::exit::Exit;
use crate::snapshots::open::{Series, unlookable};
use crate::term::colour::Style;
use crate::term::out::Out;
use crate::term::print::{fail, say};
use crate::term::units::{bytes, count, counted};
use crate::ui::summary::table;

pub(super) fn of(drilled: &Drilled, fault: Fault) -> u64 {
    drilled.findings.iter().filter(|finding| finding.fault == fault).count() as u64
}

pub(super) fn exit_of(drilled: &Drilled) -> Exit {
    match [Fault::Damaged, Fault::Failed, Fault::Source].map(|fault| of(drilled, fault) > 0) {
        [true, ..] => Exit::Damaged,
        [_, true, _] => Exit::Failed,
        [_, _, true] => Exit::Listed,
        _ if drilled.unproved > 0 => Exit::Listed,
        _ => Exit::Done,
    }
}

fn word(fault: Fault) -> (&'static str, Style) {
    match fault {
        Fault::Damaged => ("DAMAGED", Style::Bad),
        Fault::Failed => ("FAILED", Style::Bad),
        Fault::Source => ("DIFFERS", Style::Warn),
    }
}

pub(super) fn objects(
    (job, copy): (&str, Option<String>),
    drilled: &Drilled,
    roots: &SourceRoots,
    out: &mut Out,
) {
    for finding in &drilled.findings {
        let (what, source) = (&finding.what, roots.source(&finding.path));
        out.object(&json!({
            "type": "finding", "fault": word(finding.fault).0.to_lowercase(), "path": shown(&finding.path),
            "source": shown(&source), "what": what,
        }));
    }
    out.object(&json!({
        "type": "summary", "job": job, "copy": copy, "snapshot": drilled.snapshot.to_string(), "seed": drilled.seed,
        "files": drilled.files, "bytes": drilled.bytes, "good": drilled.good, "unproved": drilled.unproved,
        "partly": drilled.partly, "with_source": drilled.with_source, "too_large": drilled.too_large,
        "damaged": of(drilled, Fault::Damaged), "failed": of(drilled, Fault::Failed),
        "differs": of(drilled, Fault::Source),
    }));
}

pub(super) fn text(copy: Option<String>, drilled: &Drilled, roots: &SourceRoots, out: &mut Out) {
    for finding in &drilled.findings {
        let (word, style) = word(finding.fault);
        let word = out.palette.paint(style, word);
        let source = shown(&roots.source(&finding.path));
        out.prose(&format!("{word}  {source}: {}\n", finding.what));
    }
    let mut rows = vec![
        ("snapshot", drilled.snapshot.to_string()),
        ("seed", drilled.seed.to_string()),
        (
            "restored",
            format!("{}, {}", counted(drilled.files, "file", "files"), bytes(drilled.bytes)),
        ),
        ("came back", count(drilled.good)),
        ("as the source", count(drilled.with_source)),
    ];
    if let Some(copy) = copy {
        rows.insert(0, ("copy", copy));
    }
    for (label, number) in [
        ("damaged", of(drilled, Fault::Damaged)),
        ("failed", of(drilled, Fault::Failed)),
        ("not as source", of(drilled, Fault::Source)),
        ("without a hash", drilled.unproved),
        ("partly", drilled.partly),
        ("too large", drilled.too_large),
    ] {
        if number > 0 {
            rows.push((label, count(number)));
        }
    }
    out.prose(&table(&rows));
}

/// Prints why a drill could not be done.
pub(super) fn failed(one: &Series, error: DrillError) -> Exit {
    let next = match &error {
        DrillError::Stopped => return Exit::Signal(0),
        DrillError::Look(error) => return unlookable(error),
        DrillError::Busy(_) => {
            say(&format!("{}: {error}; this one does nothing", one.name));
            return Exit::Done;
        }
        DrillError::Place(PlaceError::InBackups { .. }) => {
            fail(&format!("{error}; name another folder with --scratch"));
            return Exit::Usage;
        }
        DrillError::Place(_) => "name an existing folder that can be written to with --scratch",
        DrillError::Space { .. } | DrillError::Restore(RestoreError::NoSpace { .. }) => {
            "make room, write a smaller --sample, or name another folder with --scratch"
        }
        DrillError::Restore(_) => {
            "check the disk of the scratch folder, or name another one with --scratch"
        }
    };
    fail(&format!("the restore drill of {} could not be done: {error}; {next}", one.name));
    Exit::Failed
}
