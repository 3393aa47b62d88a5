//! Snapshots, versions, finds and differences as JSON, the same for `--json` and for the web page's `/api/`.

use chrono::{DateTime, Local, Utc};
use engine::Report;
use engine::SnapshotName;
use engine::entry::Time;
use engine::entry::escape::shown;
use engine::inspect::{Difference, DifferenceKind, Differences, FoundEntry, Span, Usage};
use engine::repository::{SourceRoots, Standing};
use engine::snapshot::SnapshotState;
use serde_json::{Value, json};

use crate::snapshots::open::Series;
use crate::snapshots::path_versions::{PathVersions, restore, vanished};

/// A snapshot, as `list` shows it.
pub(crate) fn snapshot(
    series: &Series,
    name: &SnapshotName,
    usage: Option<&Usage>,
    report: Option<&Report>,
    standing: &Standing,
) -> Value {
    let counts = report.map(|report| &report.counts);
    json!({
        "type": "snapshot",
        "job": series.name,
        "snapshot": name.to_string(),
        "path": crate::config::mistake::shown_path(&series.catalog.path_of(name)),
        "state": state(name.state),
        "time": name.stamp.time().to_rfc3339(),
        "local_time": name.stamp.time().with_timezone(&Local).to_rfc3339(),
        "age_seconds": (Utc::now() - name.stamp.time()).num_seconds(),
        "entries": usage.map(|usage| usage.entries).or(counts.map(|counts| counts.entries)),
        "bytes": usage.map(|usage| usage.bytes).or(counts.map(|counts| counts.bytes)),
        "disk_bytes": usage.map(|usage| usage.disk_bytes),
        "alone_bytes": usage.map(|usage| usage.alone_bytes),
        "shared_bytes": usage.map(|usage| usage.shared_bytes),
        "host": report.and_then(|report| report.host.clone()),
        "sources": report.map(|report| {
            report.roots.iter().map(|root| root.path.as_str()).collect::<Vec<_>>()
        }),
        "base": report.and_then(|report| report.base.clone()),
        "new": counts.map(|counts| counts.new),
        "changed": counts.map(|counts| counts.changed),
        "metadata": counts.map(|counts| counts.metadata),
        "renamed": counts.map(|counts| counts.renamed),
        "deleted": counts.map(|counts| counts.deleted),
        "problems": counts.map(|counts| counts.problems),
        "carried_forward": counts.map(|counts| counts.carried_forward),
        "held": standing.held,
        "damaged": standing.damaged,
        "has_report": report.is_some(),
    })
}

fn state(state: SnapshotState) -> &'static str {
    match state {
        SnapshotState::Complete => "complete",
        SnapshotState::Incomplete => "incomplete",
        SnapshotState::Deleting => "deleting",
    }
}

/// A version of a path, as `history` shows it. `given` are the flags for the location of the snapshots.
pub(crate) fn version(
    series: &Series,
    snapshots: &[(SnapshotName, SourceRoots)],
    found: &PathVersions,
    number: usize,
    given: &str,
) -> Value {
    let span: &Span = &found.spans[number];
    let name = |index: usize| snapshots[index].0.to_string();
    json!({
        "type": "version", "job": series.name, "path": shown(&found.path), "version": span.version,
        "event": span.beginning, "first": name(span.first),
        "last": name(span.last), "snapshots": span.last - span.first + 1,
        "kind": span.kind, "bytes": span.bytes, "entries": span.entries,
        "modified": time(span.mtime).map(|time| time.to_rfc3339()),
        "renamed_from": found.from.as_deref().filter(|_| number == 0).map(shown),
        "vanished_in": vanished(&found.spans, number, snapshots).map(ToString::to_string),
        "restore": restore(&snapshots[span.last].0, &found.path, given),
    })
}

/// A modification time as an instant.
pub(crate) fn time(time: Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs, time.nanos)
}

/// An entry that `find` found.
pub(crate) fn found(
    series: &Series,
    path: &[u8],
    found: &FoundEntry,
    names: &[&SnapshotName],
) -> Value {
    let snapshots: Vec<String> =
        found.snapshots.iter().map(|index| names[*index].to_string()).collect();
    json!({
        "type": "found", "job": series.name, "path": shown(path), "folder": found.folder,
        "snapshots": snapshots,
    })
}

/// A difference, as `diff` shows it, with the source roots of both sides.
pub(crate) fn difference(difference: &Difference, from: &SourceRoots, to: &SourceRoots) -> Value {
    let Difference { kind, path, from: before, folder, bytes } = difference;
    let roots = if *kind == DifferenceKind::Removed { from } else { to };
    let slash = if *folder { "/" } else { "" };
    let path = format!("{}{slash}", shown(&roots.source(path)));
    let before = before.as_ref().map(|path| format!("{}{slash}", shown(&from.source(path))));
    json!({
        "type": "difference", "difference": kind, "path": path, "from": before, "bytes": bytes,
    })
}

/// The totals of a comparison. Without `second`, with the source.
pub(crate) fn totals(
    first: &SnapshotName,
    second: Option<&SnapshotName>,
    found: &Differences,
) -> Value {
    json!({
        "type": "summary", "from": first.to_string(), "to": second.map(ToString::to_string),
        "added": found.added, "removed": found.removed, "changed": found.changed,
        "metadata": found.metadata, "renamed": found.renamed, "unchanged": found.unchanged,
        "bytes_added": found.bytes_added, "bytes_removed": found.bytes_removed,
        "renames_unsure": found.renames_unsure, "unread": found.unread.len() as u64 + found.unread_entries,
    })
}
