//! `docker compose up` without further steps.

use std::fs;
use std::path::Path;

use fixtures::docker::{IMAGE, Project, docker};
use fixtures::history::History;
use fixtures::need;
use fixtures::need::Missing;
use fixtures::scratch::Scratch;
use fixtures::stage::inside;

use crate::engine;
use crate::stand::wait_for_complete;

/// The shipped file gives the container a name that can exist only once.
fn no_container_of_somebody() -> Result<(), Missing> {
    match docker(&["inspect", "backup_manager"]).done().code {
        0 => Err(Missing("there is a container backup_manager, which is left alone".to_owned())),
        _ => Ok(()),
    }
}

#[test]
fn compose_up_alone_takes_a_snapshot_and_the_next_tick_is_held() {
    let engine = need!(engine());
    need!(no_container_of_somebody());
    let folder = Scratch::new();
    let project = Project::new(engine, "bm-shipped", folder.path(), None);
    let history = History::new(&folder.join("backups"), "my_backups");
    let container = project.up(&[], "backup_manager");
    wait_for_complete(&history, 1, &container);
    let newest = history.newest();
    let kept = inside(&newest, Path::new("/host_fs/etc/passwd"));
    // The file of the engine's machine, which may not be the one that runs this test.
    let cat = docker(&["run", "--rm", "-v", "/etc:/of_host:ro", "--entrypoint", "cat", IMAGE]);
    assert_eq!(fs::read_to_string(kept).unwrap(), cat.arg("/of_host/passwd").expect(0).stdout);
    for file in ["crontab", "config.toml"] {
        let text = fs::read_to_string(folder.join("config").join(file)).unwrap();
        assert!(text.starts_with("# "), "{file}: {text}");
    }
    assert!(!folder.join("home/.ssh").exists(), "Docker made a folder of root in the user's home");
    // A path of the image is no path of the machine.
    let mistaken = ["exec", "-e", "SRCS_TO_BACKUP=/etc", &container.name, "backup_manager", "run"];
    docker(&mistaken).expect(2).assert_says("write /host_fs/etc");
    // A command started by hand has the same configuration.
    let manager = |word| container.exec(&["backup_manager", word]);
    manager("run").assert_code(0).assert_says("nothing to do: my_backups.");
    manager("status").assert_code(0).assert_says("healthy").assert_says("crontab");
    // The output of exec is not in the log, so this line is from the crontab's run.
    container.wait_for_log("nothing to do: my_backups.");
    assert_eq!(history.complete(), [newest], "{}", container.logs());
    container.wait_for_health("healthy");
    container.docker(&["stop", "-t", "600"]);
    assert_eq!(container.field("State.ExitCode"), "0", "{}", container.logs());
}
