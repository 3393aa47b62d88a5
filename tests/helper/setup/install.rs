//! `REMOTE_HELPER=install`: the program copies itself to the account on the host.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::need::Missing;
use fixtures::patience::wait_for;
use fixtures::proxy::Proxy;
use fixtures::run::Run;
use fixtures::sshd::{Plan, Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::{BIN, OVER_SFTP};

/// What a run logs when it has copied the program.
pub(crate) const COPIED: &str = "backup_manager was copied there";

/// A host, and a program without debug information, which is a third of the size: `program/bin/backup_manager`.
pub(crate) struct Host {
    pub(crate) stage: Stage,
    pub(crate) server: Sshd,
}

impl Host {
    pub(crate) fn new() -> Result<Self, Missing> {
        Self::with(|_, plan| plan)
    }

    /// `change` gets a folder for programs, too.
    pub(crate) fn with(change: impl FnOnce(&Path, Plan) -> Plan) -> Result<Self, Missing> {
        need::tool("strip")?;
        let stage = Stage::with(BIN, &Tree::new().file("folder/file", "content"));
        let top = stage.beside("program");
        for folder in ["bin", "libexec/backup_manager", "fake"] {
            fs::create_dir_all(top.join(folder)).expect("a new folder");
        }
        // Another process writes the file, see `Sshd::write_wrapper`.
        let strip = Command::new("strip").arg("-o").arg(program(&stage)).arg(BIN).status();
        assert!(strip.expect("strip starts").success());
        let server = change(&top.join("fake"), Plan::new(Subsystem::Program)).start()?;
        Ok(Self { stage, server })
    }

    /// A run that may copy the program.
    pub(crate) fn run(&self) -> Run {
        self.reaches(self.stage.run())
    }

    fn reaches(&self, run: Run) -> Run {
        let run = self.server.reached_by(run).program(&program(&self.stage));
        run.env("REMOTE_HELPER", "install")
    }

    /// What `doctor` says.
    pub(crate) fn doctor(&self) -> String {
        let doctor = self.stage.look("doctor").set("srcs-to-backup", &self.stage.source);
        self.reaches(doctor).done().said()
    }

    /// The folder for helpers on the host.
    pub(crate) fn folder(&self) -> PathBuf {
        self.server.path(".cache/backup_manager")
    }

    /// Puts a file there.
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.folder()).expect("a folder");
        fs::write(self.folder().join(name), content).expect("a file");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.folder().join(name), mode).expect("a file");
    }

    /// The names in that folder.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.folder()).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Takes a snapshot through the copy, and returns what was said.
    #[track_caller]
    fn takes(&self) -> String {
        let done = self.run().expect(0);
        assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
        self.stage.assert_newest_is_source(Judge::plain());
        done.said()
    }
}

/// The program without debug information.
pub(crate) fn program(stage: &Stage) -> PathBuf {
    stage.beside("program/bin/backup_manager")
}

/// The name of the copy of the program.
pub(crate) fn copy(stage: &Stage) -> String {
    let hash = blake3::hash(&fs::read(program(stage)).expect("the program")).to_string();
    format!("backup_manager-{}-{}", env!("CARGO_PKG_VERSION"), &hash[..16])
}

/// Shell commands that greet as a far end of this version and protocol number, below 128 both, that writes if `writes`.
pub(crate) fn greets(protocol: u8, writes: bool, version: &str) -> String {
    let features = u8::from(writes);
    let length = 8 + version.len();
    let size = version.len();
    format!(
        "printf '\\0\\0\\0\\{length:03o}\\0\\0\\0\\0\\0\\{protocol:03o}\\{features:03o}\\{size:03o}{version}'\n"
    )
}

#[test]
fn an_empty_home_gets_a_copy_and_the_next_run_copies_nothing() {
    let host = need!(Host::new());
    let said = host.takes();
    assert!(said.contains(COPIED), "{said}");
    let name = copy(&host.stage);
    assert_eq!(host.names(), BTreeSet::from([name.clone()]));
    let path = host.folder().join(&name);
    let found = || fs::metadata(&path).unwrap();
    assert_eq!(found().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(host.folder()).unwrap().mode() & 0o7777, 0o700);
    assert!(fs::read(&path).unwrap() == fs::read(program(&host.stage)).unwrap());
    let first = found();
    let again = host.takes();
    assert!(!again.contains(COPIED), "{again}");
    assert_eq!((found().ino(), found().mtime()), (first.ino(), first.mtime()));
    // Without the permission to copy, the copy is used as well.
    let auto = host.run().env("REMOTE_HELPER", "auto").expect(0);
    assert!(!auto.said().contains(OVER_SFTP), "{}", auto.said());
}

#[test]
fn the_host_needs_no_more_programs_than_the_docs_say() {
    let host = need!(Host::with(|few, plan| {
        for program in ["sh", "uname", "mkdir", "chmod", "cat", "mv", "rm"] {
            std::os::unix::fs::symlink(format!("/bin/{program}"), few.join(program)).unwrap();
        }
        let few = few.display();
        plan.line(format!("ForceCommand PATH={few} sh -c \"$SSH_ORIGINAL_COMMAND\""))
    }));
    assert!(host.takes().contains(COPIED));
    assert_eq!(host.names(), BTreeSet::from([copy(&host.stage)]));
}

#[test]
fn only_older_copies_and_old_remains_are_removed() {
    let host = need!(Host::new());
    let hash = "0123456789abcdef";
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (old, newer) =
        (format!("backup_manager-0.0.1-{hash}"), format!("backup_manager-99.0.0-{hash}"));
    let (left, under_way) = (format!(".new-1000-{hash}"), format!(".new-{}-{hash}", now.as_secs()));
    for name in [&old, &newer, &left, &under_way] {
        host.put(name, "#!/bin/sh\nexit 9\n");
    }
    host.put("notes", "of the user");
    assert!(host.takes().contains(COPIED));
    let kept = [copy(&host.stage), newer, under_way, "notes".to_owned()];
    assert_eq!(host.names(), BTreeSet::from(kept));
}

#[test]
fn a_helper_that_is_older_broken_or_strange_is_replaced() {
    let host = need!(Host::new());
    let script = |text: &str| format!("#!/bin/sh\n{text}\n").into_bytes();
    let foreign = [&b"\x7fELF\x02\x01\x01"[..], &[0; 64]].concat();
    for (helper, content) in [
        ("backup_manager", script(&(greets(1, false, "0.0.9") + "cat >/dev/null"))),
        ("backup_manager", script(&(greets(2, false, "9.0.0") + "cat >/dev/null"))),
        ("backup_manager", script("echo 'a text that is no greeting'")),
        ("backup_manager", script("kill -9 $$")),
        // Of another machine.
        ("backup_manager", foreign.clone()),
        // What a power cut can leave of a copy.
        (&copy(&host.stage), Vec::new()),
        (&copy(&host.stage), foreign),
    ] {
        let _ = fs::remove_dir_all(host.folder());
        host.put(helper, &content);
        let said = host.takes();
        assert!(said.contains(COPIED), "{helper} {content:?}: {said}");
        assert!(host.names().contains(&copy(&host.stage)), "{:?}", host.names());
    }
}

#[test]
fn a_newer_helper_of_the_same_protocol_is_used() {
    let host = need!(Host::new());
    let newer = greets(1, false, "9.0.0");
    // The real far end, with another version in its greeting, which has the same length.
    let script = format!(
        "#!/bin/sh\n{BIN} \"$@\" | {{ dd bs=1 count=17 >/dev/null 2>&1; {} cat; }}\n",
        newer.replace('\n', ";")
    );
    host.put("backup_manager", script);
    let said = host.takes();
    assert!(!said.contains(COPIED), "{said}");
    assert_eq!(host.names(), BTreeSet::from(["backup_manager".to_owned()]));
}

#[test]
fn a_host_with_another_machine_gets_the_program_for_it() {
    let says = |machine: &'static str| {
        Host::with(move |fake, plan| {
            fs::write(fake.join("uname"), format!("#!/bin/sh\necho Linux {machine}\n")).unwrap();
            fs::set_permissions(fake.join("uname"), fs::Permissions::from_mode(0o755)).unwrap();
            let fake = fake.display();
            plan.line(format!("ForceCommand PATH={fake}:$PATH sh -c \"$SSH_ORIGINAL_COMMAND\""))
        })
    };
    let other = if cfg!(target_arch = "x86_64") { "aarch64" } else { "x86_64" };
    let host = need!(says(other));
    let shipped = format!("program/libexec/backup_manager/backup_manager-{other}-linux");
    let shipped = host.stage.beside(&shipped);
    let over_sftp = |host: &Host, why: &str| {
        let done = host.run().expect(0);
        done.assert_says(OVER_SFTP).assert_says(why);
        host.stage.assert_newest_is_source(Judge::sftp());
        assert_eq!(host.names(), BTreeSet::new());
    };
    over_sftp(&host, &format!("there is no backup_manager here for its system (Linux {other})"));
    // A program that does not start there.
    fs::write(&shipped, "\x7fELF\x02\x01\x01").unwrap();
    over_sftp(&host, "the copy does not answer there as it should");
    // The host says that it is the other machine, so this machine's program has the other's name.
    fs::copy(program(&host.stage), &shipped).unwrap();
    assert!(host.takes().contains(COPIED));

    let host = need!(says("armv7l"));
    over_sftp(&host, "there is no backup_manager here for its system (Linux armv7l)");
}

#[test]
fn an_upload_that_is_cut_leaves_nothing_and_the_next_run_tries_again() {
    let host = need!(Host::new());
    let line = Proxy::start(SocketAddr::from(([127, 0, 0, 1], host.server.port())), Duration::ZERO);
    host.server.write_known_hosts_of(line.port(), "host");
    let address = format!("{}@127.0.0.1:{}", host.server.account(), line.port());
    let run = || host.run().set("remote-src-host", &address);
    for after in [30_000, 1_000_000, 3_000_000] {
        line.cut_after(after);
        let done = run().done();
        assert!([0, 1].contains(&done.code), "{}", done.said());
        wait_for(
            "end of the script",
            || format!("{:?}", host.names()),
            || host.names().is_empty() || host.names() == BTreeSet::from([copy(&host.stage)]),
        );
        assert_eq!(host.names(), BTreeSet::new(), "cut after {after}: {}", done.said());
    }
    let done = run().expect(0);
    done.assert_says(COPIED);
    host.stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn backup_machines_that_copy_at_the_same_time_do_not_disturb_each_other() {
    let host = need!(Host::new());
    let other = need!(Host::new());
    // The same host, and a program that has another hash.
    let mut more = Command::new("sh");
    more.args(["-c", "echo more >>\"$1\"", "sh"]).arg(program(&other.stage));
    assert!(more.status().unwrap().success());
    let theirs = host.server.reached_by(other.stage.run()).program(&program(&other.stage));
    let theirs = theirs.env("REMOTE_HELPER", "install").start();
    let ours = host.run().start();
    for done in [ours.wait(), theirs.wait()] {
        done.assert_code(0);
        assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
    }
    let names = host.names();
    let copies = [copy(&host.stage), copy(&other.stage)];
    assert!(!names.is_empty() && names.iter().all(|name| copies.contains(name)), "{names:?}");
}

#[test]
fn a_dry_run_copies_nothing() {
    let host = need!(Host::new());
    let dry_run = || host.run().arg("--dry-run").expect(0);
    dry_run().assert_says(OVER_SFTP).assert_says("this command writes nothing");
    assert!(!host.folder().exists());
    // It uses what is there.
    host.takes();
    assert!(!dry_run().said().contains(OVER_SFTP), "{}", dry_run().said());
}
