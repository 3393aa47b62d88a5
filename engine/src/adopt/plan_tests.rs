use chrono::{NaiveDate, TimeDelta, TimeZone};
use proptest::prelude::*;

use super::*;

/// Berlin in 2026: the clocks skip 02:00 to 03:00 on 29 March, and show it twice on 25 October.
fn berlin(local: NaiveDateTime) -> MappedLocalTime<DateTime<Utc>> {
    let at = |month, day, hour| {
        NaiveDate::from_ymd_opt(2026, month, day).unwrap().and_hms_opt(hour, 0, 0).unwrap()
    };
    let utc = |hours| Utc.from_utc_datetime(&(local - TimeDelta::hours(hours)));
    let (gap, begin, end) = (at(3, 29, 2), at(10, 25, 2), at(10, 25, 3));
    match local {
        _ if local >= gap && local < gap + TimeDelta::hours(1) => MappedLocalTime::None,
        // As chrono's `Local`: the later one first.
        _ if local >= begin && local < end => MappedLocalTime::Ambiguous(utc(1), utc(2)),
        _ if local > gap && local < begin => MappedLocalTime::Single(utc(2)),
        _ => MappedLocalTime::Single(utc(1)),
    }
}

fn seen(name: &str, kind: Kind, seconds: i64) -> Seen {
    Seen {
        name: CString::new(name).unwrap(),
        kind,
        seconds,
        target: None,
        tree: TreeState::Fit { errors: false },
    }
}

fn folder(name: &str) -> Seen {
    seen(name, Kind::Folder, 0)
}

fn with_tree(name: &str, tree: TreeState) -> Seen {
    Seen { tree, ..folder(name) }
}

fn link(name: &str, target: &str) -> Seen {
    Seen { target: Some(target.into()), ..seen(name, Kind::Symlink, 0) }
}

fn planned(seen: &[Seen]) -> Plan {
    let prefix = Prefix::new("b").unwrap();
    plan(&Facts { seen, label: None, prefix: &prefix, zone: &berlin, taken: &|_| None })
}

/// `old -> new`, and the reasons why the others stay or prevent the adoption.
fn shown(plan: &Plan) -> (Vec<String>, Vec<String>, Vec<String>) {
    let name = |name: &CString| name.to_string_lossy().into_owned();
    let becomes = plan.renames.iter().map(|rename| {
        let inside =
            rename.inside.as_ref().map(|inside| format!("/{}", name(inside))).unwrap_or_default();
        let stamp = rename.to.to_string();
        format!("{}{inside} -> {}", name(&rename.folder), stamp.strip_prefix("b.").unwrap())
    });
    let left = plan.left.iter().map(|(at, why)| format!("{}: {why}", name(at)));
    let obstacles = plan.obstacles.iter().map(|(at, why)| format!("{}: {why}", name(at)));
    (becomes.collect(), left.collect(), obstacles.collect())
}

#[test]
fn local_times_become_utc_in_summer_and_winter() {
    let plan = planned(&[
        folder("2026-07-01-120000"),
        folder("2026-01-01-003000"),
        folder("2026-12-31-235959"),
        link("latest", "2026-12-31-235959"),
        seen("backup.marker", Kind::File, 0),
    ]);
    let (becomes, left, obstacles) = shown(&plan);
    assert_eq!(
        becomes,
        [
            "2026-01-01-003000 -> 31-12-2025_23-30-00",
            "2026-07-01-120000 -> 01-07-2026_10-00-00",
            "2026-12-31-235959 -> 31-12-2026_22-59-59",
        ]
    );
    assert_eq!(
        left,
        [
            "backup.marker: a file of rsync-time-backup, not a snapshot",
            "latest: a file of rsync-time-backup, not a snapshot",
        ]
    );
    assert_eq!(obstacles, [""; 0]);
}

#[test]
fn names_of_a_repeated_hour_stay_distinct_and_in_order() {
    let names = ["015959", "020000", "023000", "025959", "030000"];
    let all: Vec<Seen> =
        names.iter().rev().map(|time| folder(&format!("2026-10-25-{time}"))).collect();
    let plan = planned(&all);
    assert_eq!(
        shown(&plan).0,
        [
            "2026-10-25-015959 -> 24-10-2026_23-59-59",
            "2026-10-25-020000 -> 25-10-2026_01-00-00",
            "2026-10-25-023000 -> 25-10-2026_01-30-00",
            "2026-10-25-025959 -> 25-10-2026_01-59-59",
            "2026-10-25-030000 -> 25-10-2026_02-00-00",
        ]
    );
    let notes: Vec<_> = plan.renames.iter().map(|rename| rename.note).collect();
    let repeated = Some(Note::RepeatedHour);
    assert_eq!(notes, [None, repeated, repeated, repeated, None]);
    assert_eq!(plan.obstacles, []);
}

#[test]
fn a_time_that_the_clocks_skipped_is_an_obstacle() {
    let plan = planned(&[folder("2026-03-29-023000"), folder("2026-03-29-030000")]);
    assert_eq!(
        shown(&plan).2,
        ["2026-03-29-023000: the clocks of this time zone never showed this time"]
    );
    assert_eq!(shown(&plan).0, ["2026-03-29-030000 -> 29-03-2026_01-00-00"]);
}

#[test]
fn the_snapshot_of_back_in_time_is_the_folder_backup_in_it() {
    let backup = || c"backup".to_owned();
    let plan = planned(&[
        folder("20260701-120000-123"),
        with_tree("20260702-120000-123", TreeState::Fit { errors: true }),
        with_tree("20260703-120000-123", TreeState::Left(LeftAlone::NoTree(backup()))),
        with_tree("20260704-120000-123", TreeState::Left(LeftAlone::NoRealTree(backup()))),
        folder("new_snapshot"),
        link("last_snapshot", "20260702-120000-123"),
    ]);
    let (becomes, left, obstacles) = shown(&plan);
    assert_eq!(
        becomes,
        [
            "20260701-120000-123/backup -> 01-07-2026_10-00-00",
            "20260702-120000-123/backup -> 02-07-2026_10-00-00",
        ]
    );
    assert_eq!(plan.renames[1].note, Some(Note::Errors));
    assert_eq!(
        left,
        [
            "20260703-120000-123: it contains no folder backup",
            "20260704-120000-123: backup in it is not a folder",
            "last_snapshot: a file of Back In Time, not a snapshot",
            "new_snapshot: a file of Back In Time, not a snapshot",
        ]
    );
    assert_eq!(obstacles, [""; 0]);
}

#[test]
fn the_times_of_rsnapshot_are_those_of_the_folders() {
    let all = [
        seen("hourly.0", Kind::Folder, 1_790_000_000),
        seen("hourly.1", Kind::Folder, 1_789_990_000),
        seen("daily.0", Kind::Folder, 1_789_900_000),
        seen("daily.2", Kind::Folder, 1_789_700_000),
        seen(".sync", Kind::Folder, 1_790_000_001),
        seen("_delete.17", Kind::Folder, 1_790_000_001),
        seen("linux-6.1", Kind::Folder, 1_700_000_000),
        seen("notes", Kind::File, 0),
    ];
    let (becomes, left, obstacles) = shown(&planned(&all));
    assert_eq!(
        becomes,
        [
            "daily.2 -> 18-09-2026_02-53-20",
            "daily.0 -> 20-09-2026_10-26-40",
            "hourly.1 -> 21-09-2026_11-26-40",
            "hourly.0 -> 21-09-2026_14-13-20",
        ]
    );
    assert_eq!(
        left,
        [
            ".sync: a file of rsnapshot, not a snapshot",
            "_delete.17: a file of rsnapshot, not a snapshot",
            "linux-6.1: there is no linux-6.0, so it is not taken for a snapshot of rsnapshot",
            "notes: the name is not that of a snapshot",
        ]
    );
    assert_eq!(obstacles, [""; 0]);
    let prefix = Prefix::new("b").unwrap();
    let label = Some(c"localhost");
    let taken = |_: &SnapshotName| None;
    let facts = Facts { seen: &all, label, prefix: &prefix, zone: &berlin, taken: &taken };
    assert_eq!(shown(&plan(&facts)).0[0], "daily.2/localhost -> 18-09-2026_02-53-20");
}

#[test]
fn equal_times_and_times_in_the_wrong_order_are_obstacles() {
    let plan = planned(&[
        seen("daily.0", Kind::Folder, 1_790_000_000),
        seen("daily.1", Kind::Folder, 1_790_000_000),
        seen("daily.2", Kind::Folder, 1_790_000_007),
    ]);
    assert_eq!(
        shown(&plan).2,
        [
            "daily.1: it and daily.0 would both become b.21-09-2026_14-13-20",
            "daily.1: its modification time is earlier than that of daily.2, which is older",
        ]
    );
    let plan = planned(&[folder("20260701-120000-123"), folder("20260701-120000-124")]);
    assert_eq!(
        shown(&plan).2,
        ["20260701-120000-124: it and 20260701-120000-123 would both become b.01-07-2026_10-00-00"]
    );
    let far = planned(&[seen("daily.0", Kind::Folder, 400_000_000_000)]);
    assert_eq!(shown(&far).2, ["daily.0: its modification time has no year of four digits"]);
}

#[test]
fn what_rsync_time_backup_did_not_complete_stays() {
    let two = || vec![folder("2026-01-01-120000"), folder("2026-01-02-120000")];
    let first = "2026-01-01-120000 -> 01-01-2026_11-00-00";
    for (further, why) in [
        (
            seen("backup.inprogress", Kind::File, 0),
            "2026-01-02-120000: backup.inprogress says that rsync-time-backup has not completed it",
        ),
        (
            link("latest", "2026-01-01-120000"),
            "2026-01-02-120000: it is newer than the one that the symlink latest names, so it was not completed",
        ),
        (
            link("latest", "/mnt/x/2026-01-01-120000"),
            "2026-01-02-120000: it is newer than the one that the symlink latest names, so it was not completed",
        ),
    ] {
        let (becomes, left, obstacles) = shown(&planned(&[two(), vec![further]].concat()));
        assert_eq!((&becomes[..], &obstacles[..]), (&[first.to_owned()][..], &[][..]));
        assert_eq!(left[0], why);
    }
    for harmless in [link("latest", "2026-01-02-120000"), link("latest", "elsewhere")] {
        assert_eq!(planned(&[two(), vec![harmless]].concat()).renames.len(), 2);
    }
}

#[test]
fn only_real_folders_are_adopted() {
    let plan = planned(&[
        link("daily.0", "/somewhere"),
        seen("daily.1", Kind::Folder, 1_790_000_000),
        link("2026-01-01-120000", "2026-01-02-120000"),
        seen("2026-01-03-120000", Kind::File, 0),
        link("20260101-120000-111", "/"),
        seen("20260102-120000-111", Kind::Fifo, 0),
    ]);
    let (becomes, left, obstacles) = shown(&plan);
    assert_eq!((becomes.len(), obstacles.len()), (0, 0));
    assert_eq!(
        left,
        [
            "2026-01-01-120000: it is a symlink, not a folder",
            "2026-01-03-120000: it is not a folder",
            "20260101-120000-111: it is a symlink, not a folder",
            "20260102-120000-111: it is not a folder",
            "daily.0: it is a symlink, not a folder",
            "daily.1: there is no daily.0, so it is not taken for a snapshot of rsnapshot",
        ]
    );
}

#[test]
fn impossible_dates_names_in_use_and_refused_folders_are_obstacles() {
    let refused = TreeState::Refused(c"2026-01-05-120000".to_owned(), Obstacle::OtherFileSystem);
    let all = [
        folder("2026-02-30-120000"),
        folder("20261301-120000-111"),
        folder("2026-01-04-120000"),
        with_tree("2026-01-05-120000", refused),
        folder("b.01-01-2026_00-00-00"),
        folder(".backup_manager"),
    ];
    let prefix = Prefix::new("b").unwrap();
    let taken = |name: &SnapshotName| Some(Obstacle::Exists(name.to_string()));
    let facts = Facts { seen: &all, label: None, prefix: &prefix, zone: &berlin, taken: &taken };
    let (becomes, left, obstacles) = shown(&plan(&facts));
    assert_eq!((becomes.len(), left.len()), (0, 0), "our own folders are not mentioned");
    assert_eq!(
        obstacles,
        [
            "2026-01-04-120000: b.04-01-2026_11-00-00 exists in the backups folder",
            "2026-01-05-120000: it is on another file system than the backups folder",
            "2026-02-30-120000: it is named like a snapshot of rsync-time-backup, but there is no such date or time",
            "20261301-120000-111: it is named like a snapshot of Back In Time, but there is no such date or time",
        ]
    );
}

#[test]
fn snapshots_of_two_programs_are_two_histories() {
    let plan = planned(&[folder("2026-01-01-120000"), folder("20260102-120000-111")]);
    assert_eq!(
        shown(&plan).2,
        [
            "2026-01-01-120000: it is a snapshot of rsync-time-backup, others here are of Back In Time: these are two histories"
        ]
    );
}

#[test]
fn the_plan_knows_what_the_next_run_removes() {
    let days = ["01", "02", "03", "04"];
    let plan = planned(&days.map(|day| folder(&format!("2026-01-{day}-120000"))));
    let now = Utc.with_ymd_and_hms(2026, 1, 6, 0, 0, 0).unwrap();
    let removed = |max, there| {
        let retention = Retention { max: std::num::NonZeroUsize::new(max), ..Retention::default() };
        let gone = plan.removed_by_next_run(there, &retention, now);
        gone.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let held = Candidate {
        name: SnapshotName::parse(&Prefix::new("b").unwrap(), b"b.05-12-2025_00-00-00").unwrap(),
        held: true,
        damaged: false,
        frozen: false,
    };
    assert_eq!(removed(5, Vec::new()), [""; 0]);
    assert_eq!(removed(4, Vec::new()), ["b.01-01-2026_11-00-00"]);
    let loose = Candidate { held: false, ..held.clone() };
    assert_eq!(removed(5, vec![held]), [""; 0]);
    assert_eq!(removed(4, vec![loose]), ["b.05-12-2025_00-00-00", "b.01-01-2026_11-00-00"]);
    assert_eq!(Plan::default().removed_by_next_run(Vec::new(), &Retention::default(), now), []);
}

proptest! {
    /// Without obstacles all new names are distinct and in the order of the old ones.
    #[test]
    fn names_with_times_keep_their_order(
        times in proptest::collection::btree_set(0_i64..366 * 86_400, 1..40),
    ) {
        let begin = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap();
        let name = |seconds: &i64| {
            let time = begin + TimeDelta::seconds(*seconds);
            time.format("%Y-%m-%d-%H%M%S").to_string()
        };
        let names: Vec<String> = times.iter().map(name).collect();
        let plan = planned(&names.iter().rev().map(|name| folder(name)).collect::<Vec<_>>());
        let renamed: Vec<_> = plan.renames.iter().map(|rename| rename.folder.to_str().unwrap()).collect();
        let mut sorted = renamed.clone();
        sorted.sort_unstable();
        prop_assert_eq!(&renamed, &sorted);
        let skipped = plan.obstacles.iter().filter(|(_, obstacle)| *obstacle == Obstacle::SkippedHour);
        prop_assert_eq!(skipped.count(), plan.obstacles.len());
        prop_assert_eq!(plan.renames.len() + plan.obstacles.len(), names.len());
    }
}
