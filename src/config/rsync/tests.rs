//! Tests of parsing rsync options into the options of a job.

use engine::FilterOption;
use engine::Preserve;
use engine::Window;
use proptest::prelude::*;
use transport::compress::Level;
use transport::local::Follow;

use crate::config::rsync::object::Dict;
use crate::config::rsync::parsed::RsyncOptions;
use crate::config::rsync::remote_program::RemoteProgram;
use crate::config::rsync::row::OptionRow;
use crate::config::rsync::{
    Param, Refusals, long_option, only_local, read_args, read_dict, rows, short_option, wanted,
    without_effect,
};
use crate::schedule::timetable::Timetable;

fn read(args: &[&str]) -> Result<RsyncOptions, Refusals> {
    let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
    read_args(&args).and_then(|params| sum(&params))
}

fn sum(params: &[Param]) -> Result<RsyncOptions, Refusals> {
    wanted(params.iter().map(|param| (param, "")))
}

fn dict(text: &str) -> Result<RsyncOptions, Refusals> {
    let dict = Dict::read(text).map_err(|error| vec![error.to_string()])?;
    read_dict(&dict).and_then(|params| sum(&params))
}

#[test]
fn the_default_switches_are_the_engines_defaults() {
    let defaults =
        crate::config::setting::find::get(crate::config::setting::Key::RsyncSingleParams);
    let args: Vec<&str> = defaults.default.unwrap().split(',').collect();
    let found = read(&args).unwrap();
    assert_eq!(
        found,
        RsyncOptions { keep: Preserve::default(), relative: true, ..RsyncOptions::default() }
    );
}

#[test]
fn each_option_does_what_it_says() {
    type Set = fn(&mut RsyncOptions);
    let cases: &[(&[&str], Set)] = &[
        (&[], |_| {}),
        (&["-a"], |_| {}),
        (&["-rlptgoD"], |w| w.recursive = true),
        (&["-H"], |w| w.keep.hard_links = true),
        (&["--hard-links", "--no-H"], |_| {}),
        (&["-x"], |w| w.keep.one_file_system = true),
        (&["-xx"], |w| (w.keep.one_file_system, w.keep.mount_points) = (true, false)),
        (&["-xx", "--no-x", "-x"], |w| w.keep.one_file_system = true),
        (&["-aHAX"], |w| (w.keep.hard_links, w.keep.acls, w.keep.xattrs) = (true, true, true)),
        (&["--relative"], |w| w.relative = true),
        (&["-R", "--no-relative"], |_| {}),
        (&["-R", "--no-R"], |_| {}),
        (&["--no-implied-dirs"], |w| w.keep.implied_folders = false),
        (&["--no-perms"], |w| w.keep.mode = false),
        (&["--no-p", "-a"], |_| {}),
        (&["--no-o", "--no-g"], |w| (w.keep.owner, w.keep.group) = (false, false)),
        (&["--no-D"], |w| (w.keep.devices, w.keep.specials) = (false, false)),
        (&["--drop-D"], |w| (w.keep.devices, w.keep.specials) = (false, false)),
        (&["--no-D", "--specials"], |w| w.keep.devices = false),
        (&["--no-times"], |w| w.keep.times = false),
        (&["-OJ"], |w| (w.keep.folder_times, w.keep.link_times) = (false, false)),
        (&["--no-links"], |w| w.keep.symlinks = false),
        (&["-L", "-k", "--copy-unsafe-links"], |w| {
            w.follow = Follow { all: true, unsafe_ones: true, folders: true };
        }),
        (&["--safe-links"], |w| w.keep.safe_links = true),
        (&["-c"], |w| w.keep.checksum = true),
        (&["-I", "--size-only"], |w| (w.keep.ignore_times, w.keep.size_only) = (true, true)),
        (&["--modify-window", "2"], |w| w.keep.window = Window::Seconds(2)),
        (&["-@2", "-@=-1"], |_| {}),
        (&["-@0"], |w| w.keep.window = Window::Seconds(0)),
        (&["-z"], |w| w.compress = true),
        (&["--compress-level=9"], |w| {
            (w.compress, w.compress_level) = (true, Level::nearest(9));
        }),
        (&["--zl=99", "-z"], |w| (w.compress, w.compress_level) = (true, Level::nearest(19))),
        (&["--zl=9", "--zl=0"], |w| w.compress = true),
        (&["--zl=-5", "--no-z"], |w| w.compress_level = Level::nearest(1)),
        (&["-W"], |w| w.keep.whole_files = true),
        (&["-W", "--no-W"], |_| {}),
        (&["-vhS", "--progress", "--partial", "-z", "--no-compress", "-P"], |_| {}),
        (&["--delete", "--delete-excluded", "--numeric-ids"], |_| {}),
        (&["--max-size=1.5m"], |w| w.keep.max_size = Some(3 << 19)),
        (&["--min-size", "1k"], |w| w.keep.min_size = Some(1024)),
        (&["--max-delete=0"], |w| w.max_delete = Some(0)),
        (&["--bwlimit=5m"], |w| w.bwlimit = Some(Timetable::constant(Some(5 << 20)))),
        (&["--bwlimit=100", "--no-bwlimit"], |w| w.bwlimit = Some(Timetable::constant(None))),
        (&["--bwlimit=0"], |w| w.bwlimit = Some(Timetable::constant(None))),
        (&["--timeout=30", "--contimeout=5"], |w| {
            (w.timeout, w.contimeout) = (Some(30), Some(5));
        }),
        (&["--timeout=30", "--no-timeout"], |_| {}),
        (&["-m", "-nii", "--stats"], |w| {
            (w.prune_empty, w.dry_run, w.itemize, w.stats) = (true, true, 2, true);
        }),
        (&["-i", "--no-i"], |_| {}),
        (&["-e", "ssh -p 5"], |w| w.shell.port = Some(5)),
        (&["-essh -p 5"], |w| w.shell.port = Some(5)),
        (&["--rsh=ssh -p 5"], |w| w.shell.port = Some(5)),
        (&["--rsync-path", "sudo rsync", "--blocking-io", "-M--fake-super"], |w| {
            w.program = Some(RemoteProgram::Command("sudo backup_manager".to_owned()));
        }),
        (&["--no-atimes", "--no-iconv", "--no-W", "--no-i-r"], |_| {}),
        (&["--files-from=/l", "-r"], |w| {
            (w.files_from, w.recursive) = (Some("/l".into()), true);
        }),
        (&["-6"], |w| w.family = Some('6')),
    ];
    for (args, set) in cases {
        let mut expected = RsyncOptions::default();
        set(&mut expected);
        assert_eq!(read(args), Ok(expected), "{args:?}");
    }
}

#[test]
fn filters_come_in_their_order() {
    let found = read(&["--include=*.c", "-F", "-f", "- *", "--exclude-from", "/f", "-C0"]).unwrap();
    let options: Vec<FilterOption> = found.filters.into_iter().map(|(option, _)| option).collect();
    let expected = [
        FilterOption::Include(b"*.c".to_vec()),
        FilterOption::RuleFiles,
        FilterOption::Rule(b"- *".to_vec()),
        FilterOption::ExcludeFrom("/f".into()),
        FilterOption::Cvs,
        FilterOption::Nul,
    ];
    assert_eq!(options, expected);
    let found = dict(r#"{"--include": ["b", "a"], "--exclude": "*"}"#).unwrap().filters;
    assert_eq!(found[1].0, FilterOption::Include(b"a".to_vec()));
    assert_eq!(found[2].0, FilterOption::Exclude(b"*".to_vec()));
}

#[test]
fn modes_and_owners_are_changed() {
    let found = read(&["--chmod=u+w", "--chmod=D755", "--chown=5:6"]).unwrap();
    assert_eq!(found.users.map(|map| map.map(9)), Some(5));
    assert_eq!(found.groups.map(|map| map.map(9)), Some(6));
    assert_eq!(found.chmod.apply(engine::entry::Kind::Folder, 0), 0o755);
    let found = read(&["--chown=root", "--no-o", "--usermap=*:0"]).unwrap();
    assert_eq!(found.groups, None);
    assert!(found.keep.owner, "--usermap implies --owner");
}

#[test]
fn a_refused_option_is_reported_with_the_reason() {
    for (args, refusals) in [
        (&["--exclud=x"][..], &["did you mean '--exclude'?"][..]),
        (&["--no-recursive"], &["'--no-recursive' is not possible"]),
        (&["--no-delete"], &["rsync has no option '--no-delete'"]),
        (&["--frobnicate", "-j"], &["'--frobnicate'; remove it", "'-j'; remove it"]),
        (&["--inplace"], &["older snapshots share"]),
        (&["--link-dest", "/x"], &["to the previous snapshot; remove it"]),
        (&["--remove-source-files"], &["never writes to its source"]),
        (&["-b"], &["older snapshots contain"]),
        (&["--log-file=x"], &["set LOG_FILE"]),
        (&["-aj"], &["'-j'"]),
        (&["-a\u{e9}"], &["rsync has no option"]),
        (&["relative"], &["'relative' is not an option"]),
        (&[""], &["empty option"]),
        (&["-"], &["'-' is not an option"]),
        (&["--"], &["'--' is not an option"]),
        (&["--delete=yes"], &["'--delete=yes' takes no value"]),
        (&["--no-relativ"], &["did you mean '--no-relative'?"]),
        (&["--x"], &["rsync has no option '--x'"]),
        (&["-x -z"], &["separated by commas"]),
        (&["--bwlimit 100"], &["write '--bwlimit=100'"]),
        (&["--exclude"], &["'--exclude' needs a value; write --exclude=PATTERN"]),
        (&["--exclude="], &["it is empty"]),
        (&["-e"], &["'-e' needs a value"]),
        (&["-e", "rsh"], &["cannot carry SFTP"]),
        (&["--max-size=big"], &["'big' is not a size"]),
        (&["--max-delete=-1"], &["whole number"]),
        (&["--modify-window=x"], &["whole number"]),
        (&["--timeout=1h"], &["whole number"]),
        (&["--timeout=9999999"], &["too many"]),
        (&["--bwlimit=1b"], &["below 512"]),
        (&["--chmod=u+q"], &["is not a mode change"]),
        (&["--chown=:"], &["no user and no group"]),
        (&["--usermap=nobody-here:1"], &["not in /etc/passwd"]),
        (&["--usermap=1:2", "--chown=7"], &["there is another --usermap"]),
        (&["--files-from=-"], &["stdin"]),
        (&["--files-from=host:/x"], &["of this machine"]),
        (&["--no-bwlimit=5"], &["takes no value"]),
    ] {
        let found = read(args).unwrap_err();
        assert_eq!(found.len(), refusals.len(), "{found:?}");
        for (found, expected) in found.iter().zip(refusals) {
            assert!(found.contains(expected), "{found:?} {expected:?}");
        }
    }
}

#[test]
fn a_dict_gives_options_with_values() {
    let mut expected = RsyncOptions::default();
    expected.keep.hard_links = true;
    assert_eq!(dict(r#"{"-H": "", "--delete": null, "--partial": true}"#), Ok(expected.clone()));
    assert_eq!(dict("{'-H': '', '--delete': None}"), Ok(expected));
    assert_eq!(dict(r#"{"-e": "ssh -p 7"}"#).unwrap().shell.port, Some(7));
    assert_eq!(dict(r#"{"--exclude": ["a", "b"]}"#).unwrap().filters.len(), 2);
    for (text, wrong) in [
        (r#"{"-H": "x"}"#, "takes no value"),
        (r#"{"H": ""}"#, "is not an option"),
        (r#"{"": ""}"#, "is not an option"),
        (r#"{"--": ""}"#, "no option '--'"),
        (r#"{"-H": {}}"#, "neither"),
        (r#"{"--bwlimit": 100}"#, "write it in quotes: \"100\""),
        (r#"{"--stats": false}"#, "its value is false"),
        (r#"{"--exclude": ""}"#, "needs a value"),
        (r#"{"--exclude": [["a"]]}"#, "neither"),
        (r#"{"-x": "y", "-b": ""}"#, "takes no value"),
    ] {
        let wrong = wrong.replace("its value is false", "is false");
        assert!(dict(text).unwrap_err()[0].contains(&wrong), "{text} {:?}", dict(text));
    }
}

#[test]
fn options_without_effect_are_reported_with_the_reason() {
    let args: Vec<Vec<u8>> =
        ["-Xz", "-W", "--no-atimes", "-v"].iter().map(|arg| arg.as_bytes().to_vec()).collect();
    let params = read_args(&args).unwrap();
    let local = without_effect(&params, false);
    assert!(local[0].starts_with("-z (") && local[1].starts_with("--no-atimes ("), "{local:?}");
    assert_eq!(local.len(), 3);
    assert!(without_effect(&params, true)[0].starts_with("--no-atimes ("));
    let remote = only_local(&params);
    assert!(remote.len() == 1 && remote[0].starts_with("-X (SFTP"), "{remote:?}");
}

#[test]
fn the_table_names_no_option_twice() {
    let mut names: Vec<String> = rows().flat_map(OptionRow::names).map(str::to_owned).collect();
    names.extend(rows().filter_map(|row| row.short).map(String::from));
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn every_row_says_why() {
    for row in rows() {
        assert!(!row.about.is_empty(), "{}", row.written());
    }
}

#[test]
fn every_option_that_rsync_lists_has_a_row() {
    let Ok(help) = std::process::Command::new("rsync").arg("--help").output() else { return };
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let options = help.split_once("Options").map_or("", |(_, options)| options).lines();
    let mut count = 0;
    for line in options.filter(|line| line.starts_with('-')) {
        let column = line.find("  ").unwrap_or(line.len());
        for name in line[..column].split(", ") {
            let name = name.trim_end_matches(" (*)");
            count += 1;
            let known = match name.strip_prefix("--") {
                Some("no-OPTION") => true,
                Some(long) => {
                    let (long, value) =
                        long.split_once('=').map_or((long, false), |(l, _)| (l, true));
                    long_option(long).is_ok_and(|(row, _)| row.value.is_some() == value)
                }
                None => short_option(name.chars().nth(1).unwrap_or(' ')).is_ok(),
            };
            assert!(known, "{name}");
        }
    }
    assert!(count > 150, "{count}");
}

/// A text that looks like an option of the table.
fn any_option() -> impl Strategy<Value = String> {
    let rows: Vec<&'static OptionRow> = rows().collect();
    let value = prop_oneof![Just(String::new()), "[ -~]{0,8}", Just("1".to_owned())];
    (proptest::sample::select(rows), 0..6, value).prop_map(|(row, form, value)| {
        let letter = row.short.map(|letter| format!("-{letter}"));
        match form {
            0 => row.written(),
            1 => format!("{}={value}", row.written()),
            2 => format!("--no-{}", row.long),
            3 => letter.unwrap_or(value),
            4 => letter.map_or_else(|| "--".to_owned(), |letter| letter + &value),
            _ => value,
        }
    })
}

proptest! {
    #[test]
    fn any_options_are_read_or_refused_in_one_line_each(
        args in proptest::collection::vec(any_option(), 0..8)
    ) {
        let bytes: Vec<Vec<u8>> = args.iter().map(|arg| arg.clone().into_bytes()).collect();
        match read_args(&bytes) {
            Ok(params) => { let _ = sum(&params); }
            Err(refusals) => prop_assert!(!refusals.is_empty()),
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..6)
    ) {
        let _ = read_args(&args);
    }

    #[test]
    fn any_dict_is_read_or_refused(text in "[{}\\[\\]()'\":,a-zNTF\\\\ -]{0,40}") {
        if let Ok(dict) = Dict::read(&text) {
            let _ = read_dict(&dict);
        }
    }
}
