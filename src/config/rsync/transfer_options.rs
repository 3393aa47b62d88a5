//! The table rows of options for the transfer of entries and for output.

use crate::config::rsync::row::OptionRow;

const LOGGED: &str = "the log reports what a run does";
const NO_RSYNC: &str = "no rsync runs on the other machine";
const NO_DAEMON: &str = "there is no rsync daemon; name the host in REMOTE_SRC_HOST and remove it";
const ONE_WAY: &str = "a run writes a new snapshot, which gets its name when it is complete";
const WRITES_OLDER: &str = "it would write into files that older snapshots share; remove it";
const NO_BATCH: &str = "snapshots are plain folders: there are no batch files; remove it";
const LIMIT_TIME: &str = "use timeout(1): the next run resumes one that was stopped";

/// In the order of rsync(1).
pub(crate) const ROWS: &[OptionRow] = &[
    OptionRow::no_effect("verbose", LOGGED).short('v').no(),
    OptionRow::no_effect("info", LOGGED).with("FLAGS"),
    OptionRow::no_effect("debug", LOGGED).with("FLAGS"),
    OptionRow::no_effect("stderr", "warnings and errors go to stderr").with("MODE"),
    OptionRow::no_effect("msgs2stderr", "warnings and errors go to stderr").no(),
    OptionRow::no_effect("quiet", "write `>/dev/null`: warnings and errors go to stderr").short('q'),
    OptionRow::no_effect("motd", "there is no rsync daemon").no(),
    OptionRow::refused("backup", "older snapshots contain the older files; remove it").short('b').no(),
    OptionRow::refused("backup-dir", "older snapshots contain the older files; remove it").with("DIR"),
    OptionRow::refused("suffix", "older snapshots contain the older files; remove it").with("SUFFIX"),
    OptionRow::refused("inplace", WRITES_OLDER).no(),
    OptionRow::refused("append", WRITES_OLDER).no(),
    OptionRow::refused("append-verify", WRITES_OLDER),
    OptionRow::always("mkpath", "a run creates BACKUPS_DIR when it is missing").no(),
    OptionRow::no_effect("insecure-links", "the program follows no symlink on the way to a snapshot").no(),
    OptionRow::refused("confine-root", "it bounds paths that this program does not use; remove it").with("DIR"),
    OptionRow::switch("dry-run", |w, _| w.dry_run = true, "the same as `run --dry-run`").short('n'),
    OptionRow::switch(
        "whole-file",
        |w, on| w.keep.whole_files = on,
        "changed files are transferred and stored whole. Otherwise a host that runs `backup_manager serve` sends only what differs from the base, of files of 256 KiB and more; and where the destination has reflinks, only the blocks that differ are stored, of files of 1 MiB and more",
    )
    .short('W')
    .no(),
    OptionRow::no_effect("block-size", "the program chooses it by the size of the file").short('B').with("SIZE"),
    OptionRow::value(
        "rsh",
        "COMMAND",
        |w, value| w.rsh(value),
        "`ssh`, or a path that ends in it, with these options of ssh: `-p -i -o -l -F -J -c -m -b -B -4 -6 -C -q -T -x -a -k`; host keys are still checked",
    )
    .short('e')
    .remote(),
    OptionRow::value(
        "rsync-path",
        "PROGRAM",
        |w, value| w.rsync_path(value),
        "a command before `rsync`, as in `sudo rsync`, starts the helper: `REMOTE_HELPER=\"sudo backup_manager\"`, if that is not set itself; a path alone has no effect",
    )
    .remote(),
    OptionRow::no_effect("remote-option", NO_RSYNC).short('M').with("OPT"),
    OptionRow::refused("max-alloc", "the program always bounds its memory; remove it").with("SIZE"),
    OptionRow::always("partial", "the next run resumes an interrupted one").no(),
    OptionRow::no_effect("partial-dir", "copied data stays in the incomplete snapshot").with("DIR"),
    OptionRow::always("delay-updates", ONE_WAY).no(),
    OptionRow::no_effect("temp-dir", ONE_WAY).short('T').with("DIR"),
    OptionRow::setting(
        "timeout",
        "SECONDS",
        |w, value| w.timeout(value),
        "a run connects again when the host does not answer for this long; 0: 60 s, the default",
    )
    .remote(),
    OptionRow::setting(
        "contimeout",
        "SECONDS",
        |w, value| w.contimeout(value),
        "the longest time that connecting may take; 0: 20 s, the default",
    )
    .remote(),
    OptionRow::switch(
        "compress",
        |w, on| w.compress = on,
        "the connection is compressed: with zstd through the helper, by ssh over SFTP",
    )
    .short('z')
    .no()
    .remote(),
    OptionRow::no_effect("compress-choice", "the helper has zstd, and SFTP what ssh has (`-z`)").or(&["zc"]).with("STR"),
    OptionRow::value(
        "compress-level",
        "NUM",
        |w, value| w.compress_level(value),
        "1 to 19 through the helper (a number beyond counts as the nearest), 3 by default; implies `-z`. ssh has one level",
    )
    .or(&["zl"])
    .remote(),
    OptionRow::no_effect("compress-threads", "each channel is compressed by one thread (`-z`)").or(&["zt"]).with("NUM"),
    OptionRow::no_effect("skip-compress", "content that does not become shorter is sent as it is (`-z`)").with("LIST"),
    OptionRow::no_effect("old-args", NO_RSYNC).no(),
    OptionRow::no_effect("secluded-args", NO_RSYNC).short('s').or(&["protect-args"]).no(),
    OptionRow::no_effect("trust-sender", "the program always checks what a source reports"),
    OptionRow::refused("copy-as", "start the program as that user instead: `sudo -u USER backup_manager run`").with("USER[:GROUP]"),
    OptionRow::refused("address", NO_DAEMON).with("ADDRESS"),
    OptionRow::refused("port", "this is the port of an rsync daemon; for ssh write user@host:PORT in REMOTE_SRC_HOST")
        .with("PORT"),
    OptionRow::refused("sockopts", NO_DAEMON).with("OPTIONS"),
    OptionRow::no_effect("blocking-io", NO_RSYNC).no(),
    OptionRow::no_effect("outbuf", "the log is written line by line").with("N|L|B"),
    OptionRow::switch("stats", |w, _| w.stats = true, "prints the counts of a run in the format of rsync"),
    OptionRow::no_effect("8-bit-output", "valid UTF-8 in names is printed as it is, other bytes are escaped")
        .short('8')
        .no(),
    OptionRow::no_effect("human-readable", "sizes are printed with units").short('h').no(),
    OptionRow::no_effect("progress", "a run always shows its progress on a terminal").no(),
    OptionRow::no_effect("", "stands for `--partial --progress`, which a run always does").short('P'),
    OptionRow::switch(
        "itemize-changes",
        |w, on| w.itemize = if on { w.itemize.saturating_add(1) } else { 0 },
        "prints a line for each change, with the letters of rsync; `*deleting` marks what the previous snapshot contains and the new one does not; twice (`-ii`): prints unchanged entries too",
    )
    .short('i')
    .no(),
    OptionRow::refused("out-format", "use `--itemize-changes`, or `run --dry-run --json`").with("FORMAT"),
    OptionRow::refused("log-file", "set LOG_FILE").with("FILE").no(),
    OptionRow::refused("log-file-format", "set LOG_FORMAT to text or json; `--itemize-changes` prints each change")
        .or(&["log-format"])
        .with("FORMAT"),
    OptionRow::refused("password-file", NO_DAEMON).with("FILE"),
    OptionRow::refused("early-input", NO_DAEMON).with("FILE"),
    OptionRow::refused("list-only", "use `run --dry-run`").no(),
    OptionRow::setting(
        "bwlimit",
        "RATE",
        |w, value| w.bwlimit(value),
        "limits how fast the content of files is read, over all streams together; KiB per second, or with a unit; 0 or `off`: no limit; `08:00,2m 19:00,off` is a timetable; replaces BWLIMIT",
    ),
    OptionRow::refused("stop-after", LIMIT_TIME).or(&["time-limit"]).with("MINS"),
    OptionRow::refused("stop-at", LIMIT_TIME).with("y-m-dTh:m"),
    OptionRow::always("fsync", "a snapshot gets its name when it is completely on the disk"),
    OptionRow::refused("write-batch", NO_BATCH).with("FILE"),
    OptionRow::refused("only-write-batch", NO_BATCH).with("FILE"),
    OptionRow::refused("read-batch", NO_BATCH).with("FILE"),
    OptionRow::no_effect("protocol", NO_RSYNC).with("NUM"),
    OptionRow::no_effect("qsort", "entries are sorted by inode").no(),
    OptionRow::switch("ipv4", |w, _| w.family = Some('4'), "ssh uses IPv4").short('4').remote(),
    OptionRow::switch("ipv6", |w, _| w.family = Some('6'), "ssh uses IPv6").short('6').remote(),
    OptionRow::refused("daemon", NO_DAEMON),
    OptionRow::refused("config", NO_DAEMON).with("FILE"),
    OptionRow::refused("dparam", NO_DAEMON).with("OVERRIDE"),
    OptionRow::refused("detach", NO_DAEMON).no(),
    OptionRow::refused("server", "rsync uses it internally; remove it"),
    OptionRow::refused("sender", "rsync uses it internally; remove it"),
    OptionRow::refused("version", "use `backup_manager --version`").short('V'),
    OptionRow::refused("help", "use `backup_manager run --help`"),
];
