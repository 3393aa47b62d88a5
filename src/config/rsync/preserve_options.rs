//! The table rows of options for what a snapshot keeps of its source, and for its layout.

use crate::config::rsync::row::OptionRow;

const NO_INODES: &str = "SFTP has no inode numbers";
const NO_XATTRS: &str = "SFTP has no extended attributes";
const NO_DEVICES: &str = "SFTP has no device numbers";
const NO_MOUNTS: &str = "SFTP has no mount points";

/// In the order of rsync(1).
pub(crate) const ROWS: &[OptionRow] = &[
    OptionRow::switch(
        "archive",
        |w, _| {
            let keep = &mut w.keep;
            (keep.symlinks, keep.mode, keep.times, keep.group) = (true, true, true, true);
            (keep.owner, keep.devices, keep.specials) = (true, true, true);
        },
        "stands for -rlptgoD; it is on, and a `--no-...` switches a part of it off",
    )
    .short('a'),
    OptionRow::always("recursive", "a snapshot contains whole folders").short('r').no(),
    OptionRow::switch(
        "relative",
        |w, on| w.relative = on,
        "a snapshot contains the full source path; `--no-relative`: only its last name",
    )
    .short('R')
    .no(),
    OptionRow::switch(
        "implied-dirs",
        |w, on| w.keep.implied_folders = on,
        "`--no-implied-dirs`: the folders that lead to a source get mode 755 and the owner of the run, not their own",
    )
    .or(&["i-d"])
    .no(),
    OptionRow::switch("links", |w, on| w.keep.symlinks = on, "symlinks are kept as symlinks")
        .short('l')
        .no(),
    OptionRow::switch(
        "copy-links",
        |w, _| w.follow.all = true,
        "the target of a symlink is stored instead of the symlink; a symlink that leads back into itself is reported, not followed",
    )
    .short('L')
    .local("SFTP cannot tell where a symlink leads"),
    OptionRow::switch(
        "copy-unsafe-links",
        |w, _| w.follow.unsafe_ones = true,
        "like `--copy-links`, but only for symlinks that lead out of the source",
    )
    .local("SFTP cannot tell where a symlink leads"),
    OptionRow::switch(
        "safe-links",
        |w, _| w.keep.safe_links = true,
        "symlinks that lead out of the source, and absolute ones, are excluded",
    ),
    OptionRow::refused("munge-links", "symlinks are kept as they are; remove it").no(),
    OptionRow::switch(
        "copy-dirlinks",
        |w, _| w.follow.folders = true,
        "like `--copy-links`, but only for symlinks to folders",
    )
    .short('k')
    .local("SFTP cannot tell where a symlink leads"),
    OptionRow::refused("keep-dirlinks", "the program writes nothing through a symlink; remove it").short('K'),
    OptionRow::switch("hard-links", |w, on| w.keep.hard_links = on, "hard links within the source are kept")
        .short('H')
        .no()
        .local(NO_INODES),
    OptionRow::switch("perms", |w, on| w.keep.mode = on, "mode bits are kept").short('p').no(),
    OptionRow::switch(
        "executability",
        |w, _| w.keep.executability = true,
        "with `--no-perms`: a file that any user may execute gets mode 755, any other 644",
    )
    .short('E'),
    OptionRow::value(
        "chmod",
        "CHMOD",
        |w, value| w.chmod(value),
        "the changed modes count as those of the source; several options add up",
    ),
    OptionRow::switch("acls", |w, on| w.keep.acls = on, "POSIX ACLs are kept").short('A').no().local(NO_XATTRS),
    OptionRow::switch("xattrs", |w, on| w.keep.xattrs = on, "extended attributes are kept")
        .short('X')
        .no()
        .local(NO_XATTRS),
    OptionRow::switch("owner", |w, on| w.keep.owner = on, "the owner is kept, as a number").short('o').no(),
    OptionRow::switch("group", |w, on| w.keep.group = on, "the group is kept, as a number").short('g').no(),
    OptionRow::switch("devices", |w, on| w.keep.devices = on, "device nodes are kept").no().local(NO_DEVICES),
    OptionRow::switch("specials", |w, on| w.keep.specials = on, "fifos and sockets are kept").no(),
    OptionRow::switch(
        "",
        |w, on| (w.keep.devices, w.keep.specials) = (on, on),
        "stands for `--devices --specials`",
    )
    .short('D')
    .no(),
    OptionRow::refused("copy-devices", "a device has no end, so a backup cannot read it; exclude it with --exclude"),
    OptionRow::refused("write-devices", "the program writes nothing to devices; remove it").no(),
    OptionRow::switch(
        "drop-D",
        |w, _| (w.keep.devices, w.keep.specials) = (false, false),
        "stands for `--no-D`: device nodes, fifos and sockets are excluded",
    )
    .or(&["drop-d"]),
    OptionRow::switch("times", |w, on| w.keep.times = on, "modification times are kept; without them every file is copied on every run")
        .short('t')
        .no(),
    OptionRow::refused("atimes", "access times are not kept: each file that was read would count as changed; remove it")
        .short('U')
        .no(),
    OptionRow::always("open-noatime", "reading does not change access times where the system allows that").no(),
    OptionRow::refused("crtimes", "Linux has no system call that sets a birth time; remove it").short('N').no(),
    OptionRow::switch("omit-dir-times", |w, on| w.keep.folder_times = !on, "the times of folders are not kept")
        .short('O')
        .no(),
    OptionRow::switch("omit-link-times", |w, on| w.keep.link_times = !on, "the times of symlinks are not kept")
        .short('J')
        .no(),
    OptionRow::no_effect("super", "a run sets what it has the right to set, and keeps the rest beside the snapshot").no(),
    OptionRow::switch(
        "fake-super",
        |w, _| w.keep.fake_super = true,
        "an owner and mode that a run has no right to set are kept in the attribute `user.rsync.%stat`, in the format of rsync, and read from it (a copy from a host always reads it); without this option they are kept in .backup_manager/kept. A run as root sets them",
    ),
    OptionRow::always("sparse", "the holes of sparse files are kept; in files of a remote source, runs of zeros become holes")
        .short('S')
        .no(),
    OptionRow::no_effect("preallocate", "the file system allocates what is written"),
    OptionRow::switch(
        "one-file-system",
        |w, on| w.one_file_system(on),
        "of a mount point inside a source only an empty folder is kept; twice (`-xx`): not even that",
    )
    .short('x')
    .no()
    .local(NO_MOUNTS),
    OptionRow::always("numeric-ids", "owner and group are kept as numbers").no(),
    OptionRow::value(
        "usermap",
        "STRING",
        |w, value| w.usermap(value),
        "FROM:TO pairs as in rsync; this machine's /etc/passwd resolves names",
    ),
    OptionRow::value("groupmap", "STRING", |w, value| w.groupmap(value), "like `--usermap`, for groups (/etc/group)"),
    OptionRow::value("chown", "USER:GROUP", |w, value| w.chown(value), "everything gets this owner and group"),
    OptionRow::refused("iconv", "names are bytes and are kept as they are; remove it").with("CONVERT_SPEC").no(),
];
