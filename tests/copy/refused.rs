//! Folders that must not become a copy, and runs into the folder of a copy.

use std::path::PathBuf;

use fixtures::history::hours_ago;
use fixtures::judge::Judge;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::judge::{copy, history};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn stage() -> Stage {
    let stage = Stage::with(BIN, &Tree::new().file("a", "1"));
    stage.take();
    stage
}

#[test]
fn a_folder_is_not_copied_into_itself() {
    let stage = stage();
    std::os::unix::fs::symlink(&stage.backups, stage.beside("link")).unwrap();
    for to in [stage.backups.clone(), stage.beside("link"), stage.backups.join("copy")] {
        copy(&stage, &to).expect(2).assert_says("same folder, or one lies in the other");
    }
    assert!(!stage.backups.join("copy").exists());
    let inner = stage.beside("outer/inner");
    std::fs::create_dir(stage.beside("outer")).unwrap();
    std::fs::rename(&stage.backups, &inner).unwrap();
    let run = stage.look("copy").arg("--to").arg(stage.beside("outer")).set("backups-dir", &inner);
    run.expect(2).assert_says("same folder, or one lies in the other");
}

#[test]
fn snapshots_of_a_run_are_not_taken_for_copies() {
    let stage = stage();
    let to = stage.beside("copy");
    std::fs::create_dir(&to).unwrap();
    stage.run().set("backups-dir", &to).expect(0);
    let aged = stage.history().path(&hours_ago(50), "");
    std::fs::rename(stage.history().newest(), aged).unwrap();
    copy(&stage, &to).expect(2).assert_says("a run took");
    assert_eq!(history(&to).complete().len(), 1);
}

#[test]
fn another_snapshot_of_the_same_name_is_refused() {
    let stage = stage();
    let to = stage.beside("copy");
    std::fs::create_dir(&to).unwrap();
    stage.run().set("backups-dir", &to).expect(0);
    let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let (other, same) = (name(history(&to).newest()), name(stage.history().newest()));
    if other != same {
        std::fs::rename(to.join(&other), to.join(&same)).unwrap();
        let report = |name: &str| to.join(format!(".backup_manager/reports/{name}.json"));
        std::fs::rename(report(&other), report(&same)).unwrap();
    }
    copy(&stage, &to).expect(2).assert_says("is another snapshot than the one of");
}

/// A gap of the copy is filled from the snapshots before and after it, so these have to be the same ones too.
#[test]
fn another_snapshot_before_a_gap_is_refused() {
    let stage = stage();
    let to = stage.beside("copy");
    for _ in 0..2 {
        stage.take();
    }
    copy(&stage, &to).expect(0);
    let [first, second] = [0, 1].map(|at| history(&to).complete()[at].clone());
    std::fs::remove_dir_all(second).unwrap();
    let name = first.file_name().unwrap().to_string_lossy().into_owned();
    let report = to.join(format!(".backup_manager/reports/{name}.json"));
    let text = std::fs::read_to_string(&report).unwrap();
    let other = text.replace("\"started\":\"20", "\"started\":\"19");
    assert_ne!(other, text);
    std::fs::write(&report, other).unwrap();
    copy(&stage, &to).expect(2).assert_says("is another snapshot than the one of");
    assert_eq!(history(&to).complete().len(), 2);
    std::fs::write(&report, text).unwrap();
    copy(&stage, &to).expect(0);
    assert_eq!(history(&to).complete().len(), 3);
}

#[test]
fn an_unfinished_snapshot_of_a_run_is_not_continued_by_a_copy() {
    let stage = stage();
    let to = stage.beside("copy");
    std::fs::create_dir(&to).unwrap();
    let killed = stage.run().set("backups-dir", &to);
    let killed = killed.injecting(&["utimensat:signal=KILL:when=3"]).done();
    if history(&to).incomplete().is_empty() {
        assert_ne!(killed.code, 137);
        return;
    }
    copy(&stage, &to).expect(2).assert_says("began");
}

#[test]
fn a_run_does_not_continue_an_unfinished_copy() {
    let stage = Stage::with(BIN, &Tree::new().random_file("large", 4 << 20, 1).file("a", "1"));
    stage.take();
    let to = stage.beside("copy");
    let killed = copy(&stage, &to).injecting(&["utimensat:signal=KILL:when=3"]).done();
    assert_eq!(killed.code, 137, "{}", killed.said());
    assert_eq!(history(&to).incomplete().len(), 1);
    stage.sh("echo newer >a; touch -d 2020-01-01 a");
    let run = stage.run().set("backups-dir", &to);
    run.expect(0).assert_says("an unfinished copy");
    assert!(history(&to).incomplete().is_empty());
    Judge::plain().assert_same(&stage.source, &stage.inside(&history(&to).newest()));
}

#[test]
fn where_to_copy_must_be_known() {
    let stage = stage();
    stage.look("copy").expect(2).assert_says("write --to DIR, or set COPY_TO");
    copy(&stage, "user@host:~other/b".as_ref()).expect(2).assert_says("write the full path");
}

#[test]
fn snapshots_of_two_jobs_do_not_mix_in_one_copy() {
    let stage = stage();
    let file = stage.beside("config.toml");
    let job = |name: &str, backups: &str, copies: &[&str]| {
        let copies: Vec<_> = copies.iter().map(|copy| stage.beside(copy)).collect();
        let (source, backups) = (stage.source.display(), stage.beside(backups));
        format!(
            "[[job]]\nNAME=\"{name}\"\nSRCS_TO_BACKUP=[\"{source}\"]\nBACKUPS_DIR={backups:?}\nCOPY_TO={copies:?}\n"
        )
    };
    let run = |jobs: [String; 2]| {
        std::fs::write(&file, jobs.concat()).expect("a config file");
        stage.bare_run().arg("--config").arg(&file)
    };
    let same = [job("one", "b1", &["c1", "c2"]), job("two", "b2", &["c2/."])];
    run(same).expect(2).assert_says("/c2 is the folder of the copy of the job one");
    let crossed = [job("one", "b1", &["b2"]), job("two", "b2", &["c2"])];
    run(crossed).expect(2).assert_says("/b2 is the backups folder of the job two");
    assert!(!stage.beside("b1").exists(), "nothing was done");
    let other = |job: String| job + "BACKUP_NAME_PREFIX=\"other\"\n";
    let apart = [job("one", "b1", &["c"]), other(job("two", "b2", &["c"]))];
    run(apart).expect(0);
}
