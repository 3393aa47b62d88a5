//! The commands of docs/install.md that restore a file to the machine, and that install a new version.

use std::fs;
use std::os::unix::fs::MetadataExt;

use fixtures::docker::{IMAGE, Project};
use fixtures::history::History;
use fixtures::need;
use fixtures::run::Run;
use fixtures::scratch::Scratch;
use fixtures::stage::inside;

use crate::engine;

/// An image like the shipped one, with another version.
const OLDER: &str = "FROM ism1/backup_manager\n\
    RUN mv /usr/local/bin/backup_manager /usr/local/bin/shipped && printf '%s\\n' '#!/bin/sh' \
    'if [ \"$1\" = --version ]; then echo backup_manager 0.0.9; exit; fi' 'exec /usr/local/bin/shipped \"$@\"' \
    >/usr/local/bin/backup_manager && chmod 755 /usr/local/bin/backup_manager\n";

#[test]
fn files_come_back_to_the_machine_and_a_new_version_goes_on_with_the_history() {
    let engine = need!(engine());
    let folder = Scratch::new();
    for name in ["checkout", "config", "source"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    fs::write(folder.join("config/crontab"), "0 0 1 1 * echo seldom\n").unwrap();
    fs::write(folder.join("checkout/Dockerfile"), OLDER).unwrap();
    let file = folder.join("source/file");
    fs::write(&file, "as it was").unwrap();
    let source = folder.join("source").display().to_string();
    let name = format!("bm-back-{}", std::process::id());
    let changes = format!(
        "services:\n  backup_manager:\n    image: {name}\n    container_name: {name}\n\
         \x20   build: {{context: {}}}\n    environment: [SRCS_TO_BACKUP=/host_fs{source}]\n",
        folder.join("checkout").display()
    );
    let project = Project::new(engine, "bm-back", folder.path(), Some(&changes));
    let up = || project.compose(&["up", "-d", "--build"]).expect(0);
    up();
    let exec = |words: &[&str]| {
        let exec = fixtures::docker::docker(&["exec", &name, "backup_manager"]);
        words.iter().fold(exec, Run::arg).expect(0)
    };
    exec(&["--version"]).assert_says("0.0.9");
    exec(&["run"]);
    let history = History::new(&folder.join("backups"), "my_backups");
    assert_eq!(history.complete().len(), 1);

    // The paths are those of the machine.
    let path = file.display().to_string();
    exec(&["history", &path]).assert_says("version 1");
    fs::write(&file, "ruined").unwrap();
    let restored = format!("{}:/restored", folder.join("restored").display());
    let to =
        ["run", "--rm", "-v", &restored, "backup_manager", "restore", &path, "--to", "/restored"];
    project.compose(&to).expect(0);
    assert_eq!(fs::read_to_string(folder.join("restored/file")).unwrap(), "as it was");
    let writable = format!("{source}:/host_fs{source}");
    let back = ["run", "--rm", "-v", &writable, "backup_manager", "restore", &path];
    let back =
        project.compose(&[&back[..], &["--in-place", "--overwrite", "always", "--yes"]].concat());
    back.expect(0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "as it was");

    // git pull
    fs::write(folder.join("checkout/Dockerfile"), format!("FROM {IMAGE}\n")).unwrap();
    up();
    let version = exec(&["--version"]);
    assert!(!version.stdout.contains("0.0.9"), "{}", version.stdout);
    exec(&["run", "--now"]);
    let of = |snapshot| fs::metadata(inside(snapshot, format!("/host_fs{path}").as_ref())).unwrap();
    let inodes: Vec<u64> = history.complete().iter().map(|snapshot| of(snapshot).ino()).collect();
    assert!(matches!(inodes[..], [first, second] if first == second), "{inodes:?}");
    let _ = project.compose(&["down", "-v", "-t", "1"]).done();
    let _ = fixtures::docker::docker(&["rmi", "-f", &name]).done();
}
