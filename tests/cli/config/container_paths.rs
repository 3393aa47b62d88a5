//! Paths in a container that has the machine's folders at `/host_fs`, without a container engine: a root file
//! system of its own, with another folder mounted at `/host_fs`.

use std::fs;
use std::path::Path;

use fixtures::need;
use fixtures::need::Missing;
use fixtures::run::Run;
use fixtures::stage::{Stage, inside};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The machine's folder, with a file `/etc/hostname` and a file `/srv/note`.
fn stage() -> Result<Stage, Missing> {
    need::root()?;
    need::tool("unshare")?;
    let stage = Stage::new(BIN);
    for name in ["root", "layers", "machine/etc", "machine/srv"] {
        fs::create_dir_all(stage.beside(name)).expect("a folder");
    }
    for name in ["etc/hostname", "srv/note"] {
        fs::write(stage.beside("machine").join(name), "of the machine\n").expect("a file");
    }
    Ok(stage)
}

/// Runs the program with an overlay of this machine's root as `/`.
fn contained(stage: &Stage, run: Run) -> Run {
    contained_with(stage, "", run)
}

/// The same, with only the machine's folder `folder` mounted below `/host_fs`.
fn contained_with(stage: &Stage, folder: &str, run: Run) -> Run {
    let binaries = Path::new(BIN).parent().expect("a folder").display().to_string();
    let top = stage.beside("").display().to_string();
    let script = format!(
        "set -e; cd '{top}'; mount -t tmpfs layers layers; mkdir layers/up layers/work
        mount -t overlay image -o lowerdir=/,upperdir=layers/up,workdir=layers/work root
        mkdir -p root/host_fs/{folder}; mount --bind machine/{folder} root/host_fs/{folder}; mount -t proc proc root/proc; mount --rbind /dev root/dev
        for folder in '{top}' '{binaries}'; do mkdir -p \"root$folder\"; mount --bind \"$folder\" \"root$folder\"; done
        exec chroot root \"$@\""
    );
    run.under(&["unshare", "-m", "sh", "-c", &script, "sh"])
}

#[test]
fn a_source_in_the_image_instead_of_the_machine_is_a_mistake_that_names_both() {
    let stage = need!(stage());
    for (source, meant) in
        [("/etc/hostname", "/host_fs/etc/hostname"), ("/srv/note", "/host_fs/srv/note")]
    {
        for run in [stage.run(), stage.run().arg("--dry-run"), stage.look("doctor")] {
            let done = contained(&stage, run.set("srcs-to-backup", source)).done();
            done.assert_code(2).assert_says(&format!("{source} is a path in the container's own"));
            done.assert_says(&format!("write {meant}"));
        }
    }
    assert!(stage.history().complete().is_empty());
    // PRE_BACKUP may mount it.
    let later = stage.run().set("srcs-to-backup", "/etc/hostname").env("PRE_BACKUP", "true");
    contained(&stage, later).expect(0);
    // Reading the snapshots does not depend on the sources.
    let list = stage.look("list").env("SRCS_TO_BACKUP", "/etc/hostname");
    contained(&stage, list).expect(0);
}

#[test]
fn a_path_of_the_machine_finds_what_the_container_has_at_host_fs() {
    let stage = need!(stage());
    let run = stage.run().set("srcs-to-backup", "/host_fs/srv");
    contained(&stage, run).expect(0);
    let newest = stage.history().newest();
    assert!(inside(&newest, "/host_fs/srv/note".as_ref()).exists());
    let to = stage.beside("back");
    for path in ["/srv/note", "/host_fs/srv/note"] {
        contained(&stage, stage.look("restore").arg(path).arg("--to").arg(&to)).expect(0);
        assert_eq!(fs::read_to_string(to.join("note")).unwrap(), "of the machine\n");
        fs::remove_dir_all(&to).unwrap();
        contained(&stage, stage.look("history").arg(path))
            .expect(0)
            .assert_says("/host_fs/srv/note")
            .assert_says("version 1");
        let pattern = format!("{}*", path.strip_suffix("te").unwrap());
        let found = contained(&stage, stage.look("find").arg(pattern)).expect(0);
        found.assert_says("/host_fs/srv/note");
    }
    fs::write(stage.beside("machine/srv/note"), "changed\n").unwrap();
    let back = ["/srv/note", "--in-place", "--yes", "--overwrite", "always"];
    let back = back.iter().fold(stage.look("restore"), Run::arg);
    contained(&stage, back).expect(0);
    let note = stage.beside("machine/srv/note");
    assert_eq!(fs::read_to_string(note).unwrap(), "of the machine\n");
}

#[test]
fn a_single_folder_of_the_machine_is_known_from_the_image() {
    let stage = need!(stage());
    fs::create_dir(stage.beside("machine/srv/data")).expect("a folder");
    fs::write(stage.beside("machine/srv/data/note"), "of the machine\n").expect("a file");
    for (folder, source, meant) in [
        ("srv", "/srv", "/host_fs/srv"),
        ("srv", "/", "/host_fs/srv"),
        ("srv", "/host_fs", "/host_fs/srv"),
        ("srv/data", "/srv", "/host_fs/srv/data"),
        ("srv/data", "/host_fs/srv", "/host_fs/srv/data"),
    ] {
        let done = contained_with(&stage, folder, stage.run().set("srcs-to-backup", source));
        let done = done.expect(2);
        done.assert_says(&format!("{source} is a path in the container's own image"));
        done.assert_says(&format!("write {meant}"));
    }
    assert!(stage.history().complete().is_empty());
    let run = stage.run().set("srcs-to-backup", "/host_fs/srv/data");
    contained_with(&stage, "srv/data", run).expect(0);
    // Without -x a run enters what is mounted below its source.
    let run = stage.run().set("srcs-to-backup", "/host_fs").rsync(&["--no-one-file-system"]);
    contained_with(&stage, "srv/data", run.arg("--accept-sources")).expect(0);
    let newest = stage.history().newest();
    assert!(inside(&newest, "/host_fs/srv/data/note".as_ref()).exists());
}

#[test]
fn explain_takes_the_path_of_the_machine() {
    let stage = need!(stage());
    for path in ["/srv/note", "/host_fs/srv/note"] {
        let run = stage.run().set("srcs-to-backup", "/host_fs/srv").arg("--explain").arg(path);
        let done = contained(&stage, run.rsync(&["--exclude=note"])).expect(0);
        done.assert_says("/host_fs/srv/note: out").assert_says("out by 'note'");
    }
}
