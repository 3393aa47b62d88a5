//! Renamed files of a remote host are linked to the copy under the old path, and their content does not cross the line.

use std::os::unix::fs::MetadataExt;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Run;
use fixtures::tree::Tree;

use crate::source::deltas::Line;

const FILES: u64 = 60;
const SIZE: usize = 100 * 1024;

/// Bytes on the line by which a run with a rename may exceed an unchanged run, for each renamed file: a listing, a request and
/// a hash.
const A_FILE: u64 = 200;

/// What a line of the log, a greeting and new folders cost at most, bytes.
const MORE: u64 = 4096;

fn large_files() -> Tree {
    let mut tree = Tree::new().folder("stays");
    for number in 0..FILES {
        tree = tree.random_file(format!("photos/large{number}"), SIZE, number);
    }
    tree.random_file("photos/small", 900, 7).random_file("images/disk", 3 << 20, 8)
}

/// Takes two snapshots, changes the source, and takes a third by `run`. Returns the bytes on the line of the third that the
/// second did not take.
fn more_bytes(line: &Line, run: &Run, script: &str) -> u64 {
    run.expect(0);
    let (unchanged, _) = line.bytes_and_log(run);
    line.stage.sh(script);
    let (changed, _) = line.bytes_and_log(run);
    changed.saturating_sub(unchanged)
}

#[test]
fn only_hashes_of_renamed_files_cross_the_line() {
    let line = need!(Line::start());
    large_files().build(&line.stage.source);
    let more = more_bytes(&line, &line.run(), "mv photos archive; mv images/disk stays/disk");
    assert!(more < (FILES + 2) * A_FILE + MORE, "{more}");
    line.stage.assert_newest_is_source(Judge::plain());
    for (before, name) in [
        ("photos/large7", "archive/large7"),
        ("photos/small", "archive/small"),
        ("images/disk", "stays/disk"),
    ] {
        line.stage.assert_linked_to(before, name);
    }
    let counts = line.stage.counts();
    assert_eq!(
        (&counts["renamed"], &counts["copied"]),
        (&(FILES + 2).into(), &0.into()),
        "{counts}"
    );
}

#[test]
fn a_file_that_was_renamed_and_changed_crosses_the_line_as_its_differences() {
    let line = need!(Line::start());
    large_files().build(&line.stage.source);
    let script = "mkdir new; mv images/disk new/disk; printf changed | dd of=new/disk bs=1 seek=1000000 conv=notrunc status=none";
    let more = more_bytes(&line, &line.run(), script);
    assert!(more < 200 * 1024, "{more}");
    line.stage.assert_newest_is_source(Judge::plain());
    assert!(line.stage.counts()["bytes_from_base"].as_u64().is_some_and(|bytes| bytes > 2 << 20));
}

#[test]
fn other_content_of_equal_size_time_and_name_is_fetched() {
    let line = need!(Line::start());
    large_files().build(&line.stage.source);
    let script = "mkdir new; head -c 3145728 /dev/urandom >new/disk; touch -r images/disk new/disk; rm images/disk";
    let more = more_bytes(&line, &line.run(), script);
    assert!(more > 3 << 20, "{more}");
    line.stage.assert_newest_is_source(Judge::plain());
    assert_eq!(line.stage.counts()["renamed"], 0);
}

#[test]
fn over_sftp_parts_of_a_renamed_file_are_compared() {
    let line = need!(Line::start());
    let tree = Tree::new().random_file("images/disk", 8 << 20, 1).random_file("a/b", 150 * 1024, 2);
    tree.build(&line.stage.source);
    let run = line.run().env("REMOTE_HELPER", "off");
    let more = more_bytes(&line, &run, "mv images pictures; mv a/b b");
    // Three parts of the large file, and the whole small one.
    assert!(more < (3 * 64 + 150 + 60) * 1024, "{more}");
    line.stage.assert_newest_is_source(Judge::sftp());
    for (before, name) in [("images/disk", "pictures/disk"), ("a/b", "b")] {
        line.stage.assert_linked_to(before, name);
    }
    // Without the name, equal size and time in whole seconds say little.
    let more = more_bytes(&line, &run, "mv pictures/disk pictures/other");
    assert!(more > 8 << 20, "{more}");
    let script =
        "head -c 8388608 /dev/urandom >other; touch -r pictures/other other; rm -r pictures";
    assert!(more_bytes(&line, &run, script) > 8 << 20);
    line.stage.assert_newest_is_source(Judge::sftp());
    assert_eq!(line.stage.counts()["renamed"], 0);
}

#[test]
fn over_sftp_parts_prove_nothing_where_every_byte_has_to_be_read() {
    need!(need::root());
    let change = "mkdir new; cp -p disk new/disk
        printf changed | dd of=new/disk bs=1 seek=4000000 conv=notrunc status=none; touch -r disk new/disk; rm disk";
    // A change of 7 bytes is in no random part, unless by a chance of one in forty. With --checksum the unchanged run reads
    // the whole file too, so the bytes on the line show nothing: the content does.
    let line = need!(Line::start());
    Tree::new().random_file("disk", 8 << 20, 1).build(&line.stage.source);
    let run = line.run().env("REMOTE_HELPER", "off").rsync(&["--checksum"]);
    run.expect(0);
    line.stage.sh(change);
    run.expect(0);
    line.stage.assert_newest_is_source(Judge::sftp());
    assert_eq!(line.stage.counts()["renamed"], 0);
    // Another user's file, which that user alone could read.
    let line = need!(Line::start());
    Tree::new().random_file("disk", 8 << 20, 1).mode(0o600).owner(1, 1).build(&line.stage.source);
    let run = line.run().env("REMOTE_HELPER", "off");
    assert!(more_bytes(&line, &run, &format!("{change}; chown 2 new/disk")) > 8 << 20);
    line.stage.assert_newest_is_source(Judge::sftp());
    // Nix gives all files this time.
    let line = need!(Line::start());
    Tree::new().random_file("disk", 8 << 20, 1).mtime(1, 0).build(&line.stage.source);
    let run = line.run().env("REMOTE_HELPER", "off");
    assert!(more_bytes(&line, &run, change) > 8 << 20);
    line.stage.assert_newest_is_source(Judge::sftp());
}

/// Over SFTP there are no change times, which would show that it is another file.
#[test]
fn a_file_that_is_put_back_under_its_old_path_does_not_become_one_with_the_renamed_one() {
    need!(need::tool("strace"));
    let line = need!(Line::start());
    large_files().build(&line.stage.source);
    let run = line.run().env("REMOTE_HELPER", "off");
    run.expect(0);
    line.stage.sh("mkdir above; mv photos/large1* above; mv photos/large2* stays");
    // Before the snapshot gets its complete name.
    drop(run.clone().injecting(&["renameat2:signal=KILL"]).done());
    assert_eq!(line.stage.history().incomplete().len(), 1);
    line.stage.sh("cp -p above/* stays/* photos");
    run.expect(0);
    line.stage.assert_newest_is_source(Judge::sftp());
    let newest = line.stage.inside(&line.stage.history().newest());
    let inode = |name: String| std::fs::metadata(newest.join(name)).expect("in the snapshot").ino();
    for number in 10..30 {
        let folder = if number < 20 { "above" } else { "stays" };
        let names = [folder, "photos"].map(|folder| inode(format!("{folder}/large{number}")));
        assert!(names[0] != names[1], "large{number} is one file");
    }
    assert!(line.stage.counts()["kept"].as_u64() > Some(9), "{}", line.stage.counts());
}
