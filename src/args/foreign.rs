//! Hints for options and commands of other programs (rsync, restic, borg, rsnapshot): what does it here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::config::rsync::{long_option, short_option};
use crate::term::shell::word;

/// An option of another program.
struct ForeignOption {
    names: &'static [&'static str],
    /// The commands that the hint is for; empty means all.
    verbs: &'static [&'static str],
    hint: &'static str,
}

const fn row(
    names: &'static [&'static str],
    verbs: &'static [&'static str],
    hint: &'static str,
) -> ForeignOption {
    ForeignOption { names, verbs, hint }
}

/// The commands that read a source, and so take rsync's options after `--`.
const READS_SOURCE: &[&str] = &["run", "diff"];

/// The first row that fits counts.
const OPTIONS: &[ForeignOption] = &[
    row(
        &[
            "--target",
            "--dest",
            "--destination",
            "--output",
            "--out",
            "--into",
            "--restore-to",
            "-o",
            "-t",
            "-d",
        ],
        &["restore"],
        "write --to DIR, or --in-place to restore to where it came from",
    ),
    row(&["--inplace", "--original", "--overwrite-original"], &["restore"], "write --in-place"),
    row(
        &["--force", "-f", "--replace", "--clobber"],
        &["restore"],
        "write --overwrite changed (or newer, always) to replace what differs; --yes does not ask",
    ),
    row(
        &["--include", "--exclude", "--path", "--pattern", "--files", "-i"],
        &["restore"],
        "restore takes no filters: name the paths after the snapshot (restore latest PATH...)",
    ),
    row(
        &["--snapshot", "--id", "--archive", "--at", "--date", "--time", "--revision", "-s", "-r"],
        &["restore", "diff", "verify", "hold", "release", "prune"],
        "the snapshot has no option: write its name, latest, a date or an age as a word of its own",
    ),
    row(
        &["--last", "--latest"],
        &["restore", "diff", "verify", "hold", "release"],
        "write the word latest",
    ),
    row(
        &["--read-data", "--verify-data", "--full", "--all-snapshots"],
        &["verify"],
        "verify reads the data always; --all reads all snapshots, --sample 5% and --rolling 30d a part",
    ),
    row(&["--read-data-subset"], &["verify"], "write --sample 5% or --rolling 30d"),
    row(
        &["--repair"],
        &["verify"],
        "verify --heal-from DIR brings damaged files from another copy; the next run copies them again from the source",
    ),
    row(
        &["--force", "-f", "--immediately", "--ignore-guard"],
        &["run"],
        "write --now to take a snapshot although the newest is young",
    ),
    row(
        &["--dryrun", "--simulate", "--no-act", "--noop", "--what-if", "--test", "-N"],
        &["run", "restore"],
        "write --dry-run (-n)",
    ),
    row(
        &["--dry-run", "-n"],
        &["prune"],
        "prune shows only what it would remove, unless you give --yes",
    ),
    row(
        &["--keep-within", "--keep-secondly", "--keep-minutely", "--keep-tag", "--keep-13weekly"],
        &[],
        "write --keep-last, --keep-hourly, --keep-daily, --keep-weekly, --keep-monthly or --keep-yearly with a number",
    ),
    row(
        &["--keep", "--retain", "--retention", "--max-snapshots", "--max", "--rotate", "--copies"],
        &[],
        "write --max-backups COUNT, or --keep-daily COUNT and the like",
    ),
    row(
        &[
            "--repo",
            "--repository",
            "--repository-file",
            "--backup-dir",
            "--backups",
            "--backups-folder",
            "--snapshot-root",
            "--snapshot_root",
            "--dest",
            "--destination",
            "--target",
            "-r",
        ],
        &[],
        "write --backups-dir DIR",
    ),
    row(
        &[
            "--source",
            "--sources",
            "--src",
            "--srcs",
            "--paths",
            "--files",
            "--folders",
            "--backup",
        ],
        &[],
        "write --srcs-to-backup PATHS, separated by commas",
    ),
    row(
        &["--host", "--remote", "--remote-host", "--ssh", "--server"],
        &[],
        "write --remote-src-host USER@HOST[:PORT]",
    ),
    row(
        &["--port", "--ssh-port", "-p"],
        &[],
        "write the port into --remote-src-host USER@HOST:PORT",
    ),
    row(&["--prefix", "--name", "--tag", "--label"], &[], "write --backup-name-prefix PREFIX"),
    row(
        &["--guard", "--min-age", "--interval"],
        &[],
        "write --minimum-time-guard-h HOURS, or --now to ignore it once",
    ),
    row(&["--configfile", "--config-file", "--conf", "-c"], &[], "write --config FILE"),
    row(&["--logfile", "--log"], &[], "write --log-file FILE"),
    row(
        &["--quiet", "--silent", "-q"],
        &[],
        "redirect stdout (>/dev/null): warnings and errors go to stderr",
    ),
    row(
        &["--verbose", "--debug", "--progress", "--stats", "-v", "-P"],
        &[],
        "a terminal shows progress; run -- -i prints each change, run -- --stats the totals",
    ),
    row(
        &[
            "--password-file",
            "--password",
            "--passphrase",
            "--encryption",
            "--encrypt",
            "--key-file",
            "--key",
        ],
        &[],
        "snapshots are plain folders without encryption; encrypt the disk that holds them",
    ),
    row(
        &["--compression", "--compress-level"],
        &[],
        "snapshots are plain files and not compressed",
    ),
    row(
        &["--long", "--format", "--sort", "--short", "-l", "-a"],
        &["list"],
        "list shows everything that it knows; --json prints it for programs",
    ),
];

/// Commands of other programs, and what does that here.
const VERBS: &[(&[&str], &str)] = &[
    (
        &["backup", "create", "snapshot", "sync", "start", "daily", "hourly", "weekly", "monthly"],
        "run takes a snapshot",
    ),
    (
        &["snapshots", "archives", "ls", "info", "show"],
        "list shows the snapshots; each is a folder for ls and a file manager",
    ),
    (
        &["check", "fsck", "scrub", "test"],
        "verify reads the snapshots and compares hashes; doctor checks the setup",
    ),
    (
        &["configtest", "check-config", "config"],
        "doctor checks the setup; run --dry-run shows what a run would do",
    ),
    (
        &["forget", "purge", "delete", "rm", "remove", "clean", "cleanup", "compact", "gc"],
        "prune removes snapshots that the retention does not keep, or named ones",
    ),
    (&["extract", "recover", "get", "checkout", "dump", "cat"], "restore brings files back"),
    (&["mount", "umount", "browse"], "snapshots are plain folders: look into the backups folder"),
    (&["init", "setup", "init-repo"], "there is nothing to set up: run makes the backups folder"),
    (
        &["unlock", "break-lock"],
        "there is nothing to unlock: the lock of a run ends with its process",
    ),
    (&["log", "versions", "annotate"], "history shows every version of a file"),
    (&["search", "locate", "grep"], "find shows which snapshots have a file"),
    (&["compare", "changes", "du", "stats"], "diff shows what differs; list shows sizes"),
    (&["pin", "keep", "lock", "tag"], "hold pins a snapshot, release lets it go"),
    (&["unpin", "unhold"], "release lets a snapshot go"),
    (&["health", "state", "version"], "status shows the state of each job; --version the version"),
    (&["cron", "service", "server", "watch", "schedule"], "daemon runs a crontab"),
];

/// The names that the hints are for, with their commands; those of commands have none.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = (&'static [&'static str], &'static [&'static str])> {
    let options = OPTIONS.iter().map(|row| (row.verbs, row.names));
    options.chain(VERBS.iter().map(|(names, _)| (&[][..], *names)))
}

/// The hint for a command line that clap refused. `words` are the words of the command line, the program first.
pub(crate) fn hint(error: &clap::Error, words: &[OsString]) -> Option<String> {
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let option = text(error, ContextKind::InvalidArg)?;
            let option = option.split('=').next().unwrap_or(option);
            match words.get(1).is_some_and(|first| first.as_bytes().starts_with(b"-")) {
                true => Some("the command comes first: backup_manager run, list, restore ... and then its options".to_owned()),
                false => of_option(option, words),
            }
        }
        ErrorKind::MissingRequiredArgument => without(words),
        ErrorKind::InvalidSubcommand => of_verb(text(error, ContextKind::InvalidSubcommand)?),
        _ => None,
    }
}

/// Removes clap's suggestions from `error`, where they lead astray: all beside a hint of ours, and always the one to
/// write an unknown option after `--`, where each command expects something else.
pub(crate) fn keep_own_hint(error: &mut clap::Error, has_hint: bool) {
    if error.kind() == ErrorKind::UnknownArgument || has_hint {
        error.remove(ContextKind::Suggested);
    }
    if has_hint {
        // The usage then shows the suggested option.
        if error.remove(ContextKind::SuggestedArg).is_some() {
            error.remove(ContextKind::Usage);
        }
        error.remove(ContextKind::SuggestedSubcommand);
    }
}

/// What to write where a command has too few words.
fn without(words: &[OsString]) -> Option<String> {
    let hint = match words.get(1)?.to_str()? {
        "restore" => "--to DIR restores into a folder, --in-place to where it came from",
        "diff" => {
            "name snapshots: diff latest~1 latest compares two, diff latest the newest with the source"
        }
        "hold" | "release" => "name snapshots, such as latest; list shows them",
        "find" => "name a file, or a pattern in quotes: find '*.odt'",
        "history" => "name a file or folder: history /home/uname/thesis.odt",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text),
        _ => None,
    }
}

fn of_verb(verb: &str) -> Option<String> {
    let verb = verb.to_lowercase();
    let known = VERBS.iter().find(|(names, _)| names.contains(&verb.as_str()));
    known.map(|(_, hint)| (*hint).to_owned())
}

fn of_option(option: &str, words: &[OsString]) -> Option<String> {
    let verb = words.get(1).map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let fits = |row: &&ForeignOption| row.verbs.is_empty() || row.verbs.contains(&verb.as_str());
    let mut rows = OPTIONS.iter().filter(|row| row.names.contains(&option)).filter(fits);
    let own = rows.next();
    let reads = READS_SOURCE.contains(&verb.as_str());
    match own {
        // A hint for this very command goes before rsync's option of that name.
        Some(row) if !row.verbs.is_empty() => Some(row.hint.to_owned()),
        _ if reads && is_rsyncs(option) => Some(format!(
            "rsync's options come after '--': backup_manager {verb} ... -- {}",
            as_given(option, words)
        )),
        Some(row) => Some(row.hint.to_owned()),
        None if is_rsyncs(option) => Some(format!(
            "that is an option of rsync's, for run and diff: backup_manager run ... -- {}",
            as_given(option, words)
        )),
        None => None,
    }
}

/// Whether rsync has an option of this name.
fn is_rsyncs(option: &str) -> bool {
    match option.strip_prefix("--") {
        Some(long) => long_option(long).is_ok(),
        None => option.chars().nth(1).is_some_and(|letter| short_option(letter).is_ok()),
    }
}

/// The option with the value that was given, for the shell.
fn as_given(option: &str, words: &[OsString]) -> String {
    let at = words.iter().position(|word| {
        let word = word.as_bytes();
        word.strip_prefix(option.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'=')
    });
    let Some(at) = at else { return word(option.as_bytes()) };
    let given = words[at].as_bytes();
    let value = words.get(at + 1).map(|word| word.as_bytes());
    let takes_value = option
        .strip_prefix("--")
        .is_some_and(|long| long_option(long).is_ok_and(|(row, _)| row.value.is_some()));
    match value {
        Some(value) if given == option.as_bytes() && takes_value => {
            word(&[given, b"=", value].concat())
        }
        _ => word(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(option: &str, line: &str) -> String {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        of_option(option, &words).unwrap_or_default()
    }

    #[test]
    fn an_option_of_another_program_has_the_right_hint() {
        for (option, line, expected) in [
            ("--exclude", "bm run --exclude *.tmp", "backup_manager run ... -- '--exclude=*.tmp'"),
            ("--exclude", "bm run --exclude=/x", "backup_manager run ... -- --exclude=/x"),
            ("-X", "bm run -X", "backup_manager run ... -- -X"),
            ("--exclude", "bm restore --exclude x", "restore takes no filters"),
            ("--exclude", "bm list --exclude x", "for run and diff"),
            ("--target", "bm restore latest --target /x", "write --to DIR"),
            ("--target", "bm list --target /x", "write --backups-dir DIR"),
            ("--repo", "bm list --repo /x", "write --backups-dir DIR"),
            ("--force", "bm run --force", "write --now"),
            ("--keep-within", "bm prune --keep-within 1d", "--keep-daily"),
            ("--delete-excluded", "bm run --delete-excluded", "-- --delete-excluded"),
            ("--no-such-option", "bm run --no-such-option", ""),
        ] {
            let said = said(option, line);
            let right = if expected.is_empty() { said.is_empty() } else { said.contains(expected) };
            assert!(right, "{line}: {said:?}");
        }
    }
}
