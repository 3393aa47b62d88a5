//! The rows of options that say which entries belong to a snapshot, and which of them count as changed.

use engine::filter::filters::FilterOption;

use crate::config::rsync::row::Row;

const MIRROR: &str = "a snapshot holds exactly what the source holds";
const LINKED: &str = "unchanged files are linked to the snapshot before by themselves; remove it";
const WHOLE: &str = "a snapshot takes all that the source has; remove it";

/// In the order of rsync(1).
pub(crate) const ROWS: &[Row] = &[
    Row::switch(
        "ignore-times",
        |w, _| w.keep.ignore_times = true,
        "every file is read again; one with the same content and metadata is linked all the same",
    )
    .short('I'),
    Row::switch(
        "size-only",
        |w, _| w.keep.size_only = true,
        "a file of the same size counts as unchanged; with another time it becomes a local copy with that time",
    ),
    Row::value(
        "modify-window",
        "NUM",
        |w, value| w.modify_window(value),
        "times that differ by no more than so many seconds are the same; 0: whole seconds count; -1 (as without it): nanoseconds",
    )
    .short('@'),
    Row::switch(
        "checksum",
        |w, on| w.keep.checksum = on,
        "every file is read and compared by content; a file that turns out to differ gets a second line of `-i`",
    )
    .short('c')
    .no(),
    Row::no_effect("checksum-choice", "files are compared by BLAKE3").or(&["cc"]).with("STR"),
    Row::no_effect("checksum-seed", "BLAKE3 needs none").with("NUM"),
    Row::no_effect("inc-recursive", "folders are compared while others are listed").or(&["i-r"]).no(),
    Row::no_effect("update", "a new snapshot holds nothing that could be newer").short('u'),
    Row::refused("dirs", "a snapshot holds whole folders; leave some out with --exclude='/folder/*'")
        .short('d')
        .or(&["old-dirs", "old-d"])
        .no(),
    Row::refused("existing", WHOLE).or(&["ignore-non-existing"]),
    Row::no_effect("ignore-existing", "a new snapshot holds nothing yet"),
    Row::refused("remove-source-files", "a backup never writes to its source; remove it"),
    Row::always("delete", MIRROR),
    Row::always("delete-before", MIRROR),
    Row::always("delete-during", MIRROR).or(&["del"]),
    Row::always("delete-delay", MIRROR),
    Row::always("delete-after", MIRROR),
    Row::always("delete-excluded", "what is excluded is not in a new snapshot; older ones keep it"),
    Row::refused(
        "ignore-missing-args",
        "a source that is missing may be one that is not mounted: the run fails; remove the path from SRCS_TO_BACKUP",
    ),
    Row::refused(
        "delete-missing-args",
        "a source that is missing may be one that is not mounted: the run fails; remove the path from SRCS_TO_BACKUP",
    ),
    Row::always(
        "ignore-errors",
        "what cannot be read is carried forward and listed, it keeps nothing else that is gone",
    )
    .no(),
    Row::always("force", "a folder may become a file").no(),
    Row::value(
        "max-delete",
        "NUM",
        |w, value| w.max_delete(value),
        "a run that would leave out more than NUM entries of the snapshot before fails, and deletes nothing; `--accept-shrink` lets it through once",
    ),
    Row::value(
        "max-size",
        "SIZE",
        |w, value| w.max_size(value),
        "larger files are left out (units as rsync's: `1.5m`, `2GB`, `1g-1`)",
    ),
    Row::value("min-size", "SIZE", |w, value| w.min_size(value), "smaller files are left out"),
    Row::refused("fuzzy", LINKED).short('y').no(),
    Row::refused("compare-dest", LINKED).with("DIR"),
    Row::refused("copy-dest", LINKED).with("DIR"),
    Row::refused("link-dest", LINKED).with("DIR"),
    Row::switch(
        "cvs-exclude",
        |w, _| w.filter(FilterOption::Cvs),
        "what CVS ignores is left out",
    )
    .short('C'),
    Row::value(
        "filter",
        "RULE",
        |w, value| w.filter_with(FilterOption::Rule, value),
        "adds a filter rule",
    )
    .short('f'),
    Row::switch(
        "",
        |w, _| w.filter(FilterOption::RuleFiles),
        "rules in files called .rsync-filter; twice (`-FF`): these files are left out themselves",
    )
    .short('F'),
    Row::value("exclude", "PATTERN", |w, value| w.filter_with(FilterOption::Exclude, value), "leaves out what matches"),
    Row::value(
        "exclude-from",
        "FILE",
        |w, value| w.filter_file(FilterOption::ExcludeFrom, value),
        "leaves out what matches a pattern of the file, which is on this machine",
    ),
    Row::value("include", "PATTERN", |w, value| w.filter_with(FilterOption::Include, value), "keeps what matches"),
    Row::value(
        "include-from",
        "FILE",
        |w, value| w.filter_file(FilterOption::IncludeFrom, value),
        "keeps what matches a pattern of the file, which is on this machine",
    ),
    Row::value(
        "files-from",
        "FILE",
        |w, value| w.files_from(value),
        "only what the file lists is taken, with paths below the one source; folders as a whole only with `-r` (FILE is on this machine)",
    ),
    Row::switch("from0", |w, on| w.from0(on), "the entries of all such files end in a NUL").short('0').no(),
    Row::switch(
        "prune-empty-dirs",
        |w, on| w.prune_empty = on,
        "folders without anything but folders are left out",
    )
    .short('m')
    .no(),
];

/// Options that rsync does not have.
pub(crate) const OURS: &[Row] = &[
    Row::switch(
        "exclude-caches",
        |w, _| w.filter(FilterOption::Caches),
        "leaves out folders that hold a CACHEDIR.TAG with its signature, but for that file",
    ),
    Row::value(
        "exclude-if-present",
        "NAME",
        |w, value| w.filter_with(FilterOption::IfPresent, value),
        "leaves out folders that hold an entry of that name",
    ),
];
