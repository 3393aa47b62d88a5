//! Filters in a run: the content of the snapshot, what was read for it, and what rsync would
//! transfer.

mod thread_source;

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use chrono::{TimeDelta, Utc};
use engine::Accept;
use engine::Context;
use engine::Event;
use engine::Job;
use engine::Layout;
use engine::Prefix;
use engine::Preserve;
use engine::Report;
use engine::Retention;
use engine::Stop;
use engine::filter::Outside;
use engine::fs::XattrSelection;
use engine::inspect::{PathEnd, explain};
use engine::{FilterOption, Filters};
use engine::{Monitor, Progress};
use engine::{Outcome, run};
use tempfile::TempDir;
use thread_source::Later;
use transport::local::LocalSource;

/// Records the output of a run.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Monitor for Said {
    fn event(&self, event: &Event) {
        self.0.lock().expect("no panic").push(event.to_string());
    }
}

/// Whether a source answers at once or later.
#[derive(Debug, Clone, Copy)]
enum Kind {
    AtOnce,
    Later,
}

struct Stage {
    temp: TempDir,
}

impl Stage {
    fn new(files: &[(&str, &str)]) -> Self {
        let stage = Self { temp: tempfile::tempdir().expect("a folder") };
        for (path, text) in files {
            stage.write(path, text);
        }
        stage
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    fn path(&self, path: &str) -> PathBuf {
        self.temp.path().join(path)
    }

    fn job(&self, roots: &[&str], options: &[FilterOption]) -> Job {
        let options: Vec<_> = options.iter().map(|o| (o.clone(), "test".to_owned())).collect();
        let outside =
            Outside { read: &|path| fs::read(path), cvs_home: &|| None, cvs_variable: None };
        let filters = Arc::new(Filters::read(&options, &outside).expect("good rules"));
        let roots: Vec<PathBuf> = roots.iter().map(|root| self.path(root)).collect();
        Job {
            host: engine::Host::default(),
            prefix: Prefix::new("p").expect("a prefix"),
            layout: Layout::new(&roots, true, Path::new("/")).expect("a layout"),
            backups_dir: self.path("backups"),
            backups_mode: None,
            keep: Preserve { hard_links: false, ..Preserve::default() },
            filters,
            retention: Retention { max: NonZeroUsize::new(9), ..Retention::default() },
            minimum_time_guard: TimeDelta::zero(),
            max_shrink_percent: 90.0,
            selection: None,
            max_delete: None,
            links: Default::default(),
            rename_from: None,
            change_brake: engine::snapshot::ChangeBrake::Off,
            prune_empty: false,
        }
    }

    /// Takes a snapshot of `roots`. Returns its content, the report and the output.
    fn run(&self, kind: Kind, roots: &[&str], options: &[FilterOption]) -> Run {
        let job = self.job(roots, options);
        let said = Arc::new(Said::default());
        let context = Context {
            now: Utc::now,
            stop: Arc::new(Stop::default()),
            progress: Arc::new(Progress::default()),
            monitor: Arc::clone(&said) as Arc<dyn Monitor>,
            sync: engine::fs::sync_file_system,
            items: None,
        };
        let local = || LocalSource::new(XattrSelection { xattrs: false, acls: false });
        let outcome = match kind {
            Kind::AtOnce => run(&job, None, || Ok(Arc::new(local())), Accept::default(), &context),
            Kind::Later => {
                run(&job, None, || Ok(Arc::new(Later::new(local()))), Accept::default(), &context)
            }
        };
        let completed = match outcome.expect("a run") {
            Outcome::Completed(report) => Some(report),
            Outcome::Busy | Outcome::Held { .. } => None,
        };
        let report = completed.expect("a snapshot");
        let mut held = BTreeSet::new();
        list(Path::new(&report.path), "", &mut held);
        let said = said.0.lock().expect("no panic").join("\n");
        Run { held, report: *report, said }
    }

    /// What rsync transfers with the same layout.
    fn of_rsync(&self, roots: &[&str], args: &[&str]) -> BTreeSet<String> {
        let mut rsync = Command::new("rsync");
        rsync.args(["-anR", "--out-format=%n", "--delete", "--delete-excluded"]).args(args);
        rsync.args(roots.iter().map(|root| self.path(root)));
        let output = rsync.arg(self.path("nowhere/")).output().expect("rsync runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("names");
        let lines = text.lines().filter(|line| !line.starts_with("created "));
        lines.map(|line| line.trim_start_matches('/').to_owned()).filter(|l| l != "./").collect()
    }
}

struct Run {
    held: BTreeSet<String>,
    report: Report,
    said: String,
}

fn list(folder: &Path, inside: &str, held: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let path = format!("{inside}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a type").is_dir() {
            held.insert(format!("{path}/"));
            list(&entry.path(), &format!("{path}/"), held);
        } else {
            held.insert(path);
        }
    }
}

fn rule(rule: &str) -> FilterOption {
    FilterOption::Rule(rule.as_bytes().to_vec())
}

const TREE: [(&str, &str); 14] = [
    ("r/home/u/a.tmp", ""),
    ("r/home/u/keep", ""),
    ("r/home/u/cache/x", ""),
    ("r/home/u/cache/deep/y", ""),
    ("r/home/u/d/a.tmp", ""),
    ("r/home/u/d/.f", "- e/\n+ a.tmp\n: .g"),
    ("r/home/u/d/e/z", ""),
    ("r/home/u/d/k/.g", "- /q"),
    ("r/home/u/d/k/q", ""),
    ("r/home/u/d/k/l/q", ""),
    ("r/home/.f", "- secret"),
    ("r/home/u/secret", ""),
    ("r/etc/secret", ""),
    ("r/etc/cache/x", ""),
];

#[test]
fn a_snapshot_holds_what_rsync_would_have_taken() {
    let roots = ["r/./home/u", "r/./etc"];
    let lists: [&[&str]; 9] = [
        &["- *.tmp", "- cache"],
        &[": .f", "- *.tmp"],
        &[": /.f", "- cache/"],
        &["- /home/u/cache", "-! */"],
        &["+ */", "+ keep", "- *"],
        &["- etc", "- home"],
        &["- /etc"],
        &["- u"],
        &[":e .f", "- cache/*"],
    ];
    for kind in [Kind::AtOnce, Kind::Later] {
        let stage = Stage::new(&TREE);
        for rules in lists {
            let options: Vec<_> = rules.iter().map(|text| rule(text)).collect();
            let args: Vec<_> = rules.iter().map(|rule| format!("--filter={rule}")).collect();
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            let mut theirs = stage.of_rsync(&roots, &args);
            let run = stage.run(kind, &roots, &options);
            // The folders above an excluded root are created nevertheless.
            if rules == ["- u"] {
                theirs.insert("home/".to_owned());
            }
            assert_eq!(run.held, theirs, "{rules:?} {kind:?}");
            assert_eq!(run.report.counts.problems, 0, "{}", run.said);
            fs::remove_dir_all(stage.path("backups")).expect("removed");
        }
    }
}

#[test]
fn newly_excluded_entries_are_no_loss() {
    for kind in [Kind::AtOnce, Kind::Later] {
        let stage = Stage::new(&[("r/keep", "")]);
        for number in 0..60 {
            stage.write(&format!("r/many/{number}.tmp"), "x");
        }
        let first = stage.run(kind, &["r/./"], &[]);
        assert_eq!(first.held.len(), 62);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let exclude = FilterOption::Exclude(b"*.tmp".to_vec());
        let second = stage.run(kind, &["r/./"], &[exclude]);
        assert_eq!(second.held.len(), 2, "{:?}", second.held);
        assert_eq!((second.report.counts.deleted, second.report.counts.left_out), (0, 60));
        assert_eq!(second.report.roots[0].files_before, 1);
    }
}

#[test]
fn a_rule_file_that_is_broken_is_told_and_leaves_nothing_out() {
    for kind in [Kind::AtOnce, Kind::Later] {
        let stage = Stage::new(&[("r/a", ""), ("r/d/a", ""), ("r/.f", "- a\nfoo bar\n")]);
        std::os::unix::fs::symlink("../.f", stage.path("r/d/.f")).expect("a link");
        let run = stage.run(kind, &["r/./"], &[rule(": .f")]);
        assert!(run.held.contains("a") && run.held.contains("d/a"), "{:?}", run.held);
        assert_eq!(run.report.counts.problems, 2, "{}", run.said);
        assert!(run.said.contains("r/.f, line 2: 'foo bar': it is no filter rule"), "{}", run.said);
        assert!(run.said.contains("r/d/.f: it is a symlink"), "{}", run.said);
    }
}

#[test]
fn of_marked_folders_only_the_mark_is_kept() {
    const SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# a cache";
    for kind in [Kind::AtOnce, Kind::Later] {
        let stage = Stage::new(&[
            ("r/c/CACHEDIR.TAG", SIGNATURE),
            ("r/c/x", ""),
            ("r/c/d/x", ""),
            ("r/fake/CACHEDIR.TAG", "Signature: no"),
            ("r/fake/x", ""),
            ("r/n/.nobackup", ""),
            ("r/n/x", ""),
        ]);
        let options = [FilterOption::Caches, FilterOption::IfPresent(b".nobackup".to_vec())];
        let run = stage.run(kind, &["r/./"], &options);
        let expected =
            ["c/", "c/CACHEDIR.TAG", "fake/", "fake/CACHEDIR.TAG", "fake/x", "n/", "n/.nobackup"];
        assert_eq!(run.held, expected.map(ToOwned::to_owned).into(), "{kind:?}");
        assert_eq!(run.report.counts.left_out, 3);
    }
}

#[test]
fn a_folder_that_is_left_out_is_not_listed() {
    let stage = Stage::new(&[("r/a/x", ""), ("r/b", "")]);
    let run = stage.run(Kind::AtOnce, &["r/./"], &[rule("- a/")]);
    assert_eq!(run.held, ["b".to_owned()].into());
    assert_eq!((run.report.counts.entries, run.report.counts.left_out), (1, 1));
}

#[test]
fn a_root_that_is_left_out_is_told() {
    let stage = Stage::new(&[("r/a/x", ""), ("r/b/y", "")]);
    let run = stage.run(Kind::AtOnce, &["r/./a", "r/./b"], &[rule("- /a")]);
    assert_eq!(run.held, ["b/".to_owned(), "b/y".to_owned()].into());
    assert!(run.said.contains("exclude the whole source"), "{}", run.said);
}

#[test]
fn the_explanation_names_the_rule_and_agrees_with_the_snapshot() {
    let stage = Stage::new(&TREE);
    let roots = ["r/./home/u", "r/./etc"];
    let options = [
        rule(": /.f"),
        FilterOption::Exclude(b"*.tmp".to_vec()),
        FilterOption::Exclude(b"/home/u/cache/".to_vec()),
    ];
    let run = stage.run(Kind::AtOnce, &roots, &options);
    let job = stage.job(&roots, &options);
    let source = LocalSource::new(XattrSelection { xattrs: false, acls: false });
    let explained =
        |path: &str| explain(&job, &source, &stage.path(path)).expect("a source that stays");
    for (path, _) in TREE.iter().filter(|(path, _)| *path != "r/home/.f") {
        let inside = path.strip_prefix("r/").expect("below the root");
        assert_eq!(explained(path).included(), run.held.contains(inside), "{path}");
    }
    for (path, decided, rule) in [
        ("r/home/u/cache/deep/y", "r/home/u/cache", Some("'/home/u/cache/' (test)")),
        ("r/home/u/keep", "r/home/u/keep", None),
        ("r/home/u/d/e/z", "r/home/u/d/e", Some("'- e/' (@/r/home/u/d/.f, line 1)")),
        ("r/home/u/d/k/q", "r/home/u/d/k/q", Some("'- /q' (@/r/home/u/d/k/.g, line 1)")),
        ("r/home/u/d/a.tmp", "r/home/u/d/a.tmp", Some("'+ a.tmp' (@/r/home/u/d/.f, line 2)")),
        ("r/home/u/secret", "r/home/u/secret", Some("'- secret' (@/r/home/.f, line 1)")),
        ("r/home/u/new/x.tmp", "r/home/u/new/x.tmp", Some("'*.tmp' (test)")),
    ] {
        let explanation = explained(path);
        let last = explanation.steps.last().expect("something was judged");
        let at = stage.path("").display().to_string();
        let rule = rule.map(|rule| rule.replace("@/", &at));
        assert_eq!((&last.path, &last.rule), (&stage.path(decided), &rule), "{path}");
    }
    assert!(matches!(explained("other").ended, Some(PathEnd::OutsideOfAllRoots)));
    assert!(matches!(explained("r/home/u/keep/x").ended, Some(PathEnd::NoFolder)));
}
