//! `verify --heal-from user@host:DIR`: the same as from a folder here, and only what is damaged crosses the line.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::need;
use fixtures::proxy::Proxy;
use fixtures::reserved_port::ReservedPort;
use fixtures::run::Run;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;

use crate::heal::{HEALED, assert_whole, copied, copy, files, inside, none_left, results, stage};
use crate::snapshots::{BIN, overwrite, sample, verify};

fn server() -> Result<Sshd, need::Missing> {
    Sshd::serving(Subsystem::Internal)
}

fn heal(stage: &Stage, server: &Sshd) -> Run {
    let from = format!("test:{}", copied(stage).display());
    server.known_to(verify(stage)).env("REMOTE_HELPER", BIN).arg("--heal-from").arg(from)
}

#[test]
fn every_damage_is_healed_from_a_host_with_its_links() {
    let server = need!(server());
    let stage = stage();
    for (what, damage) in HEALED {
        damage(&stage);
        let damaged: Vec<_> =
            stage.history().complete().iter().map(|at| Fingerprint::of(at)).collect();
        let would = results(&heal(&stage, &server).arg("--dry-run").expect(4).objects());
        assert!(!would.is_empty(), "{what}");
        assert!(would.iter().all(|(_, result)| result == "would_heal"), "{what}: {would:?}");
        for (snapshot, before) in stage.history().complete().iter().zip(&damaged) {
            assert_untouched(snapshot, before);
        }
        none_left(&stage, what);
        let copy_before = Fingerprint::of(&copied(&stage));
        let healed = results(&heal(&stage, &server).expect(0).objects());
        assert!(healed.iter().all(|(_, result)| result == "healed"), "{what}: {healed:?}");
        assert_whole(&stage, what);
        assert_untouched(&copied(&stage), &copy_before);
    }
}

#[test]
fn only_what_is_damaged_crosses_the_line() {
    let server = need!(server());
    let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
    let proxy = Proxy::start(address, Duration::ZERO);
    server.write_known_hosts_of(proxy.port(), "host");
    let stage = stage();
    stage.sh("head -c 20000000 /dev/urandom >more");
    stage.take();
    fs::remove_dir_all(copied(&stage)).expect("removed");
    copy(&stage.backups, &copied(&stage));
    overwrite(&inside(&stage, 3).join("large"), 2_000_000, b"flip");
    fs::remove_dir_all(inside(&stage, 0).join("folder")).expect("removed");
    let from = format!("test:{}:{}", proxy.port(), copied(&stage).display());
    let heal = server.known_to(verify(&stage)).env("REMOTE_HELPER", BIN);
    heal.arg("--heal-from").arg(from).expect(0);
    assert_whole(&stage, "over a line");
    let (_, received) = proxy.bytes();
    assert!((3_000_000..4_500_000).contains(&received), "{received}");
}

#[test]
fn what_the_host_has_damaged_or_lacks_is_left_with_the_reason() {
    let server = need!(server());
    let stage = stage();
    overwrite(&inside(&stage, 0).join("large"), 2_000_000, b"flip");
    overwrite(&inside(&stage, 1).join("folder/two"), 100, b"flip");
    overwrite(&inside(&stage, 2).join("folder/new"), 0, b"flip");
    let theirs = |number: usize| {
        let name = stage.history().complete()[number].file_name().expect("a name").to_owned();
        stage.inside(&copied(&stage).join(name))
    };
    overwrite(&theirs(0).join("large"), 2_000_000, b"flop");
    fs::remove_dir_all(copied(&stage).join(stage.history().newest().file_name().expect("a name")))
        .expect("removed");
    let done = heal(&stage, &server).expect(4);
    let results = results(&done.objects());
    let of = |file: &str| {
        let found = results.iter().filter(|(path, _)| path == file);
        found.map(|(_, result)| &result[..]).collect::<Vec<_>>()
    };
    assert_eq!(of("large"), ["left"; 3], "{results:?}");
    assert_eq!(of("folder/two"), ["healed"; 3], "{results:?}");
    assert_eq!(of("folder/new"), ["left"], "{results:?}");
    done.assert_says("the other folder lacks it too: ");
    done.assert_says("the other folder has no snapshot of this name");
    assert_eq!(files(&stage.backups.join(".backup_manager/damaged")), 3);
    none_left(&stage, "partly healed");
}

#[test]
fn what_a_killed_healing_left_is_removed() {
    let server = need!(server());
    let stage = stage();
    overwrite(&inside(&stage, 0).join("large"), 2_000_000, b"flip");
    let left = stage.backups.join(".backup_manager/healing/fetched");
    copy(&copied(&stage), {
        fs::create_dir_all(left.parent().expect("a folder")).expect("made");
        &left
    });
    heal(&stage, &server).expect(0);
    assert_whole(&stage, "after a kill");
}

#[test]
fn a_file_that_a_copy_lacks_comes_from_the_original_on_a_host() {
    let server = need!(server());
    let stage = Stage::with(BIN, &sample());
    stage.take();
    overwrite(&inside(&stage, 0).join("large"), 2_000_000, b"flip");
    stage.look("copy").arg("--to").arg(copied(&stage)).expect(3);
    let good = fs::read(stage.source.join("large")).expect("read");
    fs::write(inside(&stage, 0).join("large"), &good).expect("written");
    let time = fs::metadata(stage.source.join("large")).and_then(|meta| meta.modified());
    let file = fs::File::open(inside(&stage, 0).join("large")).expect("opened");
    file.set_modified(time.expect("a time")).expect("set");
    verify(&stage).expect(0);
    let of_copy = verify(&stage).set("backups-dir", copied(&stage));
    let from = format!("test:{}", stage.backups.display());
    let heal = server.known_to(of_copy).env("REMOTE_HELPER", BIN);
    heal.arg("--heal-from").arg(from).expect(0);
    assert_whole(&stage, "the copy has it");
}

#[test]
fn mistakes_are_refused_with_the_next_step() {
    let server = need!(server());
    let stage = stage();
    overwrite(&inside(&stage, 0).join("large"), 2_000_000, b"flip");
    let before: Vec<_> = stage.history().complete().iter().map(|at| Fingerprint::of(at)).collect();
    let from = |from: String| {
        let run = server.known_to(verify(&stage)).env("REMOTE_HELPER", BIN);
        run.arg("--heal-from").arg(from)
    };
    let itself = format!("test:{}", stage.backups.display());
    from(itself).expect(2).assert_says("are the same folder");
    from("test:99999:/x".to_owned()).expect(2).assert_says("port");
    from(format!("test:{}", stage.beside("missing").display()))
        .expect(4)
        .assert_says("check that both folders are mounted");
    let port = ReservedPort::any();
    let closed = format!("test:{}:/x", port.number());
    from(closed).expect(4).assert_says("nothing was healed: ");
    for (snapshot, before) in stage.history().complete().iter().zip(&before) {
        assert_untouched(snapshot, before);
    }
    none_left(&stage, "nothing was healed");
}
