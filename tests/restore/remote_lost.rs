//! `restore --to user@host:DIR` with connections that break or stall, after signals, and to hosts
//! that refuse: existing files are complete, and the same command continues.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use fixtures::bulk::{big_file, big_tree};
use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::need::Missing;
use fixtures::proxy::Proxy;
use fixtures::random::Random;
use fixtures::run::Run;
use fixtures::scan::scan;
use fixtures::sshd::{NOBODY_ID, Plan, Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

use crate::{BIN, Over};

const MIB: u64 = 1 << 20;

/// A snapshot, and a server behind a proxy.
struct Scene {
    over: Over,
    stage: Stage,
    server: Sshd,
    line: Proxy,
}

impl Scene {
    fn new(over: Over, files: u64, large: u64) -> Result<Self, Missing> {
        let server = Sshd::serving(Subsystem::Internal)?;
        let line = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port())), Duration::ZERO);
        server.write_known_hosts_of(line.port(), "host");
        let stage = Stage::new(BIN);
        big_tree(&stage.source.join("tree"), files, files / 10 + 1, 1);
        big_file(&stage.source.join("large"), large, 1);
        stage.take();
        fs::create_dir(stage.beside("tmp")).expect("a folder");
        Ok(Self { over, stage, server, line })
    }

    fn run(&self) -> Run {
        let to =
            format!("{}@127.0.0.1:{}", self.server.account(), self.stage.beside("back").display());
        let port = self.line.port().to_string();
        let run = self.server.known_to(self.over.set(self.stage.look("restore"))).set("to", to);
        run.set("ssh-port", port).env("TMPDIR", self.stage.beside("tmp")).arg(&self.stage.source)
    }

    /// Fails the test when a file under its final name is incomplete, or local files are left
    /// behind.
    fn assert_whole(&self) {
        let (source, back) = (scan(&self.stage.source), scan(&self.stage.beside("back")));
        for (path, found) in back.iter().filter(|(_, found)| found.is_file()) {
            let Some(path) = path.strip_prefix(b"source/") else { continue };
            let temporary = path.windows(9).any(|part| part == b"restoring");
            assert!(
                temporary || source.get(path).is_some_and(|whole| whole.content == found.content),
                "{}",
                path.escape_ascii()
            );
        }
        let left: Vec<_> =
            fs::read_dir(self.stage.beside("tmp")).expect("it is there").flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(self.server.clients(), Vec::<u32>::new(), "ssh is still there");
    }

    fn assert_restored(&self) {
        let back = self.stage.beside("back/source");
        self.over.judge().assert_same(&self.stage.source, &back);
        self.assert_whole();
    }
}

#[test]
fn a_line_that_is_cut_at_random_does_not_show() {
    for over in Over::BOTH {
        for seed in 0..2 {
            let scene = need!(Scene::new(over, 600, 30 * MIB));
            let mut random = Random::new(seed);
            let mut running = scene.run().start();
            let mut cuts = 0;
            while cuts < 5 {
                scene.line.cut_after(random.below(9 * MIB));
                let connections = scene.line.connections();
                if !running.until(|| scene.line.connections() > connections) {
                    break;
                }
                cuts += 1;
            }
            scene.line.cut_after(u64::MAX);
            running.wait().assert_code(0);
            println!("seed {seed}: {cuts} cuts");
            assert!(cuts > 0, "it was over before the line was cut");
            scene.assert_restored();
        }
    }
}

#[test]
fn a_large_file_goes_on_where_the_line_was_cut() {
    for over in Over::BOTH {
        let scene = need!(Scene::new(over, 1, 60 * MIB));
        let sent = || scene.line.bytes().0;
        let mut running = scene.run().start();
        for part in 1..=3 {
            let connections = scene.line.connections();
            assert!(running.until(|| sent() > part * 15 * MIB), "it is under way");
            scene.line.cut();
            assert!(running.until(|| scene.line.connections() > connections), "it connects anew");
        }
        running.wait().assert_code(0);
        scene.assert_restored();
        // Data in flight is sent again, and no more, including the buffers of the proxy.
        assert!(sent() < 150 * MIB, "{} MiB were sent", sent() / MIB);
    }
}

#[test]
fn a_host_that_does_not_come_back_ends_it_and_the_same_command_goes_on() {
    for over in Over::BOTH {
        let scene = need!(Scene::new(over, 300, 40 * MIB));
        let mut running = scene.run().start();
        assert!(running.until(|| scene.line.bytes().0 > 10 * MIB), "it is under way");
        scene.line.refuse(true);
        scene.line.cut();
        let done = running.wait();
        done.assert_code(1).assert_says("the connection was lost");
        done.assert_says("the same command continues where it stopped");
        assert!(done.lines_with("FAILED") == 0, "nothing is wrong with single entries");
        scene.assert_whole();
        scene.line.refuse(false);
        scene.run().expect(0);
        scene.assert_restored();
    }
}

#[test]
fn a_line_that_stalls_is_given_up_after_the_time_for_an_answer() {
    for over in Over::BOTH {
        let scene = need!(Scene::new(over, 300, 40 * MIB));
        let mut running = scene.run().set("answer-timeout-s", "2").start();
        assert!(running.until(|| scene.line.bytes().0 > 10 * MIB), "it is under way");
        let connections = scene.line.connections();
        scene.line.stall();
        // The next connection stalls too, until the proxy forwards again.
        assert!(running.until(|| scene.line.connections() > connections), "it connects anew");
        scene.line.cut();
        scene.line.resume();
        running.wait().assert_code(0);
        scene.assert_restored();
    }
}

#[test]
fn signals_stop_it_within_seconds_and_the_same_command_goes_on() {
    for over in Over::BOTH {
        let scene = need!(Scene::new(over, 1_000, 200 * MIB));
        for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
            let before = scene.line.bytes().0;
            let mut running = scene.run().start();
            assert!(running.until(|| scene.line.bytes().0 > before + 5 * MIB), "it is under way");
            running.signal(signal);
            let done = running.wait();
            done.assert_code(code).assert_says("the same command continues where it stopped");
            scene.assert_whole();
        }
        let mut running = scene.run().start();
        let before = scene.line.bytes().0;
        assert!(running.until(|| scene.line.bytes().0 > before + 5 * MIB), "it is under way");
        running.signal(Signal::KILL);
        running.wait();
        scene.run().expect(0);
        let back = scene.stage.beside("back/source");
        over.judge().assert_same(&scene.stage.source, &back);
    }
}

#[test]
fn a_full_disk_there_ends_it_with_its_name() {
    for over in Over::BOTH {
        need!(need::root());
        let server = need!(Sshd::serving(Subsystem::Internal));
        let disk = need!(LoopFs::ext4(16));
        let stage = Stage::new(BIN);
        big_file(&stage.source.join("large"), 40 * MIB, 1);
        stage.take();
        let to = format!("test:{}", disk.path().join("back").display());
        let run = server.known_to(over.set(stage.look("restore"))).set("to", to).arg(&stage.source);
        run.expect(1).assert_says("no space left where it is restored to, at source/large");
        assert!(!disk.path().join("back/source/large").exists());
    }
}

#[test]
fn entries_that_cannot_be_written_are_listed_and_the_others_restored() {
    let server = need!(Plan::new(Subsystem::Internal).serving_nobody().start());
    let tree = Tree::new()
        .file("open/file", "1")
        .file("closed/file", "2")
        .file("closed/other", "2")
        .file("top", "3");
    let stage = Stage::with(BIN, &tree);
    stage.sh("chown -R 65534:65534 .");
    stage.take();
    let back = stage.beside("back/source");
    fs::create_dir_all(back.join("closed")).unwrap();
    for folder in [stage.beside("back"), back.clone()] {
        std::os::unix::fs::chown(folder, Some(NOBODY_ID), Some(NOBODY_ID)).unwrap();
    }
    let to = format!("test:{}", stage.beside("back").display());
    let run = server.known_to(stage.look("restore")).set("to", to).arg(&stage.source);
    let done = run.expect(3);
    for name in ["file", "other"] {
        done.assert_says(&format!("source/closed/{name}: the server says: permission denied"));
    }
    assert_eq!(fs::read_to_string(back.join("open/file")).unwrap(), "1");
    assert_eq!(fs::read_to_string(back.join("top")).unwrap(), "3");
}

#[test]
fn a_server_with_few_handles_takes_everything() {
    let server = need!(Plan::new(Subsystem::Program).descriptors(24).start());
    let stage = Stage::new(BIN);
    big_tree(&stage.source.join("tree"), 500, 20, 1);
    stage.take();
    let to = format!("test:{}", stage.beside("back").display());
    server.known_to(stage.look("restore")).set("to", to).arg(&stage.source).expect(0);
    Judge::sent_by_sftp().assert_same(&stage.source, &stage.beside("back/source"));
}

#[test]
fn a_host_that_is_not_reached_or_not_known_is_named_and_nothing_is_made() {
    let mut server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("file", "x"));
    stage.take();
    let run = |to: &str| {
        let to = format!("{to}:{}", stage.beside("back").display());
        server.known_to(stage.look("restore")).set("to", to).arg(&stage.source)
    };
    run("nobody.invalid").expect(1).assert_says("check the spelling of the host");
    run("127.0.0.1").set("ssh-port", "1").expect(1).assert_says("--ssh-port PORT");
    for (to, words) in [
        ("-oProxyCommand=x", "the host starts with '-'"),
        ("a b", "a character that is not allowed"),
        ("@host", "the user is empty"),
    ] {
        run(to).expect(2).assert_says(words).assert_says("write user@host:DIR");
    }
    let port = stage.look("restore").set("to", stage.beside("back")).set("ssh-port", "22");
    port.arg(&stage.source).expect(2).assert_says("--ssh-port is for a folder on another machine");
    let strange = run("test");
    server.change_host_key();
    strange.expect(1).assert_says("the host key of").assert_says("ssh-keygen");
    assert!(!stage.beside("back").exists(), "nothing is made");
    // A key that is pinned in the configuration folder counts.
    let config = stage.beside("config");
    fs::create_dir(&config).unwrap();
    pin(&server, &config.join("known_hosts"));
    fs::write(server.path("known_hosts"), "").unwrap();
    strange.env("CONFIG_DIR", &config).expect(0);
    Judge::sent_by_sftp().assert_same(&stage.source, &stage.beside("back/source"));
}

/// Writes the server's key in the form in which ssh looks it up.
fn pin(server: &Sshd, file: &Path) {
    let key = fs::read_to_string(server.path("host.pub")).expect("it is there");
    fs::write(file, format!("[127.0.0.1]:{} {key}", server.port())).expect("it is there");
}
