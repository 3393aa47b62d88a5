//! The table rows of options that select the entries of a snapshot, and decide which entries count as
//! changed.

use engine::FilterOption;

use crate::config::rsync::row::OptionRow;

const MIRROR: &str = "a snapshot contains exactly what the source contains";
const LINKED: &str = "a run always links unchanged files to the previous snapshot; remove it";
const WHOLE: &str = "a snapshot contains all that the source contains; remove it";

/// In the order of rsync(1).
pub(crate) const ROWS: &[OptionRow] = &[
    OptionRow::switch(
        "ignore-times",
        |w, _| w.keep.ignore_times = true,
        "every file is read again; a file with the same content and metadata is still linked",
    )
    .short('I'),
    OptionRow::switch(
        "size-only",
        |w, _| w.keep.size_only = true,
        "a file of the same size counts as unchanged; with another time it becomes a local copy with that time",
    ),
    OptionRow::value(
        "modify-window",
        "NUM",
        |w, value| w.modify_window(value),
        "times count as equal when they differ by at most NUM seconds; 0: only whole seconds are compared; -1 (the default): nanoseconds are compared",
    )
    .short('@'),
    OptionRow::switch(
        "checksum",
        |w, on| w.keep.checksum = on,
        "every file is read and compared by content; `-i` prints a second line for a file that differs",
    )
    .short('c')
    .no(),
    OptionRow::no_effect("checksum-choice", "files are compared by BLAKE3").or(&["cc"]).with("STR"),
    OptionRow::no_effect("checksum-seed", "BLAKE3 needs no seed").with("NUM"),
    OptionRow::no_effect("inc-recursive", "a run always compares folders while it lists others").or(&["i-r"]).no(),
    OptionRow::no_effect("update", "a new snapshot has no file that could be newer").short('u'),
    OptionRow::refused("dirs", "a snapshot contains whole folders; exclude some with --exclude='/folder/*'")
        .short('d')
        .or(&["old-dirs", "old-d"])
        .no(),
    OptionRow::refused("existing", WHOLE).or(&["ignore-non-existing"]),
    OptionRow::no_effect("ignore-existing", "a new snapshot is empty"),
    OptionRow::refused("remove-source-files", "a backup never writes to its source; remove it"),
    OptionRow::always("delete", MIRROR),
    OptionRow::always("delete-before", MIRROR),
    OptionRow::always("delete-during", MIRROR).or(&["del"]),
    OptionRow::always("delete-delay", MIRROR),
    OptionRow::always("delete-after", MIRROR),
    OptionRow::always("delete-excluded", "a new snapshot does not contain excluded files; older ones keep them"),
    OptionRow::refused(
        "ignore-missing-args",
        "a missing source may be one that is not mounted, so the run fails; remove the path from SRCS_TO_BACKUP",
    ),
    OptionRow::refused(
        "delete-missing-args",
        "a missing source may be one that is not mounted, so the run fails; remove the path from SRCS_TO_BACKUP",
    ),
    OptionRow::always(
        "ignore-errors",
        "an entry that cannot be read is carried forward and reported; other deletions are not affected",
    )
    .no(),
    OptionRow::always("force", "a folder may become a file").no(),
    OptionRow::value(
        "max-delete",
        "NUM",
        |w, value| w.max_delete(value),
        "a run fails and deletes nothing when the source lacks more than NUM entries of the previous snapshot; `--accept-shrink` accepts it once",
    ),
    OptionRow::value(
        "max-size",
        "SIZE",
        |w, value| w.max_size(value),
        "larger files are excluded (units as in rsync: `1.5m`, `2GB`, `1g-1`)",
    ),
    OptionRow::value("min-size", "SIZE", |w, value| w.min_size(value), "smaller files are excluded"),
    OptionRow::refused("fuzzy", LINKED).short('y').no(),
    OptionRow::refused("compare-dest", LINKED).with("DIR"),
    OptionRow::refused("copy-dest", LINKED).with("DIR"),
    OptionRow::refused("link-dest", LINKED).with("DIR"),
    OptionRow::switch(
        "cvs-exclude",
        |w, _| w.filter(FilterOption::Cvs),
        "files that CVS ignores are excluded",
    )
    .short('C'),
    OptionRow::value(
        "filter",
        "RULE",
        |w, value| w.filter_with(FilterOption::Rule, value),
        "adds a filter rule",
    )
    .short('f'),
    OptionRow::switch(
        "",
        |w, _| w.filter(FilterOption::RuleFiles),
        "reads rules from files named .rsync-filter; twice (`-FF`): also excludes these files",
    )
    .short('F'),
    OptionRow::value("exclude", "PATTERN", |w, value| w.filter_with(FilterOption::Exclude, value), "excludes what matches"),
    OptionRow::value(
        "exclude-from",
        "FILE",
        |w, value| w.filter_file(FilterOption::ExcludeFrom, value),
        "excludes what matches a pattern in FILE, a file on this machine",
    ),
    OptionRow::value("include", "PATTERN", |w, value| w.filter_with(FilterOption::Include, value), "keeps what matches"),
    OptionRow::value(
        "include-from",
        "FILE",
        |w, value| w.filter_file(FilterOption::IncludeFrom, value),
        "keeps what matches a pattern in FILE, a file on this machine",
    ),
    OptionRow::value(
        "files-from",
        "FILE",
        |w, value| w.files_from(value),
        "a snapshot contains only what FILE, a file on this machine, lists; its paths lie below the one source; whole folders need `-r`",
    ),
    OptionRow::switch("from0", |w, on| w.from0(on), "the entries of all these files end in a NUL").short('0').no(),
    OptionRow::switch(
        "prune-empty-dirs",
        |w, on| w.prune_empty = on,
        "folders that contain nothing but folders are excluded",
    )
    .short('m')
    .no(),
];

/// Options that rsync does not have.
pub(crate) const OURS: &[OptionRow] = &[
    OptionRow::switch(
        "exclude-caches",
        |w, _| w.filter(FilterOption::Caches),
        "of a folder with a CACHEDIR.TAG that has the signature, keeps only that file",
    ),
    OptionRow::value(
        "exclude-if-present",
        "NAME",
        |w, value| w.filter_with(FilterOption::IfPresent, value),
        "of a folder with an entry of that name, keeps only that entry",
    ),
];
