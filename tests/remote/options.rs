//! rsync options for a remote source: those of the connection, filters and rule files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::over_helper;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn sample() -> Tree {
    Tree::new()
        .file("file", "1")
        .mtime(1_600_000_000, 0)
        .random_file("folder/large", 3_000_000, 1)
        .mode(0o640)
        .file(b"odd \xff\n".as_slice(), "odd")
        .file("empty", "")
        .symlink("link", b"to \xfe".as_slice())
        .folder("nothing")
}

#[test]
fn options_of_rsync_reach_the_connection() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &sample());
    let run = server.reached_by(stage.run());
    let elsewhere = run.clone().set("remote-src-host", "127.0.0.1");
    let (port, user) = (server.port(), server.account());
    let shell = format!("ssh -T -p {port} -l {user} -o ServerAliveInterval=5");
    let limits = ["-z4", "--bwlimit=50m", "--timeout=30", "--contimeout=9", "--rsync-path=x"];
    elsewhere.clone().rsync(&["-e", &shell]).rsync(&limits).expect(0);
    stage.assert_newest_is_source(Judge::remote());
    elsewhere.rsync(&["-e", &shell, "--chmod=F600", "--max-size=1m", "-m"]).expect(0);
    let newest = stage.inside(&stage.history().newest());
    assert!(!newest.join("folder/large").exists() && !newest.join("nothing").exists());
    let mode = fs::metadata(newest.join("file")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    run.clone().rsync(&["-e", "ssh -p 1"]).expect(2).assert_says("another port is given");
    if !over_helper() {
        run.clone().rsync(&["-L"]).expect(2).assert_says("follow no symlinks over SFTP");
    }
    let unchecked = ["-e", "ssh -o StrictHostKeyChecking=no"];
    run.clone().rsync(&unchecked).expect(2).assert_says("always checked");
    let done = run.rsync(&["-X"]).expect(0);
    assert_eq!(done.said().contains("-X (SFTP has no extended attributes)"), !over_helper());
}

#[test]
fn filters_and_rule_files_hold_for_a_remote_source() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let tree = Tree::new()
        .file("a.tmp", "")
        .file("cache/x", "")
        .file("d/.rsync-filter", "+ b.tmp\n- /no\n")
        .file("d/b.tmp", "")
        .file("d/e/no", "")
        .file("d/no", "");
    let stage = Stage::with(BIN, &tree);
    let run = server.reached_by(stage.run()).rsync(&["-F", "--exclude=*.tmp", "--exclude=cache/"]);
    run.expect(0);
    let newest = stage.inside(&stage.history().newest());
    for (path, held) in
        [("a.tmp", false), ("cache", false), ("d/b.tmp", true), ("d/e/no", true), ("d/no", false)]
    {
        assert_eq!(newest.join(path).exists(), held, "{path}");
    }
    let why = run.arg("--explain").arg(stage.source.join("d/no")).expect(0);
    why.assert_says("d/no: out by '- /no' (").assert_says("/d/.rsync-filter, line 2)");
}

#[test]
fn rule_files_of_a_remote_source_that_name_themselves_are_listed_for_their_folder_only() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let bomb = |rule: &str| rule.repeat(10) + "- lost\n";
    let tree = Tree::new()
        .file("itself/.rsync-filter", bomb(". .rsync-filter\n"))
        .file("itself/lost", "1")
        .file("pair/.rsync-filter", bomb(". other\n"))
        .file("pair/other", bomb(". .rsync-filter\n"))
        .file("pair/lost", "2")
        .file("good/.rsync-filter", "- out\n")
        .file("good/out", "3");
    let stage = Stage::with(BIN, &tree);
    let done = server.reached_by(stage.run()).rsync(&["-F"]).expect(3);
    let newest = stage.inside(&stage.history().newest());
    assert!(newest.join("itself/lost").exists() && newest.join("pair/lost").exists());
    assert!(!newest.join("good/out").exists());
    assert!(done.peak_kib < 256 << 10, "{} KiB", done.peak_kib);
}

#[test]
fn ssh_and_what_it_starts_get_no_secret() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &sample());
    let (seen, ssh) = (stage.beside("seen"), stage.beside("wrapped/ssh"));
    let script = format!("#!/bin/sh\nenv >>'{}'\nexec ssh \"$@\"\n", seen.display());
    fs::create_dir(stage.beside("wrapped")).unwrap();
    fs::write(&ssh, script).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let file = stage.beside("token");
    fs::write(&file, "hunter22").unwrap();
    let run = server.reached_by(stage.run()).env("WEBHOOK_URL", "http://127.0.0.1:1/hunter22");
    let run = run.env("SMTP_PASSWORD", "hunter22").env("NTFY_TOKEN_FILE", &file);
    let done = run.rsync(&["-e", &format!("{} -T", ssh.display())]).done();
    assert!(!done.said().contains("hunter22"));
    let seen = fs::read_to_string(&seen).expect("ssh was started");
    for secret in ["hunter22", "WEBHOOK_URL", "SMTP_PASSWORD", "NTFY_TOKEN_FILE"] {
        assert!(!seen.contains(secret), "{secret}: {seen}");
    }
}
