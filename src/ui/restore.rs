//! The output of a restore: a line for each difference in a dry run, or for each problem otherwise, and
//! totals.

use std::sync::{Arc, Mutex};

use engine::Progress;
use engine::SnapshotName;
use engine::entry::escape::shown;
use engine::repository::SourceRoots;
use engine::restore::Landing;
use engine::restore::{EntryOutcome, RestoreCounts, RestoreSink, RestoredEntry};
use engine::threads::unpoisoned;
use serde_json::json;

use crate::exit::Exit;
use crate::hint;
use crate::term::colour::Style;
use crate::term::out::Out;
use crate::term::print::{say, warn};
use crate::term::shell;
use crate::term::terminal;
use crate::term::units::{bytes, count, counted};
use crate::ui::parts::Parts;
use crate::ui::progress::{ProgressTimer, Show};
use crate::ui::progress_line::Task;
use crate::ui::summary::table;

/// Maximum number of lines about entries that were restored incompletely. The others are only counted.
const MOST_PARTLY: u64 = 20;

/// Writes the output of one restore.
pub(crate) struct Restored {
    top: String,
    from: RestoredFrom,
    dry_run: bool,
    json: bool,
    /// How the entries reach another machine; `None` for a folder of this one.
    over: Option<Over>,
    state: Mutex<State>,
    ticker: Option<ProgressTimer>,
}

/// How entries reach another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Through the backup_manager of that machine.
    Helper,
    Sftp,
}

struct State {
    out: Out,
    partly: u64,
}

impl Restored {
    /// Creates the output for a restore to `top`.
    pub(crate) fn new(
        top: String,
        from: RestoredFrom,
        dry_run: bool,
        json: bool,
        over: Option<Over>,
        progress: &Arc<Progress>,
    ) -> Self {
        let ticker = (terminal::can_redraw() && !dry_run).then(|| {
            let show = Show::Display(Parts::default());
            ProgressTimer::start(Arc::clone(progress), show, Task::Restore)
        });
        let state = Mutex::new(State { out: Out::new(), partly: 0 });
        Self { top, from, dry_run, json, over, state, ticker }
    }

    /// Writes the totals.
    pub(crate) fn finish(mut self, snapshot: &SnapshotName, counts: &RestoreCounts) -> Exit {
        drop(self.ticker.take());
        let mut state = unpoisoned(self.state.into_inner());
        if state.partly > MOST_PARTLY && !self.json {
            let more = count(state.partly - MOST_PARTLY);
            say(&format!("and {more} more of that kind; --json shows all"));
        }
        if self.json {
            let line = json!({
                "type": "summary", "snapshot": snapshot.to_string(), "to": self.top,
                "dry_run": self.dry_run, "whole_seconds": self.over == Some(Over::Sftp), "counts": counts,
                "over": match self.over {
                    None => None,
                    Some(Over::Helper) => Some("helper"),
                    Some(Over::Sftp) => Some("sftp"),
                },
            });
            state.out.object(&line);
        } else {
            let mut rows = totals(snapshot, &self.top, counts, self.dry_run);
            match self.over {
                None => {}
                Some(Over::Helper) => rows.push(("over", "backup_manager serve".to_owned())),
                Some(Over::Sftp) => {
                    rows.push(("over", "SFTP".to_owned()));
                    rows.push(("times", "whole seconds, as SFTP carries no more".to_owned()));
                }
            }
            let head = if self.dry_run { "would restore" } else { "restored" };
            state.out.prose(&format!("{head}\n{}", table(&rows)));
        }
        let exit = state.out.finish(exit_of(counts, self.dry_run));
        if !self.dry_run {
            hint::not_restored(counts).into_iter().for_each(warn);
        }
        exit
    }

    /// The path of the restored entry, escaped.
    fn path(&self, line: &RestoredEntry) -> String {
        let top = self.top.trim_end_matches('/');
        let slash = if line.folder && !line.path.is_empty() { "/" } else { "" };
        format!("{top}/{}{slash}", shown(&line.path))
    }
}

/// Finds the path on the source of a restored entry.
pub(crate) struct RestoredFrom {
    pub(crate) landing: Landing,
    pub(crate) roots: SourceRoots,
}

impl RestoredFrom {
    /// The path on the source of the entry that is restored to `path` below the target.
    fn source(&self, path: &[u8]) -> Vec<u8> {
        let names: Vec<&[u8]> =
            path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let below = self.landing.items.iter().filter_map(|item| {
            let to: Vec<&[u8]> = item.to.iter().map(|name| name.to_bytes()).collect();
            let rest = names.strip_prefix(&to[..])?;
            Some((to.len(), [&[&item.inside[..]], rest].concat().join(&b'/')))
        });
        match below.max_by_key(|(length, _)| *length) {
            Some((_, inside)) => self.roots.source(&inside),
            None => [b"/", path].concat(),
        }
    }
}

fn exit_of(counts: &RestoreCounts, dry_run: bool) -> Exit {
    if counts.damaged > 0 {
        Exit::Damaged
    } else if counts.is_whole() || (dry_run && counts.failed == 0) {
        Exit::Done
    } else {
        Exit::Listed
    }
}

impl RestoreSink for Restored {
    fn line(&self, line: &RestoredEntry) {
        let Ok(mut state) = self.state.lock() else { return };
        let (path, source) = (self.path(line), self.from.source(&line.path));
        if self.json {
            let line = json!({
                "type": "entry", "what": line.what, "path": path, "source": shown(&source), "bytes": line.bytes, "why": line.why,
            });
            return state.out.object(&line);
        }
        let from = shell::path(&source, line.folder);
        let (word, style) = word(line.what);
        let bad = matches!(
            line.what,
            EntryOutcome::Left
                | EntryOutcome::Partly
                | EntryOutcome::Damaged
                | EntryOutcome::Failed
        );
        if self.dry_run {
            let word = state.out.palette.paint(style, &format!("{word:<8}"));
            let why = line.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            return state.out.text(&format!("{word} {:>9}  {from}{why}\n", bytes(line.bytes)));
        }
        if line.what == EntryOutcome::Partly {
            state.partly += 1;
        }
        if bad && (line.what != EntryOutcome::Partly || state.partly <= MOST_PARTLY) {
            let why = line.why.as_deref().unwrap_or_default();
            let elsewhere = path.trim_end_matches('/') != shown(&source);
            let at = if elsewhere { format!(" (at {path})") } else { String::new() };
            warn(&format!("{word}: {from}: {why}{at}"));
        }
    }
}

fn word(what: EntryOutcome) -> (&'static str, Style) {
    match what {
        EntryOutcome::Created => ("create", Style::Good),
        EntryOutcome::Replaced => ("replace", Style::Warn),
        EntryOutcome::Metadata => ("metadata", Style::Dim),
        EntryOutcome::Removed => ("remove", Style::Bad),
        EntryOutcome::Equal => ("equal", Style::Plain),
        EntryOutcome::Left => ("left", Style::Warn),
        EntryOutcome::Partly => ("partly", Style::Warn),
        EntryOutcome::Damaged => ("DAMAGED", Style::Bad),
        EntryOutcome::Failed => ("FAILED", Style::Bad),
        EntryOutcome::Protected => ("protect", Style::Dim),
    }
}

fn totals(
    snapshot: &SnapshotName,
    top: &str,
    counts: &RestoreCounts,
    dry_run: bool,
) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("snapshot", snapshot.to_string()),
        ("to", top.to_owned()),
        ("created", count(counts.created)),
        ("replaced", count(counts.replaced)),
        ("metadata", count(counts.metadata)),
        ("removed", count(counts.removed)),
        ("there before", count(counts.equal)),
    ];
    for (label, number) in [
        ("left as it was", counts.left),
        ("partly", counts.partly),
        ("damaged", counts.damaged),
        ("failed", counts.failed),
        ("not removed", counts.protected),
        ("without a hash", counts.unproved),
    ] {
        if number > 0 {
            rows.push((label, count(number)));
        }
    }
    if !dry_run {
        rows.push(("proved by hash", counted(counts.verified, "file", "files")));
        rows.push(("written", bytes(counts.bytes)));
    }
    rows
}
