//! The rows of options that say how entries travel and what is told of them.

use crate::config::rsync::row::Row;

const LOGGED: &str = "the log tells what a run does";
const NO_RSYNC: &str = "no rsync runs on the other machine: it is read over SFTP";
const NO_DAEMON: &str = "there is no rsync daemon; name the host in REMOTE_SRC_HOST and remove it";
const ONE_WAY: &str = "a snapshot is written new and gets its name when it is whole";
const WRITES_OLDER: &str = "it would write into files that older snapshots share; remove it";
const NO_BATCH: &str = "there are no batch files, snapshots are plain folders; remove it";
const LIMIT_TIME: &str = "use timeout(1): a run that is stopped is resumed by the next one";

/// In the order of rsync(1).
pub(crate) const ROWS: &[Row] = &[
    Row::no_effect("verbose", LOGGED).short('v').no(),
    Row::no_effect("info", LOGGED).with("FLAGS"),
    Row::no_effect("debug", LOGGED).with("FLAGS"),
    Row::no_effect("stderr", "warnings and errors go to stderr").with("MODE"),
    Row::no_effect("msgs2stderr", "warnings and errors go to stderr").no(),
    Row::no_effect("quiet", "write `>/dev/null`: warnings and errors go to stderr").short('q'),
    Row::no_effect("motd", "there is no rsync daemon").no(),
    Row::refused("backup", "older snapshots hold the older files; remove it").short('b').no(),
    Row::refused("backup-dir", "older snapshots hold the older files; remove it").with("DIR"),
    Row::refused("suffix", "older snapshots hold the older files; remove it").with("SUFFIX"),
    Row::refused("inplace", WRITES_OLDER).no(),
    Row::refused("append", WRITES_OLDER).no(),
    Row::refused("append-verify", WRITES_OLDER),
    Row::always("mkpath", "BACKUPS_DIR is made when it is not there").no(),
    Row::no_effect("insecure-links", "no symlink is followed on the way to a snapshot").no(),
    Row::refused("confine-root", "it bounds paths that are not used here; remove it").with("DIR"),
    Row::switch("dry-run", |w, _| w.dry_run = true, "is `run --dry-run`").short('n'),
    Row::no_effect("whole-file", "of a changed file all is read, unchanged ones are not touched").short('W').no(),
    Row::no_effect("block-size", "of a changed file all is read").short('B').with("SIZE"),
    Row::value(
        "rsh",
        "COMMAND",
        |w, value| w.rsh(value),
        "`ssh`, or a path that ends so, with options of ssh: `-p -i -o -l -F -J -c -m -b -B -4 -6 -C -q -T -x -a -k`; host keys are checked all the same",
    )
    .short('e')
    .remote(),
    Row::no_effect("rsync-path", NO_RSYNC).with("PROGRAM"),
    Row::no_effect("remote-option", NO_RSYNC).short('M').with("OPT"),
    Row::refused("max-alloc", "memory is bounded by itself; remove it").with("SIZE"),
    Row::always("partial", "an interrupted run is resumed").no(),
    Row::no_effect("partial-dir", "what was copied stays in the incomplete snapshot").with("DIR"),
    Row::always("delay-updates", ONE_WAY).no(),
    Row::no_effect("temp-dir", ONE_WAY).short('T').with("DIR"),
    Row::setting(
        "timeout",
        "SECONDS",
        |w, value| w.timeout(value),
        "a host that does not answer for so long is connected again; 0: 60 s, as without it",
    )
    .remote(),
    Row::setting(
        "contimeout",
        "SECONDS",
        |w, value| w.contimeout(value),
        "a connection may take so long; 0: 20 s, as without it",
    )
    .remote(),
    Row::switch("compress", |w, on| w.compress = on, "ssh compresses what it carries")
        .short('z')
        .no()
        .remote(),
    Row::no_effect("compress-choice", "ssh has one kind of compression (`-z`)").or(&["zc"]).with("STR"),
    Row::no_effect("compress-level", "ssh has one level of compression (`-z`)").or(&["zl"]).with("NUM"),
    Row::no_effect("compress-threads", "ssh compresses in its own process (`-z`)").or(&["zt"]).with("NUM"),
    Row::no_effect("skip-compress", "ssh compresses all or nothing (`-z`)").with("LIST"),
    Row::no_effect("old-args", NO_RSYNC).no(),
    Row::no_effect("secluded-args", NO_RSYNC).short('s').or(&["protect-args"]).no(),
    Row::no_effect("trust-sender", "what a source tells is always checked"),
    Row::refused("copy-as", "start the program as that user: `sudo -u USER backup_manager run`").with("USER[:GROUP]"),
    Row::refused("address", NO_DAEMON).with("ADDRESS"),
    Row::refused("port", "it is the port of an rsync daemon; for that of ssh write user@host:PORT in REMOTE_SRC_HOST")
        .with("PORT"),
    Row::refused("sockopts", NO_DAEMON).with("OPTIONS"),
    Row::no_effect("blocking-io", NO_RSYNC).no(),
    Row::no_effect("outbuf", "the log is written line by line").with("N|L|B"),
    Row::switch("stats", |w, _| w.stats = true, "the counts of a run are printed as rsync prints them"),
    Row::no_effect("8-bit-output", "names are shown as they are where they are valid UTF-8, other bytes escaped")
        .short('8')
        .no(),
    Row::no_effect("human-readable", "sizes are printed with units").short('h').no(),
    Row::no_effect("progress", "a terminal shows the progress by itself").no(),
    Row::no_effect("", "is `--partial --progress`: both are so by themselves").short('P'),
    Row::switch(
        "itemize-changes",
        |w, on| w.itemize = if on { w.itemize.saturating_add(1) } else { 0 },
        "a line for each change, with rsync's letters; `*deleting` for what the snapshot before holds and the new one does not; twice (`-ii`): what is unchanged too",
    )
    .short('i')
    .no(),
    Row::refused("out-format", "use `--itemize-changes`, or `run --dry-run --json`").with("FORMAT"),
    Row::refused("log-file", "set LOG_FILE").with("FILE").no(),
    Row::refused("log-file-format", "set LOG_FORMAT to text or json; `--itemize-changes` tells each change")
        .or(&["log-format"])
        .with("FORMAT"),
    Row::refused("password-file", NO_DAEMON).with("FILE"),
    Row::refused("early-input", NO_DAEMON).with("FILE"),
    Row::refused("list-only", "use `run --dry-run`").no(),
    Row::setting(
        "bwlimit",
        "RATE",
        |w, value| w.bwlimit(value),
        "the content of files is read no faster than that, over all streams together; KiB a second, or with a unit; 0: without a limit",
    ),
    Row::refused("stop-after", LIMIT_TIME).or(&["time-limit"]).with("MINS"),
    Row::refused("stop-at", LIMIT_TIME).with("y-m-dTh:m"),
    Row::always("fsync", "a snapshot gets its name when all of it is on the disk"),
    Row::refused("write-batch", NO_BATCH).with("FILE"),
    Row::refused("only-write-batch", NO_BATCH).with("FILE"),
    Row::refused("read-batch", NO_BATCH).with("FILE"),
    Row::no_effect("protocol", NO_RSYNC).with("NUM"),
    Row::no_effect("qsort", "entries are sorted by inode").no(),
    Row::switch("ipv4", |w, _| w.family = Some('4'), "ssh uses IPv4").short('4').remote(),
    Row::switch("ipv6", |w, _| w.family = Some('6'), "ssh uses IPv6").short('6').remote(),
    Row::refused("daemon", NO_DAEMON),
    Row::refused("config", NO_DAEMON).with("FILE"),
    Row::refused("dparam", NO_DAEMON).with("OVERRIDE"),
    Row::refused("detach", NO_DAEMON).no(),
    Row::refused("server", "it is rsync's own; remove it"),
    Row::refused("sender", "it is rsync's own; remove it"),
    Row::refused("version", "use `backup_manager --version`").short('V'),
    Row::refused("help", "use `backup_manager run --help`"),
];
