//! Servers that lie: in every way of the table in `fixtures/src/liar/lies`, behind a real sshd, and in
//! random ways. Nothing outside of the destination is touched, older snapshots are as they were, memory
//! stays bounded, the run ends with a cause, and the next one that is told the truth is whole.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fixtures::fuzz::fuzz;
use fixtures::hostile::Hostile;
use fixtures::liar::{Ends, Lie, lies};
use fixtures::need;
use fixtures::need::Missing;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// Runs at once: most of their time is pauses before they connect anew. A real ssh has work to do meanwhile.
const AT_ONCE: usize = 24;
const AT_ONCE_BEHIND_SSHD: usize = 6;

fn endure(lie: &Lie, sshd: bool) -> Result<Result<String, String>, Missing> {
    let small_disk = matches!(lie.ends, Ends::Full(_));
    let scene = Hostile::new(BIN, sshd, small_disk)?;
    let start = Instant::now();
    let end = scene.endure(lie);
    let took = start.elapsed();
    Ok(end
        .map(|done| format!("{:24} {:3} {:7} KiB {took:.1?}", lie.name, done.code, done.peak_kib)))
}

/// Through all lies whose names begin with what `LIE` says, or with `usual`.
fn endure_all(sshd: bool, usual: &str) {
    let some = std::env::var("LIE").unwrap_or_else(|_| usual.to_owned());
    let mut table: Vec<_> = lies::all().filter(|lie| lie.name.starts_with(&some)).collect();
    // Those that take longest first.
    table.sort_by_key(|lie| !matches!(lie.ends, Ends::Failed(_)));
    assert!(!some.is_empty() || table.len() >= 60, "{} lies", table.len());
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
fn no_lie_of_a_server_does_harm() {
    endure_all(false, "");
}

/// Each channel is served by a liar of its own there, and a real ssh stands between: some of the lies.
#[test]
fn no_lie_of_a_server_behind_sshd_does_harm() {
    endure_all(true, "place-");
}

#[test]
fn answers_that_are_changed_at_random_do_no_harm() {
    need!(fixtures::need::tool("rsync"));
    match fuzz(BIN, Duration::from_secs(25), 1) {
        Ok(line) => println!("{line}"),
        Err(why) => assert!(why.is_empty(), "{why}"),
    }
}
