//! The commands in messages about keys, typed where the message says: in the container, or on its machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fixtures::docker::{Container, Project, docker};
use fixtures::need;
use fixtures::patience::wait_for;
use fixtures::run::{Done, Run};
use fixtures::scratch::Scratch;

use crate::engine;
use crate::remote::{SSHD, build_sshd, keys};

/// The text between `from` and the next `to`, or the end of the line.
#[track_caller]
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let found = text.split_once(from);
    assert!(found.is_some(), "no {from:?} in:\n{text}");
    let line = found.and_then(|(_, rest)| rest.lines().next()).unwrap_or_default();
    line.split_once(to).map_or(line, |(found, _)| found)
}

/// `backup_manager WORDS…` in the container.
fn manager(container: &Container, words: &[&str]) -> Done {
    container.exec(&[&["backup_manager"], words].concat())
}

#[test]
fn a_command_about_keys_works_where_the_message_says() {
    let engine = need!(engine());
    need!(need::tool("ssh-keygen"));
    let folder = Scratch::new();
    build_sshd(engine, &folder.join("image"));
    keys(&folder);
    fs::create_dir(folder.join("source")).unwrap();
    fs::write(folder.join("source/file"), "1").unwrap();
    fs::write(folder.join("config/crontab"), "0 0 1 1 * echo seldom\n").unwrap();
    let pinned = folder.join("config/known_hosts");
    let right = fs::read_to_string(&pinned).unwrap();
    fs::remove_file(&pinned).unwrap();
    let name = format!("bm-keys-{}", std::process::id());
    let changes = format!(
        "services:\n  backup_manager:\n    container_name: {name}\n    volumes: [\"~/.ssh:/root/.ssh:ro\"]\n\
         \x20   environment: [SRCS_TO_BACKUP=/srv/source, REMOTE_SRC_HOST=root@source]\n\
         \x20 source:\n    image: {SSHD}\n    volumes:\n      - ./source:/srv/source:ro\n      - ./keys:/keys:ro\n"
    );
    let project = Project::new(engine, "bm-keys", folder.path(), Some(&changes));
    let container = project.up(&[], &name);
    let run = || manager(&container, &["run", "--now"]);
    wait_for("sshd", || run().said(), || run().said().contains("pin it"));

    // A key that is not known: in the container, where ~/.ssh is read-only.
    let said = run().said();
    assert!(said.contains(&format!("that file is {}", pinned.display())), "{said}");
    let command = between(&said, "pin it in the container: ", " (outside the container");
    container.exec(&["sh", "-c", command]).assert_code(0);
    assert_eq!(
        fs::read_to_string(&pinned).unwrap().trim().split(' ').nth(2),
        right.trim().split(' ').nth(2)
    );
    run().assert_code(0);

    // doctor names the command for the machine; without a terminal the fingerprint is given.
    fs::remove_file(&pinned).unwrap();
    let said = manager(&container, &["doctor"]);
    said.assert_code(1);
    let command =
        between(&said.stdout, "to fix it: docker ", " with the same settings shows").to_owned();
    let words = command.replace("-it ", "");
    let said = words.split(' ').fold(docker(&[]), Run::arg).done();
    let fingerprint = between(&said.said(), "then: backup_manager doctor --pin=", "\n").to_owned();
    let done = manager(&container, &["doctor", &format!("--pin={fingerprint}")]);
    done.assert_says("is pinned in /config/known_hosts").assert_says("connection");
    run().assert_code(0);

    // A key that changed: both files, on the machine.
    let wrong = fs::read_to_string(folder.join("home/.ssh/id_ed25519.pub")).unwrap();
    fs::write(folder.join("home/.ssh/known_hosts"), format!("source {wrong}")).unwrap();
    fs::remove_file(&pinned).unwrap();
    let said = run();
    said.assert_code(1);
    let command = between(&said.said(), "pin it outside the container: ", "\n").to_owned();
    Run::new("sh").arg("-c").arg(&command).expect(0);
    run().assert_code(0);

    // A key that others can read, as ssh sees it.
    let key = folder.join("home/.ssh/id_ed25519");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = run();
    said.assert_code(1);
    let command =
        between(&said.said(), "permissions away outside the container: ", "\n").to_owned();
    Run::new("sh").arg("-c").arg(&command).expect(0);
    run().assert_code(0);
}
