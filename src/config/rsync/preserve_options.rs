//! The rows of options that say what a snapshot keeps of its source, and how it is laid out.

use crate::config::rsync::row::Row;

const NO_INODES: &str = "SFTP tells no inodes";
const NO_XATTRS: &str = "SFTP tells no attributes";
const NO_DEVICES: &str = "SFTP tells no device numbers";
const NO_MOUNTS: &str = "SFTP tells no mount points";

/// In the order of rsync(1).
pub(crate) const ROWS: &[Row] = &[
    Row::switch(
        "archive",
        |w, _| {
            let keep = &mut w.keep;
            (keep.symlinks, keep.mode, keep.times, keep.group) = (true, true, true, true);
            (keep.owner, keep.devices, keep.specials) = (true, true, true);
        },
        "is -rlptgoD, which is on unless a `--no-…` takes it away",
    )
    .short('a'),
    Row::always("recursive", "a snapshot holds whole folders").short('r').no(),
    Row::switch(
        "relative",
        |w, on| w.relative = on,
        "the full source path lies inside a snapshot; `--no-relative`: only its last name",
    )
    .short('R')
    .no(),
    Row::switch(
        "implied-dirs",
        |w, on| w.keep.implied_folders = on,
        "`--no-implied-dirs`: the folders that lead to a source get mode 755 and the owner of the run, not their own",
    )
    .or(&["i-d"])
    .no(),
    Row::switch("links", |w, on| w.keep.symlinks = on, "symlinks are kept as symlinks")
        .short('l')
        .no(),
    Row::switch(
        "copy-links",
        |w, _| w.follow.all = true,
        "symlinks are replaced by what they lead to; one that leads back into itself is listed, not followed",
    )
    .short('L')
    .local("a symlink is not followed on another machine"),
    Row::switch(
        "copy-unsafe-links",
        |w, _| w.follow.unsafe_ones = true,
        "as `--copy-links`, for symlinks that lead out of the source",
    )
    .local("a symlink is not followed on another machine"),
    Row::switch(
        "safe-links",
        |w, _| w.keep.safe_links = true,
        "symlinks that lead out of the source, and absolute ones, are left out",
    ),
    Row::refused("munge-links", "symlinks are kept as they are; remove it").no(),
    Row::switch(
        "copy-dirlinks",
        |w, _| w.follow.folders = true,
        "as `--copy-links`, for symlinks to folders",
    )
    .short('k')
    .local("a symlink is not followed on another machine"),
    Row::refused("keep-dirlinks", "nothing is written through a symlink; remove it").short('K'),
    Row::switch("hard-links", |w, on| w.keep.hard_links = on, "hard links within the source are kept")
        .short('H')
        .no()
        .local(NO_INODES),
    Row::switch("perms", |w, on| w.keep.mode = on, "mode bits are kept").short('p').no(),
    Row::switch(
        "executability",
        |w, _| w.keep.executability = true,
        "with `--no-perms`: files that somebody may execute get mode 755, the others 644",
    )
    .short('E'),
    Row::value(
        "chmod",
        "CHMOD",
        |w, value| w.chmod(value),
        "the modes are taken as if the source had the changed ones; several add up",
    ),
    Row::switch("acls", |w, on| w.keep.acls = on, "POSIX ACLs are kept").short('A').no().local(NO_XATTRS),
    Row::switch("xattrs", |w, on| w.keep.xattrs = on, "extended attributes are kept")
        .short('X')
        .no()
        .local(NO_XATTRS),
    Row::switch("owner", |w, on| w.keep.owner = on, "the owner is kept, as a number").short('o').no(),
    Row::switch("group", |w, on| w.keep.group = on, "the group is kept, as a number").short('g').no(),
    Row::switch("devices", |w, on| w.keep.devices = on, "device nodes are kept").no().local(NO_DEVICES),
    Row::switch("specials", |w, on| w.keep.specials = on, "fifos and sockets are kept").no(),
    Row::switch(
        "",
        |w, on| (w.keep.devices, w.keep.specials) = (on, on),
        "is `--devices --specials`",
    )
    .short('D')
    .no(),
    Row::refused("copy-devices", "a device has no end that a backup could read to; leave it out with --exclude"),
    Row::refused("write-devices", "nothing is written to devices; remove it").no(),
    Row::switch(
        "drop-D",
        |w, _| (w.keep.devices, w.keep.specials) = (false, false),
        "is `--no-D`: device nodes, fifos and sockets are left out",
    )
    .or(&["drop-d"]),
    Row::switch("times", |w, on| w.keep.times = on, "modification times are kept; without them every file is copied on every run")
        .short('t')
        .no(),
    Row::refused("atimes", "access times are not kept, they would make each read file a changed one; remove it")
        .short('U')
        .no(),
    Row::always("open-noatime", "reading leaves access times alone where the system allows that").no(),
    Row::refused("crtimes", "no system call of Linux sets a birth time; remove it").short('N').no(),
    Row::switch("omit-dir-times", |w, on| w.keep.folder_times = !on, "the times of folders are not kept")
        .short('O')
        .no(),
    Row::switch("omit-link-times", |w, on| w.keep.link_times = !on, "the times of symlinks are not kept")
        .short('J')
        .no(),
    Row::no_effect("super", "what the run may set it sets, what it may not is kept beside the snapshot").no(),
    Row::switch(
        "fake-super",
        |w, _| w.keep.fake_super = true,
        "owner and mode of files and folders that may not be set are kept in the attribute `user.rsync.%stat`, as rsync writes it, and read from there; without it they are kept in .backup_manager/kept. As root nothing is faked",
    ),
    Row::always("sparse", "the holes of sparse files are kept; of a remote source runs of zeros become holes")
        .short('S')
        .no(),
    Row::no_effect("preallocate", "the file system allocates what is written"),
    Row::switch(
        "one-file-system",
        |w, on| w.one_file_system(on),
        "mount points inside a source are left out, but for an empty folder; twice (`-xx`): that too",
    )
    .short('x')
    .no()
    .local(NO_MOUNTS),
    Row::always("numeric-ids", "owner and group are kept as numbers").no(),
    Row::value(
        "usermap",
        "STRING",
        |w, value| w.usermap(value),
        "FROM:TO pairs, as rsync's; names are looked up in /etc/passwd of this machine",
    ),
    Row::value("groupmap", "STRING", |w, value| w.groupmap(value), "as `--usermap`, for groups (/etc/group)"),
    Row::value("chown", "USER:GROUP", |w, value| w.chown(value), "everything gets this owner and group"),
    Row::refused("iconv", "names are bytes and are kept as they are; remove it").with("CONVERT_SPEC").no(),
];
