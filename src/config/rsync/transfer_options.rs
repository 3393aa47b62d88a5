//! The table rows of options for the transfer of entries and for output.

use crate::config::rsync::row::Row;

const LOGGED: &str = "the log reports what a run does";
const NO_RSYNC: &str = "no rsync runs on the other machine: the program reads it over SFTP";
const NO_DAEMON: &str = "there is no rsync daemon; name the host in REMOTE_SRC_HOST and remove it";
const ONE_WAY: &str = "a run writes a new snapshot, which gets its name when it is complete";
const WRITES_OLDER: &str = "it would write into files that older snapshots share; remove it";
const NO_BATCH: &str = "snapshots are plain folders: there are no batch files; remove it";
const LIMIT_TIME: &str = "use timeout(1): the next run resumes one that was stopped";

/// In the order of rsync(1).
pub(crate) const ROWS: &[Row] = &[
    Row::no_effect("verbose", LOGGED).short('v').no(),
    Row::no_effect("info", LOGGED).with("FLAGS"),
    Row::no_effect("debug", LOGGED).with("FLAGS"),
    Row::no_effect("stderr", "warnings and errors go to stderr").with("MODE"),
    Row::no_effect("msgs2stderr", "warnings and errors go to stderr").no(),
    Row::no_effect("quiet", "write `>/dev/null`: warnings and errors go to stderr").short('q'),
    Row::no_effect("motd", "there is no rsync daemon").no(),
    Row::refused("backup", "older snapshots contain the older files; remove it").short('b').no(),
    Row::refused("backup-dir", "older snapshots contain the older files; remove it").with("DIR"),
    Row::refused("suffix", "older snapshots contain the older files; remove it").with("SUFFIX"),
    Row::refused("inplace", WRITES_OLDER).no(),
    Row::refused("append", WRITES_OLDER).no(),
    Row::refused("append-verify", WRITES_OLDER),
    Row::always("mkpath", "a run creates BACKUPS_DIR when it is missing").no(),
    Row::no_effect("insecure-links", "the program follows no symlink on the way to a snapshot").no(),
    Row::refused("confine-root", "it bounds paths that this program does not use; remove it").with("DIR"),
    Row::switch("dry-run", |w, _| w.dry_run = true, "the same as `run --dry-run`").short('n'),
    Row::no_effect("whole-file", "a file that has to be read is always read completely").short('W').no(),
    Row::no_effect("block-size", "a file that has to be read is always read completely").short('B').with("SIZE"),
    Row::value(
        "rsh",
        "COMMAND",
        |w, value| w.rsh(value),
        "`ssh`, or a path that ends in it, with these options of ssh: `-p -i -o -l -F -J -c -m -b -B -4 -6 -C -q -T -x -a -k`; host keys are still checked",
    )
    .short('e')
    .remote(),
    Row::no_effect("rsync-path", NO_RSYNC).with("PROGRAM"),
    Row::no_effect("remote-option", NO_RSYNC).short('M').with("OPT"),
    Row::refused("max-alloc", "the program always bounds its memory; remove it").with("SIZE"),
    Row::always("partial", "the next run resumes an interrupted one").no(),
    Row::no_effect("partial-dir", "copied data stays in the incomplete snapshot").with("DIR"),
    Row::always("delay-updates", ONE_WAY).no(),
    Row::no_effect("temp-dir", ONE_WAY).short('T').with("DIR"),
    Row::setting(
        "timeout",
        "SECONDS",
        |w, value| w.timeout(value),
        "a run connects again when the host does not answer for this long; 0: 60 s, the default",
    )
    .remote(),
    Row::setting(
        "contimeout",
        "SECONDS",
        |w, value| w.contimeout(value),
        "the longest time that connecting may take; 0: 20 s, the default",
    )
    .remote(),
    Row::switch("compress", |w, on| w.compress = on, "ssh compresses the connection")
        .short('z')
        .no()
        .remote(),
    Row::no_effect("compress-choice", "ssh has one kind of compression (`-z`)").or(&["zc"]).with("STR"),
    Row::no_effect("compress-level", "ssh has one level of compression (`-z`)").or(&["zl"]).with("NUM"),
    Row::no_effect("compress-threads", "ssh compresses in its own process (`-z`)").or(&["zt"]).with("NUM"),
    Row::no_effect("skip-compress", "ssh compresses all or nothing (`-z`)").with("LIST"),
    Row::no_effect("old-args", NO_RSYNC).no(),
    Row::no_effect("secluded-args", NO_RSYNC).short('s').or(&["protect-args"]).no(),
    Row::no_effect("trust-sender", "the program always checks what a source reports"),
    Row::refused("copy-as", "start the program as that user instead: `sudo -u USER backup_manager run`").with("USER[:GROUP]"),
    Row::refused("address", NO_DAEMON).with("ADDRESS"),
    Row::refused("port", "this is the port of an rsync daemon; for ssh write user@host:PORT in REMOTE_SRC_HOST")
        .with("PORT"),
    Row::refused("sockopts", NO_DAEMON).with("OPTIONS"),
    Row::no_effect("blocking-io", NO_RSYNC).no(),
    Row::no_effect("outbuf", "the log is written line by line").with("N|L|B"),
    Row::switch("stats", |w, _| w.stats = true, "prints the counts of a run in the format of rsync"),
    Row::no_effect("8-bit-output", "valid UTF-8 in names is printed as it is, other bytes are escaped")
        .short('8')
        .no(),
    Row::no_effect("human-readable", "sizes are printed with units").short('h').no(),
    Row::no_effect("progress", "a run always shows its progress on a terminal").no(),
    Row::no_effect("", "stands for `--partial --progress`, which a run always does").short('P'),
    Row::switch(
        "itemize-changes",
        |w, on| w.itemize = if on { w.itemize.saturating_add(1) } else { 0 },
        "prints a line for each change, with the letters of rsync; `*deleting` marks what the previous snapshot contains and the new one does not; twice (`-ii`): prints unchanged entries too",
    )
    .short('i')
    .no(),
    Row::refused("out-format", "use `--itemize-changes`, or `run --dry-run --json`").with("FORMAT"),
    Row::refused("log-file", "set LOG_FILE").with("FILE").no(),
    Row::refused("log-file-format", "set LOG_FORMAT to text or json; `--itemize-changes` prints each change")
        .or(&["log-format"])
        .with("FORMAT"),
    Row::refused("password-file", NO_DAEMON).with("FILE"),
    Row::refused("early-input", NO_DAEMON).with("FILE"),
    Row::refused("list-only", "use `run --dry-run`").no(),
    Row::setting(
        "bwlimit",
        "RATE",
        |w, value| w.bwlimit(value),
        "limits how fast the content of files is read, over all streams together; KiB per second, or with a unit; 0: no limit",
    ),
    Row::refused("stop-after", LIMIT_TIME).or(&["time-limit"]).with("MINS"),
    Row::refused("stop-at", LIMIT_TIME).with("y-m-dTh:m"),
    Row::always("fsync", "a snapshot gets its name when it is completely on the disk"),
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
    Row::refused("server", "rsync uses it internally; remove it"),
    Row::refused("sender", "rsync uses it internally; remove it"),
    Row::refused("version", "use `backup_manager --version`").short('V'),
    Row::refused("help", "use `backup_manager run --help`"),
];
