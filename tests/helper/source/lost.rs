//! Connections that break and helpers that die: the run connects again and goes on.

use std::net::SocketAddr;
use std::time::Duration;

use fixtures::bulk::{big_file, big_tree};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::proxy::Proxy;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::{BIN, OVER_SFTP, run};

#[test]
fn a_cut_line_is_made_again_and_every_listing_and_file_goes_on() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let line = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port())), Duration::ZERO);
    server.write_known_hosts_of(line.port(), "host");
    let stage = Stage::with(BIN, &Tree::new());
    big_tree(&stage.source, 2_000, 300, 1);
    big_file(&stage.source.join("large"), 30 << 20, 2);
    let address = format!("{}@127.0.0.1:{}", server.account(), line.port());
    let mut cuts = 0;
    for after in [20_000, 120_000, 300_000, 5_000_000, 20_000_000] {
        line.cut_after(after);
        let prefix = format!("cut-{after}");
        let run = run(&server, &stage)
            .set("remote-src-host", &address)
            .set("backup-name-prefix", &prefix);
        let done = run.expect(0);
        assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
        if done.said().contains("connecting again") {
            cuts += 1;
        } else {
            // Only shown when the test fails.
            println!("not cut after {after} bytes: {}", done.said());
        }
        let newest = fixtures::history::History::new(&stage.backups, &prefix).newest();
        Judge::plain().assert_same(&stage.source, &stage.inside(&newest));
    }
    assert!(cuts >= 3, "only {cuts} runs were cut");
}

#[test]
fn a_helper_that_is_killed_is_started_again() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new());
    big_file(&stage.source.join("large"), 60 << 20, 2);
    let count = stage.beside("starts");
    // The first two helpers die in the middle of the file.
    let script = format!(
        "#!/bin/sh\necho x >>{count}\nif [ $(wc -l <{count}) -le 2 ]; then\n{BIN} \"$@\" | stdbuf -o0 head -c 9000000\nelse\nexec {BIN} \"$@\"\nfi\n",
        count = count.display()
    );
    let mortal = stage.beside("mortal");
    std::fs::write(&mortal, script).unwrap();
    stage.sh("chmod 755 ../mortal");
    let helper = mortal.to_str().unwrap();
    let run = server.reached_by(stage.run()).env("REMOTE_HELPER", helper).set("sftp-channels", "1");
    run.expect(0).assert_says("connecting again");
    stage.assert_newest_is_source(Judge::plain());
    // It went on behind what had arrived.
    assert_eq!(stage.counts()["bytes_copied"], 60 << 20);
}
