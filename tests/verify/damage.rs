//! Every kind of damage to a snapshot is found, recorded and repaired.

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::stage::{PREFIX, Stage};
use std::fs;
use std::path::Path;

use crate::snapshots::{BIN, HASH, found, overwrite, sample, verify};

/// Damages the newest of two snapshots; the expected findings, and whether the file itself is
/// damaged.
type Case = (&'static str, fn(&Stage, &Path), &'static [&'static str], bool);

/// Paths below the source that both snapshots share are listed twice.
const CASES: &[Case] = &[
    (
        "flipped content",
        |_, inside| overwrite(&inside.join("large"), 2_000_000, b"flip"),
        &["large", "large"],
        true,
    ),
    (
        "truncated content",
        |_, inside| {
            fs::OpenOptions::new()
                .write(true)
                .open(inside.join("large"))
                .expect("the file system does it")
                .set_len(1000)
                .expect("the file system does it");
        },
        &["large", "large"],
        true,
    ),
    (
        "zeroed content",
        |_, inside| overwrite(&inside.join("folder/one"), 0, &[0; 20_000]),
        &["folder/one", "folder/one", "second name", "second name"],
        true,
    ),
    (
        "swapped content",
        |_, inside| {
            let [one, two] = ["folder/one", "folder/two"].map(|name| inside.join(name));
            let [a, b] = [&one, &two].map(|path| fs::read(path).expect("the file system does it"));
            overwrite(&one, 0, &b);
            overwrite(&two, 0, &a);
        },
        &["folder/one", "folder/one", "folder/two", "folder/two", "second name", "second name"],
        true,
    ),
    (
        "removed content",
        |_, inside| fs::remove_file(inside.join("folder/small")).expect("the file system does it"),
        &["1 entry of"],
        false,
    ),
    (
        "flipped hash",
        |_, inside| {
            let path = inside.join("large");
            let mut hash = xattr::get(&path, HASH)
                .expect("the file system does it")
                .expect("the file system does it");
            hash[7] ^= 1;
            xattr::set(&path, HASH, &hash).expect("the file system does it");
        },
        &["large", "large"],
        true,
    ),
    (
        "truncated hash",
        |_, inside| {
            xattr::set(inside.join("large"), HASH, b"short").expect("the file system does it")
        },
        &["large", "large"],
        true,
    ),
    (
        "zeroed hash",
        |_, inside| {
            xattr::set(inside.join("large"), HASH, &[0; 32]).expect("the file system does it")
        },
        &["large", "large"],
        true,
    ),
    (
        "swapped hashes",
        |_, inside| {
            let [one, two] = ["folder/one", "folder/two"].map(|name| inside.join(name));
            let [a, b] = [&one, &two].map(|path| xattr::get(path, HASH).ok().flatten());
            for (path, hash) in [(&one, b), (&two, a)] {
                xattr::set(path, HASH, &hash.expect("a hash")).expect("the file system does it");
            }
        },
        &["folder/one", "folder/one", "folder/two", "folder/two", "second name", "second name"],
        true,
    ),
    (
        "swapped folders",
        |_, inside| {
            let [a, b, c] = ["folder", "other", "third"].map(|name| inside.join(name));
            fs::rename(&a, &c).expect("the file system does it");
            fs::rename(&b, &a).expect("the file system does it");
            fs::rename(&c, &b).expect("the file system does it");
        },
        &[
            "1 entry of",
            "3 entries of",
            "/folder/deep was",
            "/one was",
            "/small was",
            "/two was",
            "source: its kind",
        ],
        false,
    ),
    (
        "a removed folder",
        |_, inside| fs::remove_dir_all(inside.join("folder")).expect("the file system does it"),
        &["1 entry of"],
        false,
    ),
    (
        "an emptied folder",
        |_, inside| {
            for name in ["one", "two", "small"] {
                fs::remove_file(inside.join("folder").join(name)).expect("the file system does it");
            }
        },
        &["3 entries of"],
        false,
    ),
    (
        "a file instead of a folder",
        |_, inside| {
            fs::remove_dir_all(inside.join("other")).expect("the file system does it");
            fs::write(inside.join("other"), "x").expect("the file system does it");
        },
        &["1 of its", "other", "source: its kind"],
        false,
    ),
    (
        "an added file",
        |_, inside| fs::write(inside.join("folder/new"), "x").expect("the file system does it"),
        &["was not backed up"],
        false,
    ),
    (
        "a truncated report",
        |stage, _| {
            let report = report(stage);
            let text = fs::read(&report).expect("the file system does it");
            fs::write(&report, &text[..text.len() / 2]).expect("the file system does it");
        },
        &["its report cannot be read"],
        false,
    ),
    (
        "a flipped report",
        |stage, _| {
            let report = report(stage);
            let text = fs::read_to_string(&report).expect("the file system does it");
            let flipped = text.replacen(&format!("\"{PREFIX}."), &format!("\"{PREFIX}/"), 1);
            assert_ne!(text, flipped);
            fs::write(&report, flipped).expect("the file system does it");
        },
        &["its report belongs to"],
        false,
    ),
    (
        "a zeroed report",
        |stage, _| {
            let report = report(stage);
            let length = fs::metadata(&report).expect("the file system does it").len();
            fs::write(&report, vec![0; length as usize]).expect("the file system does it");
        },
        &["its report cannot be read"],
        false,
    ),
    (
        "a report of another snapshot",
        |stage, _| {
            let oldest = stage.history().complete().remove(0);
            let oldest =
                oldest.file_name().expect("the file system does it").to_string_lossy().into_owned();
            let reports = stage.backups.join(".backup_manager/reports");
            fs::copy(reports.join(format!("{oldest}.json")), report(stage))
                .map(drop)
                .expect("the file system does it");
        },
        &["its report belongs to"],
        false,
    ),
];

/// The report of the newest snapshot.
pub(crate) fn report(stage: &Stage) -> std::path::PathBuf {
    let newest = stage.history().newest();
    let name = newest.file_name().expect("the file system does it").to_string_lossy().into_owned();
    stage.backups.join(".backup_manager/reports").join(format!("{name}.json"))
}

#[test]
fn every_damage_is_found_recorded_and_repaired() {
    for (what, damage, says, content) in CASES {
        let stage = Stage::with(BIN, &sample());
        stage.take();
        stage.take();
        let newest = stage.history().newest();
        let oldest = stage.history().complete().remove(0);
        let before = Fingerprint::of(&oldest);
        damage(&stage, &stage.inside(&newest));
        let (lines, _) = found(&verify(&stage).expect(4));
        assert_eq!(lines.len(), says.len(), "{what}: {lines:?}");
        // They are sorted, and one begins with the path of the temporary folder.
        let mut others = lines.clone();
        for says in *says {
            let line = others.iter().position(|line| line.contains(says));
            others.remove(line.unwrap_or_else(|| panic!("{what}: {says} in {lines:?}")));
        }
        // list shows it; a restore of damaged files reports them and restores the rest.
        let rows = stage.look("list").arg("--json").expect(0).objects();
        assert!(rows.iter().any(|row| row["damaged"] == true), "{what}");
        let restore = stage.look("restore").set("to", stage.beside("back")).arg(&stage.source);
        // The manifest proves the content, whatever the attribute says.
        let proved = !content || what.contains("hash");
        let restored = restore.expect(if proved { 0 } else { 4 });
        restored.assert_says("a check found damage in");
        if !*content {
            // Damage in one snapshot does not affect the others.
            assert_untouched(&oldest, &before);
            let oldest = stage.look("verify").arg(oldest.file_name().expect("a name"));
            oldest.expect(0);
        }
        // The next run links none of it.
        let done = stage.run().expect(0);
        stage.assert_newest_is_source(Judge::plain());
        let repaired = found(&stage.look("verify").arg("--json").expect(0)).0;
        assert_eq!(repaired, Vec::<String>::new(), "{what}");
        if *content {
            let healed = stage.counts()["healed"].as_u64() > Some(0);
            assert_eq!(healed, *what != "truncated content", "{what}");
            assert_eq!(done.lines_with("copied again") > 0, healed, "{what}");
            stage.assert_linked("folder/small");
        }
        // Damage stays until its snapshot is gone.
        verify(&stage).expect(4);
        stage.look("prune").arg("--max-backups").arg("1").arg("--yes").expect(0);
        verify(&stage).expect(0);
        assert_eq!(fs::read_dir(stage.backups.join(".backup_manager/damaged")).unwrap().count(), 0);
    }
}
