//! Decides why a snapshot does not contain an entry: its source did not have the entry either, or the run never
//! backed it up. Uses the report of that run.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use serde::Deserialize;

use crate::entry::escape::unshown;
use crate::entry::preserve::Preserve;
use crate::entry::{Kind, ListedEntry};
use crate::filter::filters::Filters;
use crate::filter::scope::{Scope, Texts};
use crate::repository::Repository;
use crate::repository::records::coverage::Coverage;
use crate::repository::records::report::Report;
use crate::repository::records::report_file::report_file;
use crate::repository::source_path::SourceRoots;
use crate::repository::store::Store;
use crate::snapshot::name::{SnapshotName, SnapshotState};
use crate::source::files_from::Selection;
use crate::threads::lock::lock;

/// The maximum number of folders with cached rules.
const SCOPES: usize = 4096;

/// Why an entry that a snapshot lacks may still have existed in the source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// The snapshot is not complete.
    #[error("it was interrupted, and a part of it may be missing")]
    Interrupted,
    /// A check found damage in the snapshot.
    #[error("a check found damage in it")]
    Damaged,
    /// There is no report that this user can read.
    #[error("there is no report of it that can be read, which would tell what its run did not see")]
    NoReport,
    /// The report has the file name of this snapshot and describes another one.
    #[error("its report is that of {0}")]
    ReportOfAnother(String),
    /// The report does not list everything that the run could not read.
    #[error("its report does not list all that its run could not read")]
    ReportNotWhole,
    /// The manifest exists and cannot be read.
    #[error(
        "its manifest cannot be read, which would tell whether entries were removed from it later"
    )]
    NoManifest,
    /// The report does not record what the run left out.
    #[error("its report does not tell what its run left out")]
    NothingRecorded,
}

/// What a run did not back up from its sources.
#[derive(Debug, Default)]
pub struct Absence {
    roots: SourceRoots,
    /// Paths inside the snapshot that the run could not read, store or enter, with the reason.
    unseen: HashMap<Vec<u8>, &'static str>,
    /// The rules that left out entries; `None` with `--delete-excluded`, or when the report does not record
    /// them.
    rules: Option<RecordedRules>,
}

/// The rules by which a run left out entries.
#[derive(Debug)]
struct RecordedRules {
    filters: Arc<Filters>,
    selection: Option<Selection>,
    keep: Preserve,
    prune_empty: bool,
    /// The rule files and tags of folders, by the folders' paths on the source.
    texts: HashMap<Vec<u8>, Texts>,
    /// The cached rules in effect in folders, by their paths inside the snapshot.
    scopes: Mutex<HashMap<Vec<u8>, Arc<Scope>>>,
}

const UNREAD: &str = "the run could not read or store it";
const NOT_ENTERED: &str = "the run did not go into it: another file system, or a backups folder";
const BY_RULE: &str = "the rules of the run left it out (--delete-excluded removes such entries)";

/// The list of problems in a report.
#[derive(Deserialize)]
struct ReportedProblems {
    problems: Vec<ReportedProblem>,
}

#[derive(Deserialize)]
struct ReportedProblem {
    path: String,
    instead: String,
}

impl Repository {
    /// What the run of `snapshot` did not back up according to its report, and the reasons not to rely on that.
    /// With `excluded`, ignores the rules of that run.
    #[must_use]
    pub fn absence(&self, snapshot: &SnapshotName, excluded: bool) -> (Absence, Vec<Doubt>) {
        let mut doubts = Vec::new();
        if snapshot.state != SnapshotState::Complete {
            doubts.push(Doubt::Interrupted);
        }
        if self.standing(snapshot).damaged {
            doubts.push(Doubt::Damaged);
        }
        if self.manifest(snapshot).is_err() {
            doubts.push(Doubt::NoManifest);
        }
        let absence = match reported(self, snapshot) {
            None => {
                doubts.push(Doubt::NoReport);
                Absence::default()
            }
            Some((report, _)) if report.snapshot != snapshot.to_string() => {
                doubts.push(Doubt::ReportOfAnother(report.snapshot));
                Absence::default()
            }
            Some((report, reported)) => Absence::of(&report, reported, excluded, &mut doubts),
        };
        (absence, doubts)
    }
}

/// Reads a report together with its list of problems.
fn reported(
    repository: &Repository,
    snapshot: &SnapshotName,
) -> Option<(Report, ReportedProblems)> {
    let text = repository.read(Store::Reports, &report_file(&snapshot.to_string()))?;
    Some((serde_json::from_slice(&text).ok()?, serde_json::from_slice(&text).ok()?))
}

impl Absence {
    fn of(
        report: &Report,
        reported: ReportedProblems,
        excluded: bool,
        doubts: &mut Vec<Doubt>,
    ) -> Self {
        let roots = SourceRoots::of_report(report);
        let mut unseen = HashMap::new();
        let mut is_whole = reported.problems.len() as u64 >= report.counts.problems;
        // For these values the snapshot has everything that the source had.
        let is_there = |problem: &ReportedProblem| {
            matches!(problem.instead.as_str(), "last_read" | "partly" | "other_name" | "all_of_it")
        };
        for problem in reported.problems.iter().filter(|problem| !is_there(problem)) {
            match unshown(&problem.path) {
                Some(path) => drop(unseen.insert(roots.inside(&path), UNREAD)),
                None => is_whole = false,
            }
        }
        let coverage = report.coverage.as_ref();
        let mounts = report.roots.iter().flat_map(|root| &root.mounts);
        let mounts = mounts.filter(|mount| mount.left_out).map(|mount| &mount.path);
        let not_entered = coverage.iter().flat_map(|coverage| &coverage.not_entered);
        for path in not_entered.chain(mounts) {
            match unshown(path) {
                Some(path) => drop(unseen.insert(roots.inside(&path), NOT_ENTERED)),
                None => is_whole = false,
            }
        }
        if !is_whole {
            doubts.push(Doubt::ReportNotWhole);
        }
        let rules = coverage.and_then(RecordedRules::of);
        if rules.is_none() {
            doubts.push(Doubt::NothingRecorded);
        }
        Self { roots, unseen, rules: rules.filter(|_| !excluded) }
    }

    /// Why the run may not have backed up the entry at `inside`, a path inside the snapshot: the run did not
    /// read the entry or a folder above it.
    pub(crate) fn unseen(&self, inside: &[u8]) -> Option<&'static str> {
        if self.unseen.is_empty() {
            return None;
        }
        let mut path = inside;
        loop {
            if let Some(why) = self.unseen.get(path) {
                return Some(why);
            }
            path = parent(path)?;
        }
    }

    /// Why the run may not have backed up `entry` at `inside`. `None` when the snapshot would contain the entry
    /// if the source had had it.
    pub(crate) fn spares(&self, inside: &[u8], entry: ListedEntry<'_>) -> Option<&'static str> {
        let by_rule = || {
            let rules = self.rules.as_ref()?;
            rules.leave_out(&self.roots, inside, entry).then_some(BY_RULE)
        };
        self.unseen(inside).or_else(by_rule)
    }
}

impl RecordedRules {
    /// `None` when the rules cannot be parsed. Then it is unknown what they left out.
    fn of(coverage: &Coverage) -> Option<Self> {
        let mut texts: HashMap<Vec<u8>, Texts> = HashMap::new();
        for file in &coverage.rule_files {
            let text = crate::filter::scope::Text::Read(unshown(&file.text)?);
            texts.entry(unshown(&file.folder)?).or_default().insert(unshown(&file.name)?, text);
        }
        Some(Self {
            filters: coverage.read_filters()?,
            selection: coverage.read_selection()?,
            keep: coverage.keep(),
            prune_empty: coverage.prune_empty,
            texts,
            scopes: Mutex::default(),
        })
    }

    fn leave_out(&self, roots: &SourceRoots, inside: &[u8], entry: ListedEntry<'_>) -> bool {
        let is_folder = entry.meta.kind == Kind::Folder;
        let depth = || inside.iter().filter(|byte| **byte == b'/').count();
        // A folder that was empty then may have content now.
        (is_folder && self.prune_empty)
            || self.keep.leaves_out(entry, depth)
            || self.selection.as_ref().is_some_and(|selection| !selection.takes(inside))
            || (!self.filters.is_empty() && {
                let folder = parent(inside).unwrap_or_default();
                let scope = self.scope(roots, folder);
                !scope.judging().judge(entry.name.to_bytes(), is_folder).included
            })
    }

    /// The rules in effect in the folder `inside`.
    fn scope(&self, roots: &SourceRoots, inside: &[u8]) -> Arc<Scope> {
        let mut scopes = lock(&self.scopes);
        let mut missing = Vec::new();
        let mut at = Some(inside);
        let mut scope = loop {
            let Some(path) = at else { break None };
            if let Some(scope) = scopes.get(path) {
                break Some(Arc::clone(scope));
            }
            missing.push(path);
            at = parent(path);
        };
        if scopes.len() > SCOPES {
            scopes.clear();
        }
        let top = roots.pairs().iter().find(|(_, inside)| inside.is_empty());
        for path in missing.into_iter().rev() {
            let source = roots.source(path);
            let outer = match (&scope, path) {
                (None, _) if top.is_none() => {
                    // This folder is not one of the source, so it has no rule files.
                    let own = self.filters.scope();
                    scopes.insert(path.to_vec(), Arc::clone(&own));
                    scope = Some(own);
                    continue;
                }
                (None, _) => self.above(&source),
                // The topmost folder of the source inside the snapshot.
                (Some(_), path) if top.is_none() && !path.contains(&b'/') => self.above(&source),
                (Some(outer), _) => Arc::clone(outer),
            };
            let empty = Texts::new();
            let key = if source == b"/" { &b""[..] } else { &source[..] };
            let texts = self.texts.get(key).unwrap_or(&empty);
            let own = outer.enter(path.to_vec(), source.clone(), texts).scope;
            scopes.insert(path.to_vec(), Arc::clone(&own));
            scope = Some(own);
        }
        scope.unwrap_or_else(|| self.filters.scope())
    }

    /// The rules in effect above `path`, which is the topmost folder of the source inside the snapshot.
    fn above(&self, path: &[u8]) -> Arc<Scope> {
        let mut scope = self.filters.scope();
        let scans = self.filters.scans_above(path);
        if scans.is_empty() {
            return scope;
        }
        let mut above = Vec::new();
        let mut at = parent(path);
        while let Some(path) = at {
            above.push(path);
            at = parent(path);
        }
        for folder in above.into_iter().rev() {
            let names: HashSet<&[u8]> = scans
                .iter()
                .filter(|(from, _)| {
                    from.is_empty()
                        || folder == from
                        || folder.starts_with(&[&from[..], b"/"].concat())
                })
                .map(|(_, name)| &name[..])
                .collect();
            let mut texts = self.texts.get(folder).cloned().unwrap_or_default();
            texts.retain(|name, _| names.contains(&name[..]));
            let path = if folder.is_empty() { b"/" } else { folder };
            scope = scope.enter(Vec::new(), path.to_vec(), &texts).scope;
        }
        scope
    }
}

/// The parent folder of a path. For a single name, the empty path.
fn parent(path: &[u8]) -> Option<&[u8]> {
    if path.is_empty() {
        return None;
    }
    Some(path.iter().rposition(|byte| *byte == b'/').map_or(b"", |at| &path[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::entry::Meta;
    use crate::entry::Time;
    use crate::repository::records::coverage::GivenFilter;
    use crate::repository::records::coverage::GivenList;
    use crate::repository::records::coverage::RuleFile;

    fn entry(name: &str, kind: Kind, size: u64) -> Entry {
        let meta = Meta {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            mtime: Time::default(),
            ctime: Time::default(),
            id: None,
            links: 1,
            rdev: 0,
            allocated: 0,
            is_shared: false,
        };
        Entry { name: std::ffi::CString::new(name).unwrap(), meta, extra: None }
    }

    fn all() -> Coverage {
        Coverage { symlinks: true, devices: true, specials: true, ..Coverage::default() }
    }

    fn report(roots: &[(&str, &str)], coverage: Coverage) -> Report {
        let roots: Vec<_> = roots
            .iter()
            .map(|(path, inside)| {
                serde_json::json!({"path": path, "inside": inside, "files": 0, "files_before": 0})
            })
            .collect();
        let report = serde_json::json!({
            "version": 1, "snapshot": "s", "path": "", "base": null, "resumed": false, "started": "",
            "finished": "", "seconds": 0.0, "time_granularity_ns": 1, "roots": roots, "pruned": [],
            "coverage": coverage, "counts": {},
        });
        serde_json::from_value(report).unwrap()
    }

    fn absence(roots: &[(&str, &str)], coverage: Coverage, problems: &[(&str, &str)]) -> Absence {
        let problems = problems
            .iter()
            .map(|(path, instead)| ReportedProblem {
                path: (*path).to_owned(),
                instead: (*instead).to_owned(),
            })
            .collect();
        let mut doubts = Vec::new();
        let report = report(roots, coverage);
        let absence = Absence::of(&report, ReportedProblems { problems }, false, &mut doubts);
        assert_eq!(doubts, []);
        absence
    }

    fn spared(absence: &Absence, inside: &str, kind: Kind, size: u64) -> bool {
        let name = inside.rsplit('/').next().unwrap();
        let entry = entry(name, kind, size);
        absence.spares(inside.as_bytes(), ListedEntry::from(&entry)).is_some()
    }

    const HOME: &[(&str, &str)] = &[("/home/u", "home/u")];

    #[test]
    fn an_entry_that_was_not_read_is_spared_with_everything_below_it() {
        let unread = [
            ("/home/u/secret", "nothing"),
            ("/home/u/closed", "carried_forward"),
            ("/home/u/odd", "partly"),
            ("/home/u/later", "a kind of a later version"),
        ];
        let coverage = Coverage { not_entered: vec!["/home/u/disk".to_owned()], ..all() };
        let absence = absence(HOME, coverage, &unread);
        for (path, expected) in [
            ("home/u/secret", true),
            ("home/u/closed/deep/x", true),
            ("home/u/disk/x", true),
            ("home/u/later", true),
            ("home/u/odd", false),
            ("home/u/secret2", false),
            ("home/u/x", false),
        ] {
            assert_eq!(spared(&absence, path, Kind::File, 1), expected, "{path}");
        }
    }

    #[test]
    fn excluded_entries_are_spared() {
        let given = |option: &str, value: &str| GivenFilter {
            option: option.to_owned(),
            value: value.to_owned(),
        };
        let text = |folder: &str, name: &str, text: &str| RuleFile {
            folder: folder.to_owned(),
            name: name.to_owned(),
            text: text.to_owned(),
        };
        let filters = vec![
            given("exclude", "*.tmp"),
            given("F", ""),
            given("exclude-from", "list"),
            given("exclude-if-present", ".nobackup"),
        ];
        let rule_files = vec![
            text("/home", ".rsync-filter", "- *.above"),
            text("/home/u/a", ".rsync-filter", "- *.iso\n- /anchored"),
            text("/home/u/cache", ".nobackup", ""),
        ];
        let files = vec![("list".to_owned(), "*.bak\n".to_owned())];
        let coverage = Coverage { filters, rule_files, files, max_size: Some(100), ..all() };
        let absence = absence(HOME, coverage, &[]);
        for (path, expected) in [
            ("home/u/x.tmp", true),
            ("home/u/new/x.tmp", true),
            ("home/u/x.bak", true),
            ("home/u/x.above", true),
            ("home/u/x.iso", false),
            ("home/u/a/x.iso", true),
            ("home/u/a/b/x.iso", true),
            ("home/u/a/anchored", true),
            ("home/u/a/b/anchored", false),
            ("home/u/cache/x", true),
            ("home/u/cache/.nobackup", false),
            ("home/u/x", false),
        ] {
            assert_eq!(spared(&absence, path, Kind::File, 1), expected, "{path}");
        }
        assert!(spared(&absence, "home/u/large", Kind::File, 101));
    }

    #[test]
    fn kinds_and_lists_are_rules_too() {
        let list = GivenList { list: "docs".to_owned(), nul: false, recursive: true };
        let coverage = Coverage { files_from: Some(list), devices: false, ..all() };
        let listed = absence(&[("/srv", "")], coverage, &[]);
        assert!(spared(&listed, "other", Kind::File, 1));
        assert!(!spared(&listed, "docs/x", Kind::File, 1));
        assert!(spared(&listed, "docs/null", Kind::CharDevice, 0));
        let pruned = absence(HOME, Coverage { prune_empty: true, ..all() }, &[]);
        assert!(spared(&pruned, "home/u/empty", Kind::Folder, 0));
    }

    #[test]
    fn an_incomplete_report_is_doubted() {
        let doubts = |report: &Report| {
            let mut doubts = Vec::new();
            Absence::of(report, ReportedProblems { problems: Vec::new() }, true, &mut doubts);
            doubts
        };
        let mut old = report(HOME, all());
        old.coverage = None;
        assert_eq!(doubts(&old), [Doubt::NothingRecorded]);
        old.counts.problems = 1;
        assert_eq!(doubts(&old), [Doubt::ReportNotWhole, Doubt::NothingRecorded]);
        let later = GivenFilter { option: "later".to_owned(), value: String::new() };
        let later = report(HOME, Coverage { filters: vec![later], ..all() });
        assert_eq!(doubts(&later), [Doubt::NothingRecorded]);
    }
}
