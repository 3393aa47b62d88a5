//! Wrong clocks: ahead, behind, at the limits of their range, or stopped. Backups continue, and
//! nothing is lost.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fixtures::clock::{Clock, Shift, seconds_to, time_at};
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::stamp;
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
const DAY: i64 = 86_400;

fn stage() -> Stage {
    let tree = Tree::new().file("one", "first").random_file("folder/two", 5_000, 1);
    Stage::with(BIN, &tree)
}

/// Limits of clocks and of their integer types, and times in between, each with the expected day in
/// the name. Linux does not accept a time before 1970 (settimeofday(2)).
const TIMES: [(i64, &str); 7] = [
    (100, "01-01-1970"),
    (951_782_400, "29-02-2000"),
    (2_147_483_700, "19-01-2038"),
    (4_102_444_900, "01-01-2100"),
    (4_294_967_400, "07-02-2106"),
    (7_000_000_000, "27-10-2191"),
    (253_400_000_000, "05-12-9999"),
];

#[test]
fn at_any_time_all_commands_work_and_later_ones_at_the_right_time_too() {
    let clock = need!(Clock::new());
    for (second, day) in TIMES {
        let stage = stage();
        let shift = Shift::By(seconds_to(second));
        let then = |run| clock.shifted(run, shift);
        then(stage.run()).expect(0);
        let first = stage.history().newest();
        assert!(first.display().to_string().contains(&format!("my_backup.{day}_")), "{first:?}");
        // The minimum time works at that time as well.
        then(stage.run().set("minimum-time-guard-h", "20")).expect(0);
        assert_eq!(stage.history().complete().len(), 1, "{day}: held");
        stage.sh("echo more >>one");
        then(stage.run()).expect(0);
        stage.assert_newest_is_source(Judge::plain());
        stage.assert_linked("folder/two");
        for verb in ["list", "verify", "prune"] {
            then(stage.look(verb)).expect(0);
        }
        then(stage.look("restore").set("to", stage.beside("back")).arg(&stage.source)).expect(0);
        Judge::plain().assert_same(&stage.source, &stage.beside("back/source"));
        // Back at the real time, with the usual minimum time.
        let before: Vec<_> = stage.history().complete();
        let prints: Vec<_> = before.iter().map(|path| Fingerprint::of(path)).collect();
        stage.sh("echo still more >>one");
        let done = stage.run().set("minimum-time-guard-h", "20").expect(0);
        if seconds_to(second) > 0 {
            done.assert_says("from the future");
        }
        assert_eq!(stage.history().complete().len(), 3, "{day}: {}", done.said());
        let new = stage.history().complete().into_iter().find(|path| !before.contains(path));
        Judge::plain().assert_same(&stage.source, &stage.inside(&new.expect("it made one")));
        for (path, print) in before.iter().zip(&prints) {
            assert_untouched(path, print);
        }
        for verb in ["list", "verify", "prune"] {
            stage.look(verb).expect(0);
        }
        stage.look("verify").arg("--all").expect(0);
    }
}

#[test]
fn a_year_that_a_name_cannot_tell_fails_and_says_so() {
    let clock = need!(Clock::new());
    let stage = stage();
    let first = stage.take();
    let done = clock.shifted(stage.run(), Shift::By(seconds_to(253_402_300_900))).expect(1);
    done.assert_says("cannot be written with four digits");
    assert_eq!(stage.history().complete(), [first]);
    stage.take();
}

#[test]
fn back_and_forth_by_days_every_run_is_whole_and_stays() {
    let clock = need!(Clock::new());
    let stage = stage();
    for (number, days) in [0, 3, -2, 0, 1, -400, 30, 0, -1].into_iter().enumerate() {
        stage.sh(&format!("echo {number} >>one"));
        let before = stage.history().complete();
        let run = stage.run().set("max-backups", "3");
        clock.shifted(run, Shift::By(days * DAY)).expect(0);
        let now = stage.history().complete();
        let new: Vec<_> = now.iter().filter(|path| !before.contains(path)).collect();
        let [new] = new[..] else { panic!("{number}: one is new: {now:?}") };
        Judge::plain().assert_same(&stage.source, &stage.inside(new));
        let day = &stamp(time_at(days * DAY))[..10];
        assert!(new.display().to_string().contains(day), "{number}: {new:?}");
        assert_eq!(now.len(), before.len().min(2) + 1, "{number}: {now:?}");
    }
}

#[test]
fn an_interrupted_one_from_the_future_is_resumed_and_gets_the_right_name() {
    let clock = need!(Clock::new());
    need!(need::tool("strace"));
    let stage = stage();
    let killed = stage.run().killed_at_time(4);
    let killed = clock.shifted(killed, Shift::By(9_000 * DAY)).done();
    assert_eq!(killed.code, 137, "{}", killed.said());
    assert_eq!(stage.history().incomplete().len(), 1);
    stage.run().set("minimum-time-guard-h", "20").expect(0);
    let newest = stage.history().newest();
    assert!(newest.display().to_string().contains(&stamp(time_at(0))[..10]), "{newest:?}");
    assert!(stage.history().incomplete().is_empty());
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_clock_that_stands_still_gives_no_two_the_same_name() {
    let clock = need!(Clock::new());
    let stage = stage();
    for second in [1_000_000_000, 0] {
        for count in 1..=3 {
            let before = stage.history().complete().len();
            clock.shifted(stage.run(), Shift::Standing(second)).expect(0);
            assert_eq!(stage.history().complete().len(), before + 1, "run {count} at {second}");
        }
    }
    for snapshot in stage.history().complete() {
        Judge::plain().assert_same(&stage.source, &stage.inside(&snapshot));
    }
    stage.look("verify").arg("--all").expect(0);
}

/// The destination's clock goes back between two runs, so the times in the journal are useless.
#[test]
fn a_checkpoint_from_the_future_makes_nothing_trusted() {
    need!(need::tool("strace"));
    let stage = stage();
    let killed = stage.run().injecting(&["syncfs:signal=KILL:when=1"]).done();
    assert_eq!(killed.code, 1, "{}", killed.said());
    let incomplete = stage.history().incomplete().remove(0);
    let journal = stage.backups.join(".backup_manager/journal/my_backup.json");
    let text = fs::read(&journal).expect("it is there");
    let mut noted: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    noted["durable_before"] = serde_json::json!({"secs": seconds_to(0).abs() + DAY, "nanos": 0});
    noted["sync_failed"] = false.into();
    fs::write(&journal, noted.to_string()).expect("it can be written");
    // The state that a power cut would leave.
    let torn = stage.inside(&incomplete).join("folder/two");
    let time = torn.metadata().and_then(|meta| meta.modified()).expect("it is there");
    let file = fs::File::options().write(true).open(&torn).expect("it can be written");
    file.write_all_at(b"torn", 9).expect("it can be written");
    file.set_modified(time).expect("it can be set");
    stage.run().expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_time_that_the_clocks_show_twice_picks_the_later_snapshot() {
    let stage = stage();
    for time in ["25-10-2026_00-15-00", "25-10-2026_01-15-00", "25-10-2026_02-15-00"] {
        let folder = stage.backups.join(format!("my_backup.{time}/x"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("f"), time).unwrap();
    }
    for zone in ["CET-1CEST,M3.5.0,M10.5.0/3", "Europe/Berlin"] {
        // A POSIX-style rule needs no time zone database.
        if !zone.contains(',') && !Path::new("/usr/share/zoneinfo").join(zone).exists() {
            continue;
        }
        let back = stage.beside(&format!("back-{}", zone.len()));
        let restore = stage.look("restore").env("TZ", zone).arg("2026-10-25 02:30").arg("/x/f");
        restore.set("to", &back).expect(0);
        assert_eq!(fs::read_to_string(back.join("f")).unwrap(), "25-10-2026_01-15-00", "{zone}");
    }
}

#[test]
fn a_clock_behind_the_newest_snapshot_is_reported_and_takes_one_snapshot_in_the_minimum_time() {
    let clock = need!(Clock::new());
    let hour = 3_600;
    // Back by an hour, by more than the minimum time, and to 1970; the clock then runs on from
    // there.
    for back in [-hour, -30 * hour, seconds_to(hour)] {
        let stage = stage();
        let guarded = |shift| clock.shifted(stage.run().set("minimum-time-guard-h", "20"), shift);
        stage.run().set("minimum-time-guard-h", "20").expect(0);
        for number in 0..3 {
            let done = guarded(Shift::By(back + number)).expect(0);
            done.assert_says("the clock is wrong").assert_says("nothing to do");
        }
        assert_eq!(stage.history().complete().len(), 1, "{back}");
        // The time since boot advances even if the clock does not.
        let short = stage.run().set("minimum-time-guard-h", "0");
        clock.shifted(short, Shift::By(back)).expect(0);
        assert_eq!(stage.history().complete().len(), 2, "{back}");
    }
}

#[test]
fn a_clock_that_was_never_set_is_unhealthy() {
    let clock = need!(Clock::new());
    let stage = stage();
    let shift = Shift::By(seconds_to(3_600));
    clock.shifted(stage.run(), shift).expect(0);
    let status = stage.look("status").arg("--check").set("srcs-to-backup", &stage.source);
    clock.shifted(status, shift).expect(1).assert_says("the clock was never set");
}
