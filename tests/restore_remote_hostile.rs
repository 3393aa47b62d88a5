//! `restore --to user@host:DIR` to servers that lie while they are written to, in every way of the tables in
//! `fixtures/src/liar/lies/written`, and to one without OpenSSH's extensions: the exit code is that of the
//! table, the cause is said, nothing outside of the folder is written, the snapshot is as it was, memory
//! stays bounded, and the same command completes when it is told the truth.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use fixtures::hostile_host::HostileHost;
use fixtures::liar::{Ends, Lie, lies};
use fixtures::need;
use fixtures::need::Missing;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// Restores at once: most of their time is pauses before they connect anew.
const AT_ONCE: usize = 24;
const AT_ONCE_BEHIND_SSHD: usize = 6;

fn endure(lie: &Lie, sshd: bool) -> Result<Result<String, String>, Missing> {
    let scene = HostileHost::new(BIN, sshd, lie.fresh)?;
    let start = Instant::now();
    let end = scene.endure(lie);
    let took = start.elapsed();
    Ok(end
        .map(|done| format!("{:24} {:3} {:7} KiB {took:.1?}", lie.name, done.code, done.peak_kib)))
}

/// Through all lies whose names begin with what `LIE` says, or with `usual`.
fn endure_all(sshd: bool, usual: &str) {
    need!(need::tool("rsync"));
    let some = std::env::var("LIE").unwrap_or_else(|_| usual.to_owned());
    let mut table: Vec<_> = lies::restores().filter(|lie| lie.name.starts_with(&some)).collect();
    // Over several channels each file may have the one handle to itself, and then nothing is wrong with it.
    table.retain(|lie| !sshd || lie.name != "made-handle-same");
    // Those that take longest first.
    table.sort_by_key(|lie| !matches!(lie.ends, Ends::Failed(_)));
    assert!(!some.is_empty() || table.len() >= 100, "{} lies", table.len());
    let (next, wrong, missing) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..if sshd { AT_ONCE_BEHIND_SSHD } else { AT_ONCE } {
            scope.spawn(|| {
                while let Some(lie) = table.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match endure(lie, sshd) {
                        Ok(Ok(line)) => println!("{line}"),
                        Ok(Err(why)) => {
                            let text = format!("=== {}: {}\n{why}", lie.name, lie.does);
                            wrong.lock().expect("no lie panicked").push(text);
                        }
                        Err(need) => *missing.lock().expect("no lie panicked") = Some(need),
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no lie panicked");
    let cut: Vec<_> = wrong.iter().map(|why| why.chars().take(3_000).collect::<String>()).collect();
    assert!(wrong.is_empty(), "{} of {} lies:\n{}", wrong.len(), table.len(), cut.join("\n"));
    need!(missing.into_inner().expect("no lie panicked").map_or(Ok(()), Err));
}

#[test]
fn the_server_serves_a_restore_when_it_is_honest() {
    need!(need::tool("rsync"));
    for fresh in [false, true] {
        let scene = need!(HostileHost::new(BIN, false, fresh));
        if let Err(why) = scene.restores() {
            panic!("fresh: {fresh}\n{why}");
        }
    }
}

#[test]
fn no_lie_of_a_server_does_harm_to_what_is_restored_to_it() {
    need!(need::root());
    endure_all(false, "");
}

/// Each channel is served by a liar of its own there, and a real ssh stands between: some of the lies.
#[test]
fn no_lie_of_a_server_behind_sshd_does_harm_to_what_is_restored_to_it() {
    need!(need::root());
    endure_all(true, "without-");
}
