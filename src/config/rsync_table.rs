//! What becomes of each rsync option: a table, by rsync(1).

use engine::job::Keep;

/// What the rsync options of a job come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switches {
    /// What a snapshot keeps of its source.
    pub(crate) keep: Keep,
    /// `-R`: the full source path lies inside a snapshot.
    pub(crate) relative: bool,
}

/// What an option does here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Handling {
    /// It does what it says; `false` for its `--no-` form.
    Does(fn(&mut Switches, bool)),
    /// It is so whether it is given or not; the reason why it cannot be taken away.
    Always(&'static str),
    /// It is taken and changes nothing; the reason.
    NoEffect(&'static str),
    /// It is refused; the reason and what to use instead.
    Unsupported(&'static str),
}

/// One option.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    /// Whether rsync knows it with `--no-` too.
    pub(crate) negatable: bool,
    /// Whether a value follows it.
    pub(crate) value: bool,
    pub(crate) handling: Handling,
}

const fn switch(short: char, long: &'static str, handling: Handling) -> Row {
    let short = if short == ' ' { None } else { Some(short) };
    Row { short, long, negatable: false, value: false, handling }
}

const fn both_ways(short: char, long: &'static str, handling: Handling) -> Row {
    let short = if short == ' ' { None } else { Some(short) };
    Row { short, long, negatable: true, value: false, handling }
}

const fn later(short: char, long: &'static str) -> Row {
    switch(short, long, Handling::Unsupported(LATER))
}

const fn later_value(short: char, long: &'static str) -> Row {
    let short = if short == ' ' { None } else { Some(short) };
    Row { short, long, negatable: false, value: true, handling: Handling::Unsupported(LATER) }
}

const LATER: &str = "it is not supported yet; remove it";
const MIRROR: &str = "a snapshot holds exactly what the source holds";
const LINKED: &str = "unchanged files are always linked to the snapshot before; remove it";
const LOGGED: &str = "the log tells what a run does";

use Handling::{Always, Does, NoEffect, Unsupported};

/// The options, roughly in the order of rsync(1).
pub(crate) const ROWS: &[Row] = &[
    both_ways('v', "verbose", NoEffect(LOGGED)),
    both_ways('h', "human-readable", NoEffect(LOGGED)),
    both_ways(' ', "progress", NoEffect("a terminal shows the progress by itself")),
    switch('P', "P", NoEffect("it stands for --partial --progress, which are always so")),
    both_ways('c', "checksum", Does(|s, on| s.keep.checksum = on)),
    switch(
        'a',
        "archive",
        Does(|s, _| {
            s.keep.symlinks = true;
            s.keep.mode = true;
            s.keep.times = true;
            s.keep.group = true;
            s.keep.owner = true;
            s.keep.devices = true;
            s.keep.specials = true;
        }),
    ),
    both_ways('r', "recursive", Always("a snapshot holds whole folders")),
    both_ways('R', "relative", Does(|s, on| s.relative = on)),
    both_ways('l', "links", Does(|s, on| s.keep.symlinks = on)),
    both_ways('H', "hard-links", Does(|s, on| s.keep.hard_links = on)),
    both_ways('p', "perms", Does(|s, on| s.keep.mode = on)),
    both_ways('A', "acls", Does(|s, on| s.keep.acls = on)),
    both_ways('X', "xattrs", Does(|s, on| s.keep.xattrs = on)),
    both_ways('o', "owner", Does(|s, on| s.keep.owner = on)),
    both_ways('g', "group", Does(|s, on| s.keep.group = on)),
    both_ways(' ', "devices", Does(|s, on| s.keep.devices = on)),
    both_ways(' ', "specials", Does(|s, on| s.keep.specials = on)),
    both_ways(
        'D',
        "D",
        Does(|s, on| {
            s.keep.devices = on;
            s.keep.specials = on;
        }),
    ),
    both_ways('t', "times", Does(|s, on| s.keep.times = on)),
    both_ways('S', "sparse", Always("the holes of sparse files are kept")),
    both_ways('W', "whole-file", NoEffect("what is read of a changed file is the whole file")),
    both_ways('x', "one-file-system", Does(|s, on| s.keep.one_file_system = on)),
    switch(' ', "del", Always(MIRROR)),
    switch(' ', "delete", Always(MIRROR)),
    switch(' ', "delete-before", Always(MIRROR)),
    switch(' ', "delete-during", Always(MIRROR)),
    switch(' ', "delete-delay", Always(MIRROR)),
    switch(' ', "delete-after", Always(MIRROR)),
    switch(' ', "delete-excluded", Always(MIRROR)),
    both_ways(' ', "partial", Always("an interrupted run is resumed")),
    both_ways(' ', "numeric-ids", Always("owner and group are kept as numbers")),
    both_ways('z', "compress", NoEffect("nothing travels over a network")),
    switch('n', "dry-run", Unsupported("use 'run --dry-run'")),
    Row {
        short: None,
        long: "link-dest",
        negatable: false,
        value: true,
        handling: Unsupported(LINKED),
    },
    Row {
        short: None,
        long: "compare-dest",
        negatable: false,
        value: true,
        handling: Unsupported(LINKED),
    },
    Row {
        short: None,
        long: "copy-dest",
        negatable: false,
        value: true,
        handling: Unsupported(LINKED),
    },
    Row {
        short: None,
        long: "log-file",
        negatable: false,
        value: true,
        handling: Unsupported("set LOG_FILE"),
    },
    later('q', "quiet"),
    later('b', "backup"),
    later('u', "update"),
    later('d', "dirs"),
    later('L', "copy-links"),
    later(' ', "copy-unsafe-links"),
    later(' ', "safe-links"),
    later('k', "copy-dirlinks"),
    later('K', "keep-dirlinks"),
    later('E', "executability"),
    later('U', "atimes"),
    later('N', "crtimes"),
    later('O', "omit-dir-times"),
    later('J', "omit-link-times"),
    later(' ', "super"),
    later(' ', "fake-super"),
    later(' ', "inplace"),
    later(' ', "append"),
    later(' ', "append-verify"),
    later(' ', "existing"),
    later(' ', "ignore-existing"),
    later(' ', "ignore-errors"),
    later(' ', "ignore-missing-args"),
    later(' ', "delete-missing-args"),
    later(' ', "remove-source-files"),
    later(' ', "force"),
    later('m', "prune-empty-dirs"),
    later('I', "ignore-times"),
    later(' ', "size-only"),
    later('y', "fuzzy"),
    later('C', "cvs-exclude"),
    later('F', "F"),
    later('0', "from0"),
    later('s', "secluded-args"),
    later('i', "itemize-changes"),
    later('8', "8-bit-output"),
    later(' ', "stats"),
    later(' ', "fsync"),
    later(' ', "preallocate"),
    later(' ', "munge-links"),
    later(' ', "no-implied-dirs"),
    later(' ', "list-only"),
    later('4', "ipv4"),
    later('6', "ipv6"),
    later_value('e', "rsh"),
    later_value(' ', "rsync-path"),
    later_value(' ', "exclude"),
    later_value(' ', "exclude-from"),
    later_value(' ', "include"),
    later_value(' ', "include-from"),
    later_value('f', "filter"),
    later_value(' ', "files-from"),
    later_value(' ', "chmod"),
    later_value(' ', "chown"),
    later_value(' ', "usermap"),
    later_value(' ', "groupmap"),
    later_value(' ', "max-size"),
    later_value(' ', "min-size"),
    later_value(' ', "max-delete"),
    later_value(' ', "max-alloc"),
    later_value(' ', "bwlimit"),
    later_value(' ', "timeout"),
    later_value(' ', "contimeout"),
    later_value('@', "modify-window"),
    later_value('B', "block-size"),
    later_value('T', "temp-dir"),
    later_value('M', "remote-option"),
    later_value(' ', "partial-dir"),
    later_value(' ', "backup-dir"),
    later_value(' ', "suffix"),
    later_value(' ', "compress-level"),
    later_value(' ', "compress-choice"),
    later_value(' ', "skip-compress"),
    later_value(' ', "checksum-choice"),
    later_value(' ', "info"),
    later_value(' ', "debug"),
    later_value(' ', "out-format"),
    later_value(' ', "log-file-format"),
    later_value(' ', "password-file"),
    later_value(' ', "port"),
    later_value(' ', "iconv"),
];
