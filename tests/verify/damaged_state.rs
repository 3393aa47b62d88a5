//! Files beside the snapshots that are damaged by a bad disk or an editor: a run continues to work
//! and leaves snapshots alone.

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::random::Random;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// Replacements for a piece of JSON.
const PIECES: [&str; 14] = [
    "null",
    "-1",
    "1e400",
    "9223372036854775807",
    "-9223372036854775808",
    "\"\"",
    "\"../../x\"",
    "[]",
    "{}",
    "true",
    "\"\\u0000\"",
    "\u{1b}",
    "[[[[[[[[",
    "\"ok",
];

/// All files beside the snapshots, except locks.
fn state(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(state(&path));
        } else if path.extension().is_some_and(|end| end == "json") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Changes a text like a bad disk or an editor.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let at = usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap_or_default();
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.clear(),
            2 => bytes.iter_mut().skip(at).for_each(|byte| *byte = 0),
            3 => {
                let more = random.bytes(at % 40);
                let at = at.min(bytes.len());
                bytes.splice(at..at, more);
            }
            // A value after a colon.
            _ => {
                let colons = bytes.iter().enumerate().filter(|(_, byte)| **byte == b':');
                let colons: Vec<_> = colons.map(|(at, _)| at + 1).collect();
                if colons.is_empty() {
                    continue;
                }
                let from = *random.pick(&colons);
                let rest = bytes[from..].iter().position(|byte| b",}\n".contains(byte));
                let to = rest.map_or(bytes.len(), |rest| from + rest);
                let piece = random.pick(&PIECES).as_bytes().to_vec();
                bytes.splice(from..to, piece);
            }
        }
    }
}

#[test]
fn damaged_files_beside_the_snapshots_harm_none() {
    let tree = Tree::new()
        .random_file("file", 3_000, 1)
        .file("folder/inside", "inside\n")
        .symlink("link", "file");
    let stage = Stage::with(BIN, &tree);
    let first = stage.take();
    let before = Fingerprint::of(&first);
    let own = stage.backups.join(".backup_manager");
    let mut damaged = 0;
    for seed in 0..40 {
        let mut random = Random::new(seed);
        stage.sh(&format!("echo {seed} >file"));
        stage.run().expect(0);
        let newest = stage.history().newest();
        // As after an interruption: the newest snapshot is to be resumed, and the journal records
        // its progress.
        if seed % 2 == 0 {
            let name = newest.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let incomplete = newest.with_file_name(format!("{name}.incomplete"));
            fs::rename(&newest, &incomplete).expect("it is there");
            let journal = format!(
                "{{\"version\":1,\"snapshot\":\"{name}.incomplete\",\"durable_before\":{{\"secs\":1800000000,\"nanos\":5}},\
                 \"sync_failed\":false,\"roots\":{{\"/x\":\"1\"}}}}"
            );
            fs::create_dir_all(own.join("journal")).expect("a folder");
            fs::write(own.join("journal/my_backup.json"), journal).expect("a file");
        }
        for path in state(&own) {
            let mut bytes = fs::read(&path).expect("it is there");
            damage(&mut random, &mut bytes);
            fs::write(&path, bytes).expect("it can be written");
            damaged += 1;
        }
        let done = stage.run().done();
        assert_eq!(done.code, 0, "seed {seed}: {}", done.said());
        stage.assert_newest_is_source(Judge::plain());
        assert_untouched(&first, &before);
        // All except the first one; the next seed starts again.
        for snapshot in stage.history().complete().iter().filter(|snapshot| **snapshot != first) {
            fs::remove_dir_all(snapshot).expect("it is there");
        }
    }
    println!("{damaged} files were damaged");
    assert!(damaged > 100, "{damaged}");
}
