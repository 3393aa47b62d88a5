//! A source that answers on its own threads produces the same snapshot as one that answers at once.

mod thread_source;

use std::path::Path;
use std::sync::Arc;

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
    let job = Job {
        filters: Arc::default(),
        host: engine::Host::default(),
        prefix: Prefix::new("p").unwrap(),
        layout: Layout::new(std::slice::from_ref(&source), false, Path::new("/")).unwrap(),
        backups_dir: temp.path().join("backups"),
        backups_mode: None,
        keep: Preserve { hard_links: false, ..Preserve::default() },
        retention: engine::Retention::default(),
        minimum_time_guard: TimeDelta::zero(),
        max_shrink_percent: 90.0,
        selection: None,
        max_delete: None,
        links: Default::default(),
        prune_empty: false,
    };
    for copied in [60 * 40 + 1, 0] {
        let later = Arc::new(Later(Arc::new(LocalSource::new(XattrSelection {
            xattrs: false,
            acls: false,
        }))));
        let context = Context {
            now: Utc::now,
            stop: Arc::new(Stop::default()),
            progress: Arc::new(Progress::default()),
            monitor: Arc::new(Silent),
            sync: engine::fs::sync_file_system,
            items: None,
        };
        let outcome = run(&job, None, || Ok(later), Accept::default(), &context).unwrap();
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
