//! `doctor` finds the problems of a new setup and suggests how to fix them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use fixtures::mail_server::{Encryption, MailServer};
use fixtures::need;
use fixtures::run::{Done, Run};
use fixtures::scratch::Scratch;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use fixtures::web::Web;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn stage() -> Stage {
    Stage::with(BIN, &Tree::new().file("a", "1"))
}

fn doctor(stage: &Stage) -> Run {
    stage
        .look("doctor")
        .set("srcs-to-backup", &stage.source)
        .env("CONFIG_DIR", stage.beside("config"))
}

/// `grade: found`, and the suggested fix, of the findings of one check.
fn of(done: &Done, check: &str) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let all = done.objects();
    let found = all.iter().filter(|finding| finding["check"] == check);
    let line = |finding: &serde_json::Value| {
        format!(
            "{}: {} | {}\n",
            text(&finding["grade"]),
            text(&finding["found"]),
            text(&finding["fix"])
        )
    };
    found.map(line).collect()
}

#[test]
fn a_good_setup_passes_and_the_text_is_for_people() {
    let stage = stage();
    let done = doctor(&stage).expect(0);
    done.assert_says("ok    hard links")
        .assert_says("no alert is configured, so that a failure of this job is not reported");
    let done = doctor(&stage).arg("--json").expect(0);
    for check in ["clock", "time zone", "source", "destination", "hard links", "free space"] {
        assert!(!of(&done, check).is_empty(), "{check} in:\n{}", done.stdout);
    }
}

#[test]
fn files_that_root_made_in_the_folder_of_another_user_are_given_back_and_no_others() {
    need!(need::root());
    let stage = stage();
    stage.run_as(1234).expect(0);
    stage.run_as(1234).expect(0);
    let own = stage.backups.join(".backup_manager");
    let outside = stage.beside("outside");
    fs::write(&outside, "root's").unwrap();
    stage.sh(&format!("chown -R 0:0 {}", own.display()));
    stage.run_as(1234).expect(1).assert_says("Permission denied");
    // As a user could where protected_hardlinks is off, in a folder that is moved there.
    fs::hard_link(&outside, own.join("reports/linked.json")).unwrap();
    std::os::unix::fs::symlink(&outside, own.join("reports/symlink.json")).unwrap();
    let found = of(&doctor(&stage).arg("--json").done(), "ownership");
    assert!(found.contains("doctor --give-back") && found.starts_with("warning"), "{found}");
    let found = of(&doctor(&stage).arg("--json").arg("--give-back").done(), "ownership");
    assert!(found.contains("linked.json") && found.contains("symlink.json"), "{found}");
    let owner = |path: &std::path::Path| fs::symlink_metadata(path).unwrap().uid();
    assert_eq!((owner(&own), owner(&outside)), (1234, 0));
    let manifests = own.join("manifests");
    for snapshot in fs::read_dir(&manifests).unwrap() {
        for file in fs::read_dir(snapshot.unwrap().path()).unwrap() {
            assert_eq!(owner(&file.unwrap().path()), 1234, "packs have several names there");
        }
    }
    stage.run_as(1234).expect(0);
}

/// A file of a `NAME_FILE` variable holds a secret that others may read.
#[test]
fn files_of_name_file_variables_are_named() {
    let stage = stage();
    // The mode of a file in memory does not matter: container engines mount secrets so.
    let disk = Scratch::below(need!(need::disk()));
    let secret = disk.join("password");
    fs::write(&secret, "x").unwrap();
    let ask = |mode| {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        doctor(&stage).env("NTFY_TOKEN_FILE", &secret).done()
    };
    for mode in [0o644, 0o666] {
        ask(mode).assert_says("others may read the secrets in").assert_says("password");
    }
    ask(0o666).assert_says("others may change");
    assert!(!ask(0o600).said().contains("others may"));
}

#[test]
fn each_problem_is_reported_with_its_remedy() {
    let stage = stage();
    fs::create_dir(stage.beside("config")).expect("a folder");
    fs::write(stage.beside("config/crontab"), "61 * * * * backup_manager run\n").expect("written");
    let done = doctor(&stage)
        .set("srcs-to-backup", stage.beside("gone"))
        .set("backups-dir", stage.beside("no/such/folder"))
        .env("TZ", "Europe/Nowhere")
        .arg("--json")
        .expect(1);
    for (check, part) in [
        ("source", "it does not exist | check that the path is right"),
        ("destination", "bad: cannot create"),
        ("crontab", "line 1"),
        ("time zone", "TZ=Europe/Berlin"),
    ] {
        assert!(of(&done, check).contains(part), "{check}: {}", of(&done, check));
    }
}

#[test]
fn a_source_that_a_run_could_not_list_is_not_called_good() {
    need!(need::root());
    let stage = stage();
    stage.sh("chmod 700 .; chown 0 .");
    let _ = stage.run_as(1234);
    let doctor = doctor(&stage).program(&stage.beside("backup_manager")).as_user(1234);
    let done = doctor.arg("--json").expect(1);
    assert!(of(&done, "source").contains("cannot list"), "{}", of(&done, "source"));
}

#[test]
fn a_test_is_sent_every_way() {
    let (stage, web, mail) =
        (stage(), Web::start(None), MailServer::start(Encryption::Plain, None));
    let run = doctor(&stage)
        .env("WEBHOOK_URL", format!("{}/T0K3N", web.url))
        .env("PING_URL", "http://127.0.0.1:1/P1NG")
        .set("mail-to", "me@example.org")
        .set("smtp-host", format!("localhost:{}", mail.port))
        .set("smtp-security", "none");
    let done = run.expect(0);
    done.assert_says("set up: mail, webhook, ping");
    let done = run.arg("--notify-test").expect(1);
    done.assert_says("a test was sent by mail").assert_says("could not be sent by ping");
    assert!(!done.said().contains("T0K3N") && !done.said().contains("P1NG"), "{}", done.said());
    assert!(mail.mails()[0].text.contains("this is a test"));
    assert_eq!(web.requests()[0].line, "POST /T0K3N");
}

#[test]
fn a_host_key_is_pinned_when_its_fingerprint_is_the_one_that_was_said() {
    let (stage, mut server) = (stage(), need!(Sshd::serving(Subsystem::Internal)));
    let known = server.path("known_hosts");
    fs::remove_file(&known).expect("removed");
    let doctor = |words: &[&str]| {
        words.iter().fold(server.reached_by(doctor(&stage)), |run, word| run.arg(word))
    };
    let shown = Command::new("ssh-keygen").arg("-lf").arg(server.path("host.pub")).output();
    let shown = String::from_utf8(shown.expect("ssh-keygen").stdout).expect("text");
    let fingerprint = shown.split(' ').nth(1).expect("a fingerprint");
    let done = doctor(&["--json"]).expect(1);
    assert!(of(&done, "connection").contains("doctor --pin"), "{}", of(&done, "connection"));
    doctor(&["--pin"]).expect(1).assert_says(&format!("--pin={fingerprint}"));
    doctor(&["--pin=SHA256:other"]).expect(1).assert_says("nothing was pinned");
    assert!(!known.exists());
    let done = doctor(&[&format!("--pin={fingerprint}")]).expect(0);
    done.assert_says("is pinned in").assert_says("knows this user and offers SFTP");
    assert!(known.exists());
    doctor(&["--pin"]).expect(0).assert_says("is known already");
    server.change_host_key();
    let doctor = server.reached_by(stage.look("doctor").set("srcs-to-backup", &stage.source));
    doctor.arg("--pin").expect(1).assert_says("nothing was pinned").assert_says("ssh-keygen -f ");
}

#[test]
fn the_options_of_rsync_are_those_of_a_run() {
    let (stage, server) = (stage(), need!(Sshd::serving(Subsystem::Internal)));
    let shell = format!("ssh -p {} -l {}", server.port(), server.account());
    let doctor = || server.known_to(doctor(&stage)).set("remote-src-host", "127.0.0.1");
    let done = doctor().rsync(&["-e", &shell]).expect(0);
    done.assert_says("knows this user and offers SFTP");
    doctor().rsync(&["-e", "ssh -o BatchMode=no"]).expect(2).assert_says("is not possible here");
}

#[test]
fn records_of_missing_snapshots_are_listed_and_removed_on_request() {
    let stage = stage();
    for _ in 0..3 {
        stage.take();
    }
    let [gone, moved, there] = &stage.history().complete()[..] else { panic!("three snapshots") };
    let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    stage.look("hold").arg(name(gone)).expect(0);
    stage.look("hold").arg(name(there)).expect(0);
    fs::remove_dir_all(gone).unwrap();
    let away = stage.beside("away");
    fs::rename(moved, &away).unwrap();
    std::os::unix::fs::symlink(&away, moved).unwrap();
    let own = stage.backups.join(".backup_manager");
    let is_there = |file: String| own.join(file).exists();
    let done = doctor(&stage).arg("--json").expect(0);
    let found = of(&done, "orphans");
    assert!(found.contains(&format!("holds/{}", name(gone))), "{found}");
    assert!(found.contains(&format!("reports/{}.json", name(gone))), "{found}");
    assert!(!found.contains(&name(moved)) && !found.contains(&name(there)), "{found}");
    assert!(is_there(format!("holds/{}", name(gone))), "nothing is removed unasked");
    // Not while a run is at work.
    fs::write(stage.source.join("new"), "x").unwrap();
    let hook = format!(
        "touch {0}; while [ -e {0} ]; do sleep 0.05; done",
        stage.beside("at-work").display()
    );
    let mut run = stage.run().set("pre-backup", hook).start();
    assert!(run.until(|| stage.beside("at-work").exists()));
    let done = doctor(&stage).arg("--json").arg("--remove-orphans").expect(0);
    assert!(of(&done, "orphans").contains("a run is at work"), "{}", done.said());
    fs::remove_file(stage.beside("at-work")).unwrap();
    run.wait().assert_code(0);
    let done = doctor(&stage).arg("--json").arg("--remove-orphans").expect(0);
    assert!(of(&done, "orphans").contains(&name(gone)), "{}", done.said());
    for folder in ["holds", "reports", "manifests", "kept"] {
        let left = fs::read_dir(own.join(folder)).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        let of_gone = |entry: &std::ffi::OsString| entry.to_string_lossy().starts_with(&name(gone));
        assert!(!left.iter().any(of_gone), "{folder}: {left:?}");
    }
    for file in [format!("reports/{}.json", name(moved)), format!("holds/{}", name(there))] {
        assert!(is_there(file.clone()), "{file}");
    }
    assert_eq!(of(&doctor(&stage).arg("--json").expect(0), "orphans"), "");
}
