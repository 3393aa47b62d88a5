//! Random sequences of actions, compared with a model of the invariants; a failing sequence is
//! shortened.
//!
//! `make model` runs for an hour or the given time; the default test takes a few fixed seeds.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use fixtures::model::{Action, Ends, Model, Operation, sequence};
use fixtures::need;
use fixtures::scratch::Scratch;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The number of actions in a sequence.
const LENGTH: usize = 16;

/// The number of seeds by default.
const EVERY_DAY: u64 = 10;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// The actions of a seed: all, or those with the numbers in `ONLY`, as a failure prints them.
fn actions(seed: u64) -> Vec<(usize, Action)> {
    let only: Option<Vec<usize>> = std::env::var("ONLY")
        .ok()
        .map(|only| only.split(',').filter_map(|number| number.parse().ok()).collect());
    let numbered = sequence(seed, LENGTH).into_iter().enumerate();
    numbered.filter(|(at, _)| only.as_ref().is_none_or(|only| only.contains(at))).collect()
}

#[test]
fn whatever_happens_the_rules_hold() {
    let model = need!(Model::new(BIN));
    let (started, first) = (Instant::now(), number("SEED").unwrap_or(1));
    let (time, only) = (number("SECONDS"), std::env::var_os("ONLY").is_some());
    let more = |seed: &u64| match time {
        _ if only => *seed == first,
        Some(seconds) => started.elapsed().as_secs() < seconds,
        None => *seed < first + EVERY_DAY,
    };
    let (mut done, mut ends) = (0, Ends::new());
    for seed in (first..).take_while(more) {
        let actions = actions(seed);
        match model.try_out(seed, &actions) {
            Ok(found) => {
                found.into_iter().for_each(|(how, times)| *ends.entry(how).or_default() += times);
            }
            Err(wrong) => panic!("SEED={seed}: {wrong}"),
        }
        done += actions.len();
        println!("seed {seed} holds, {:.0?} in all", started.elapsed());
    }
    println!("{done} actions from seed {first} on, none wrong: {ends:#?}");
}

/// A program that breaks a rule must be caught; otherwise the test above proves nothing.
#[test]
fn a_program_that_breaks_a_rule_is_caught_with_as_few_actions_as_it_takes() {
    use Action::{Change, Do, Hold};
    // It claims to hold snapshots but does not.
    let scratch = Scratch::new();
    let program = scratch.join("broken");
    let script = format!("#!/bin/sh\n[ \"$1\" = hold ] || exec {BIN} \"$@\"\n");
    std::fs::write(&program, script).expect("it can be written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("it can be set");
    let model = need!(Model::new(&program.to_string_lossy()));
    let noise = [
        Do(Operation::Verify),
        Change(1),
        Do(Operation::Run(4, 0)),
        Do(Operation::Restore(1)),
        Change(2),
    ];
    let broken = [
        Hold(0),
        Do(Operation::Run(4, 0)),
        Change(3),
        Do(Operation::Prune(1)),
        Do(Operation::Verify),
    ];
    let actions: Vec<_> = noise.into_iter().chain(broken).enumerate().collect();
    let wrong = model.try_out(1, &actions).expect_err("it is broken");
    let needed: Vec<_> = wrong.needed.iter().map(|(number, _)| *number).collect();
    // A run before the hold serves as well as the one after it.
    assert!([vec![2, 5, 8], vec![5, 6, 8]].contains(&needed), "{wrong}");
    assert!(wrong.what.contains(" is gone"), "{wrong}");
}
