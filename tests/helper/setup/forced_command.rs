//! A key that can read given folders and nothing else (sshd(8): AUTHORIZED_KEYS FILE FORMAT).

use std::fs;
use std::process::{Command, Output};

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::{BIN, OVER_SFTP};

/// A server whose key may only read the source of the stage.
fn confined(stage: &Stage) -> Result<Sshd, need::Missing> {
    let server = Sshd::serving(Subsystem::Internal)?;
    force(&server, &format!("{BIN} serve --read-only --root {}", stage.source.display()));
    Ok(server)
}

/// Lets the server's key start this command and nothing else.
pub(crate) fn force(server: &Sshd, command: &str) {
    let key = fs::read_to_string(server.path("user.pub")).expect("a key");
    let line = format!("command=\"{command}\",restrict {key}");
    fs::write(server.path("authorized"), line).expect("written");
}

/// `ssh` with these words in front of the host and behind it.
fn ssh(server: &Sshd, before: &[&str], after: &[&str]) -> Output {
    Command::new("timeout")
        .args(["20", "ssh", "-F"])
        .arg(server.path("ssh_config"))
        .args(["-p", &server.port().to_string()])
        .args(before)
        .arg(format!("{}@127.0.0.1", server.account()))
        .args(after)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("ssh starts")
}

#[test]
fn the_key_reads_its_folders_and_no_others() {
    let stage = Stage::with(BIN, &Tree::new().file("folder/file", "content"));
    let server = need!(confined(&stage));
    let other = stage.beside("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(&other, stage.source.join("way out")).unwrap();
    let run = || server.reached_by(stage.run()).env("REMOTE_HELPER", "auto");
    let done = run().expect(0);
    assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
    stage.assert_newest_is_source(Judge::plain());
    let above = stage.source.parent().unwrap().to_owned();
    for source in [other.clone(), stage.source.join("way out"), "/etc".into(), above] {
        let asked = run().set("srcs-to-backup", &source).set("backup-name-prefix", "other");
        let refused = asked.expect(1);
        refused.assert_says("was started with --root for other folders; add --root with this one");
    }
    // Followed symlinks end at the border of the roots, where the kernel has Landlock.
    let followed = run().rsync(&["-L"]).done();
    if fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|lsm| lsm.contains("landlock")) {
        let inside = stage.inside(&stage.history().newest()).join("way out/secret");
        assert!(!inside.exists(), "{}", followed.said());
    }
}

#[test]
fn the_key_gives_no_shell_no_command_no_files_and_no_forwarding() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
    let server = need!(confined(&stage));
    let proof = stage.beside("proof");
    let touch = format!("touch {}", proof.display());
    for words in [&[touch.as_str()][..], &[], &["cat", "/etc/passwd"]] {
        let output = ssh(&server, &["-T"], words);
        assert!(output.stdout.is_empty(), "{words:?}: {output:?}");
    }
    assert!(!proof.exists());
    let output = ssh(&server, &["-s"], &["sftp"]);
    assert!(output.stdout.is_empty(), "{output:?}");
    let port = server.port().to_string();
    let output = ssh(&server, &["-W", &format!("127.0.0.1:{port}")], &[]);
    assert!(!output.stdout.starts_with(b"SSH-"), "{output:?}");
    let output = ssh(&server, &["-tt"], &[]);
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn a_restore_uses_another_key_by_an_option_of_rsync_or_a_host_of_ssh() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
    let server = need!(confined(&stage));
    server.reached_by(stage.run()).env("REMOTE_HELPER", "auto").expect(0);
    let restored = stage.beside("restored");
    fs::create_dir(&restored).unwrap();
    let (key, public) = (server.path("stranger"), server.path("stranger.pub"));
    let read_only = fs::read_to_string(server.path("authorized")).unwrap();
    let line = format!("command=\"{BIN} serve --root {}\",restrict ", restored.display());
    let both = read_only + &line + &fs::read_to_string(public).unwrap();
    fs::write(server.path("authorized"), both).unwrap();
    let named = format!(
        "Host other\nHostName 127.0.0.1\nPort {}\nUser {}\nIdentityFile {}\n",
        server.port(),
        server.account(),
        key.display()
    );
    server.write_config("user", &named);
    let restore = |host: &str| {
        let run = server.known_to(stage.look("restore")).env("REMOTE_HELPER", "auto");
        let run = run.env("REMOTE_SRC_HOST", server.address());
        let run = run.env("SRCS_TO_BACKUP", &stage.source).arg(stage.source.join("file"));
        run.set("to", format!("{host}:{}", restored.display()))
    };
    let is_back = || fs::remove_file(restored.join("file")).is_ok();
    restore("127.0.0.1").expect(1);
    assert!(!is_back(), "the key of the job only reads");
    let option = format!("{{\"-e\": \"ssh -i {}\"}}", key.display());
    restore("127.0.0.1").env("RSYNC_DICT_PARAMS", option).expect(0);
    assert!(is_back());
    restore("other").expect(0);
    assert!(is_back());
    // Also to a host that is not the one of the job.
    for host in ["127.0.0.1", "test"] {
        restore(host).expect(1);
        assert!(!is_back());
        restore(host).args(&["-z", "-e", &format!("ssh -i {}", key.display())]).expect(0);
        assert!(is_back());
    }
}

#[test]
fn a_mistake_in_the_line_of_the_key_is_named_and_sftp_is_not() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
    stage.take();
    let server = need!(confined(&stage));
    let run = || server.reached_by(stage.run()).set("backup-name-prefix", "other");
    let restore = || {
        let place = format!("test:{}", stage.beside("back").display());
        server.known_to(stage.look("restore")).arg(&stage.source).set("to", place)
    };
    for (words, asked, said, next) in [
        ("--readonly", run(), "unexpected argument '--readonly'", "correct the command"),
        ("--read-only --root /not/there", run(), "--root /not/there: ", "create the folder"),
        ("--read-only", restore(), "started with --read-only there", "a restore needs another key"),
    ] {
        force(&server, &format!("{BIN} serve {words}"));
        let refused = asked.env("REMOTE_HELPER", "auto").expect(1);
        refused.assert_says(said).assert_says(next).assert_says("~/.ssh/authorized_keys");
        assert!(!refused.said().contains("sftp subsystem"), "{}", refused.said());
        assert_eq!(refused.said().matches(said).count(), 1, "{}", refused.said());
    }
}
