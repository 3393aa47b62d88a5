//! A source that answers on its own threads produces the same snapshot as one that answers at once.

mod thread_source;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::{TimeDelta, Utc};
use engine::Accept;
use engine::Context;
use engine::Job;
use engine::Layout;
use engine::Prefix;
use engine::Preserve;
use engine::Stop;
use engine::fs::XattrSelection;
use engine::{Outcome, run};
use engine::{Progress, Silent};
use thread_source::Later;
use transport::local::LocalSource;

#[test]
fn answers_that_come_later_make_the_same_snapshot() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    for folder in 0..60 {
        let folder = source.join(format!("a{}/b{}/c{folder}", folder % 3, folder % 7));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..40 {
            std::fs::write(folder.join(format!("f{file}")), vec![b'x'; file * 100]).unwrap();
        }
    }
    std::fs::write(source.join("large"), vec![b'y'; 20 << 20]).unwrap();
    for copied in [60 * 40 + 1, 0] {
        let outcome = taken(
            temp.path(),
            Preserve { hard_links: false, ..Preserve::default() },
            Later::new(local()),
        );
        let Outcome::Completed(report) = outcome else { panic!("not completed: {outcome:?}") };
        assert_eq!(report.counts.copied, copied);
        let snapshot = Path::new(&report.path).join("source");
        let judge =
            std::process::Command::new("diff").arg("-r").args([&source, &snapshot]).status();
        assert!(judge.unwrap().success());
        let time = |path: &Path| path.metadata().unwrap().modified().unwrap();
        assert_eq!(time(&source.join("a1")), time(&snapshot.join("a1")));
    }
}

/// The thread that receives the end of the first name requests the content for the next name. No other request can end
/// before it has gone on.
#[test]
fn a_name_leads_its_inode_while_no_more_files_may_be_requested() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("one"), "content").unwrap();
    std::fs::hard_link(source.join("one"), source.join("two")).unwrap();
    let keep = Preserve { hard_links: true, ..Preserve::default() };
    let later = Later { files: 1, fails_once: AtomicBool::new(true), ..Later::new(local()) };
    let outcome = taken(temp.path(), keep, later);
    let Outcome::Completed(report) = outcome else { panic!("not completed: {outcome:?}") };
    let inode = |name| Path::new(&report.path).join("source").join(name).metadata().unwrap().ino();
    assert_eq!(inode("one"), inode("two"));
    assert_eq!((report.counts.copied, report.counts.problems), (1, 0));
}

fn local() -> LocalSource {
    LocalSource::new(XattrSelection { xattrs: false, acls: false })
}

/// Takes a snapshot of `source` in `top`.
fn taken(top: &Path, keep: Preserve, later: Later) -> Outcome {
    let job = Job {
        filters: Arc::default(),
        host: engine::Host::default(),
        prefix: Prefix::new("p").expect("a prefix"),
        layout: Layout::new(&[top.join("source")], false, Path::new("/")).expect("a layout"),
        backups_dir: top.join("backups"),
        backups_mode: None,
        keep,
        retention: engine::Retention::default(),
        minimum_time_guard: TimeDelta::zero(),
        max_shrink_percent: 90.0,
        selection: None,
        max_delete: None,
        links: Default::default(),
        rename_from: None,
        change_brake: engine::snapshot::ChangeBrake::Off,
        prune_empty: false,
    };
    let context = Context {
        now: Utc::now,
        stop: Arc::new(Stop::default()),
        progress: Arc::new(Progress::default()),
        monitor: Arc::new(Silent),
        sync: engine::fs::sync_file_system,
        items: None,
    };
    run(&job, None, || Ok(Arc::new(later)), Accept::default(), &context).expect("a run")
}
