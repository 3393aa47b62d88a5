//! Power cuts while damage is healed: each name has the damaged file or the good one, and a snapshot without a mark of
//! damage has only good ones.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

use fixtures::disk::cuts::Replay;
use fixtures::disk::{Disk, formatted};
use fixtures::judge::Judge;
use fixtures::need::Missing;
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::power_cut::cuts;
use crate::power_cut::recording::{BIN, name, options};

/// The file that is damaged in all snapshots, and the one that is missing in the newest.
const FILES: [&str; 2] = ["folder/large", "folder/second"];

fn heal(stage: &Stage) -> Run {
    stage.look("verify").arg("--all").arg("--heal-from").arg(stage.beside("copy"))
}

/// What is wrong in the state that is mounted now.
fn problems(stage: &Stage, damaged: &[u8], finish: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let complete = stage.history().complete();
    if complete.len() != 2 {
        problems.push(format!("{} snapshots are left", complete.len()));
    }
    for snapshot in &complete {
        let copy = stage.beside("copy").join(snapshot.file_name().expect("a name"));
        let is_marked = stage.backups.join(".backup_manager/damaged").join(name(snapshot)).exists();
        for file in FILES {
            let now = fs::read(stage.inside(snapshot).join(file)).ok();
            let good = fs::read(stage.inside(&copy).join(file)).ok();
            let is_damaged = now.as_deref() == Some(damaged) || now.is_none() && file == FILES[1];
            if now != good && !(is_damaged && is_marked) {
                let size = now.map(|now| now.len());
                problems.push(format!("{}/{file}: {size:?}, marked: {is_marked}", name(snapshot)));
            }
        }
    }
    if finish && problems.is_empty() {
        let done = heal(stage).done();
        if done.code != 0 {
            problems.push(format!("the next healing ends with {}: {}", done.code, done.said()));
        }
        for snapshot in &complete {
            let copy = stage.beside("copy").join(snapshot.file_name().expect("a name"));
            problems.extend(Judge::strict().differences(&copy, snapshot));
        }
    }
    problems
}

/// Cuts the power while a file in two snapshots is healed and a missing one comes back.
pub(crate) fn prove(kind: &str) -> Result<(), Missing> {
    let megabytes = if kind == "ext4" { 64 } else { 300 };
    let disk = Disk::new(formatted(kind, megabytes, if kind == "ext4" { &["-F"] } else { &[] })?)?;
    let missing = |error| Missing(format!("needs a mounted {kind}: {error}"));
    let mounted = disk.mount(kind, options(kind)).map_err(missing)?;
    let tree = Tree::new()
        .random_file("folder/large", 200_000, 1)
        .random_file("folder/second", 30_000, 2)
        .file("other", "other");
    let stage = Stage::with(BIN, &tree).backups_in(&mounted.path().join("backups"));
    stage.take();
    stage.sh("echo more >>other");
    let newest = stage.take();
    let copied =
        Command::new("cp").arg("-aT").arg(&stage.backups).arg(stage.beside("copy")).status();
    assert!(copied.is_ok_and(|status| status.success()));
    let large = stage.inside(&newest).join(FILES[0]);
    let file = fs::OpenOptions::new().read(true).write(true).open(&large).expect("a file");
    let time = file.metadata().and_then(|meta| meta.modified()).expect("a time");
    file.write_all_at(b"flip", 100_000).and_then(|()| file.set_modified(time)).expect("written");
    drop(file);
    let damaged = fs::read(&large).expect("it can be read");
    fs::remove_file(stage.inside(&newest).join(FILES[1])).expect("removed");
    stage.look("verify").arg("--all").expect(4);
    drop(mounted);
    let before = disk.image();
    disk.record();
    let mounted = disk.mount(kind, options(kind)).map_err(missing)?;
    heal(&stage).expect(0);
    // Unsynced data stays in memory for a while.
    std::thread::sleep(Duration::from_millis(2_500));
    drop(mounted);
    let events = disk.recorded();
    let cuts = cuts(&events, 20);
    let mut replay = Replay::new(before, &events);
    let mut wrong = Vec::new();
    for (number, cut) in cuts.iter().enumerate() {
        disk.replace(replay.state(*cut));
        let found = match disk.mount(kind, options(kind)) {
            Err(error) => vec![format!("it cannot be mounted: {error}")],
            Ok(_mounted) => problems(&stage, &damaged, number % 4 == 0),
        };
        if !found.is_empty() {
            wrong.push(format!("{cut:?}:\n  {}", found.join("\n  ")));
        }
    }
    let (bad, all) = (wrong.len(), cuts.len());
    println!("{kind}: {all} states out of {} writes and flushes", events.len());
    assert!(bad == 0, "{kind}: {bad} of {all} states are wrong\n{}", wrong.join("\n"));
    Ok(())
}
