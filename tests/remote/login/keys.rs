//! Private keys that ssh cannot use, each with its reason, and files of host keys that count together.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Run;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

#[test]
fn a_key_that_ssh_cannot_use_is_named_with_the_reason_and_what_to_do() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("file", "1"));
    let key = server.path("bad");
    server.write_config("bad", "");
    let run = || server.reached_by(stage.run());
    let good = fs::read_to_string(server.path("user")).unwrap();
    let write = |text: &str| {
        fs::write(&key, text).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    };
    for (text, reason, step) in [
        (good.trim_end().to_owned(), "has no line feed at its end", "echo >> "),
        (good.replace('\n', "\r\n"), "end with carriage returns", "sed -i 's/\\r$//' "),
        ("PuTTY-User-Key-File-3: ssh-ed25519\r\n".to_owned(), "PuTTY's format", "puttygen "),
    ] {
        write(&text);
        let refused = run().expect(1);
        refused.assert_says(&format!("ssh cannot use the private key {}", key.display()));
        refused.assert_says(reason).assert_says(&format!("{step}{}", key.display()));
    }
    // The commands in the messages work.
    for (text, command) in [
        (good.trim_end().to_owned(), "echo >> "),
        (good.replace('\n', "\r\n"), "sed -i 's/\\r$//' "),
    ] {
        write(&text);
        stage.sh(&format!("{command}{}", key.display()));
        run().expect(0);
        stage.assert_newest_is_source(Judge::sftp());
    }
    write(&good);
    let mut lock = Command::new("ssh-keygen");
    let locked = lock.args(["-q", "-p", "-N", "secret", "-f"]).arg(&key).output();
    assert!(locked.is_ok_and(|done| done.status.success()));
    run().expect(1).assert_says("it has a passphrase, and there is no agent that knows it");
}

#[test]
fn the_host_keys_of_the_configuration_folder_count_beside_those_of_sshs_configuration() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("file", "1"));
    let config = stage.beside("config");
    fs::create_dir(&config).unwrap();
    let run = || -> Run { server.reached_by(stage.run()).env("CONFIG_DIR", &config) };
    let known = server.path("known_hosts");
    // UserKnownHostsFile names `known`.
    fs::write(config.join("known_hosts"), "").unwrap();
    run().expect(0);
    fs::rename(&known, config.join("known_hosts")).unwrap();
    run().expect(0);
    fs::write(config.join("known_hosts"), "").unwrap();
    run().expect(1).assert_says("is not known");
}
