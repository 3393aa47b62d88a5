//! Opens a log file, possibly in a folder of another user, who must not be able to redirect the
//! output to another file.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::entry::{Kind, c_name};
use crate::fs::dir::resolve::{MOST_LINKS, Resolved, check, is_ours, others_write};
use crate::fs::metadata::stat::meta;

/// Opens the file at `path` for appending and creates it if missing. A symlink is followed only
/// where no other user can have created it. Where other users may create names, the file must be a
/// regular file with a single name: a fifo could block, and a hard link (where the kernel setting
/// `protected_hardlinks` is off) redirects like a symlink.
///
/// # Errors
/// Those of `openat(2)`; an error that contains an [`crate::fs::dir::resolve::UntrustedLink`].
pub fn append_to(path: &Path) -> io::Result<File> {
    let mut path = path.to_owned();
    for _ in 0..=MOST_LINKS {
        match step(&path)? {
            PathStep::Opened(file) => return Ok(file),
            PathStep::Link(target) => path = target,
        }
    }
    Err(Errno::LOOP.into())
}

enum PathStep {
    Opened(File),
    /// A symlink that may be followed, and its target.
    Link(PathBuf),
}

fn step(path: &Path) -> io::Result<PathStep> {
    let name = c_name(path.file_name().ok_or(Errno::ISDIR)?.as_bytes())?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = Resolved::at(parent.unwrap_or(Path::new(".")))?;
    if !folder.missing.is_empty() {
        return Err(Errno::NOENT.into());
    }
    let here = folder.node.meta()?;
    if here.kind != Kind::Folder {
        return Err(Errno::NOTDIR.into());
    }
    let shared = folder.open.is_some() || !is_ours(here.uid) || others_write(&here);
    let more = if shared { OFlags::NONBLOCK } else { OFlags::empty() };
    match open(&folder, &name, OFlags::NOFOLLOW | more) {
        Err(Errno::LOOP) => {}
        opened => {
            let file = opened?;
            let meta = meta(&file)?;
            if shared && (meta.kind != Kind::File || meta.links > 1) {
                return Err(io::Error::other(
                    "it is not a regular file, or it has a second name, in a folder that other users may write to",
                ));
            }
            return Ok(PathStep::Opened(file));
        }
    }
    // Links on procfs point to open files and belong to the kernel (`/dev/stdout`).
    if folder.node.is_on_proc() {
        return Ok(PathStep::Opened(open(&folder, &name, OFlags::empty())?));
    }
    let link = folder.node.child(&name)?;
    check(&folder.node, &folder.real, folder.open.as_ref(), &link, &name)?;
    let target = link.read_link()?;
    Ok(PathStep::Link(folder.real.join(std::ffi::OsStr::from_bytes(&target))))
}

fn open(folder: &Resolved, name: &CStr, more: OFlags) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOCTTY | OFlags::CLOEXEC;
    // The caller's umask applies.
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::openat(&folder.node, name, flags | more, mode).map(File::from)
}

#[cfg(test)]
mod tests {
    use std::fs::create_dir;
    use std::fs::hard_link;
    use std::fs::read_to_string;
    use std::fs::set_permissions;
    use std::fs::write;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::chown;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_made_appended_to_and_reached_through_own_links() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        create_dir(at("logs")).unwrap();
        symlink("logs/log", at("link")).unwrap();
        symlink(at("link"), at("second")).unwrap();
        for path in ["logs/log", "link", "second", "logs/../second"] {
            append_to(&at(path)).unwrap().write_all(b"x").unwrap();
        }
        assert_eq!(read_to_string(at("logs/log")).unwrap(), "xxxx");
        symlink("loop", at("loop")).unwrap();
        for path in ["loop", "none/log", "logs", "logs/log/x"] {
            assert!(append_to(&at(path)).is_err(), "{path}");
        }
        let mut stderr = append_to(Path::new("/dev/stderr")).unwrap();
        stderr.write_all(b"").unwrap();
    }

    #[test]
    fn nothing_in_a_folder_of_another_user_leads_elsewhere() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        write(at("victim"), "kept").unwrap();
        for (folder, owner, mode) in
            [("users", 1000, 0o755), ("open", 0, 0o777), ("tmp", 0, 0o1777)]
        {
            create_dir(at(folder)).unwrap();
            let at = |name: &str| at(folder).join(name);
            symlink("../victim", at("link")).unwrap();
            std::os::unix::fs::lchown(at("link"), Some(1000), None).unwrap();
            hard_link(top.path().join("victim"), at("hard")).unwrap();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                at("fifo"),
                rustix::fs::FileType::Fifo,
                Mode::RUSR | Mode::WUSR,
                0,
            )
            .unwrap();
            chown(at(""), Some(owner), None).unwrap();
            set_permissions(at(""), PermissionsExt::from_mode(mode)).unwrap();
            for name in ["link", "hard", "fifo"] {
                assert!(append_to(&at(name)).is_err(), "{folder}/{name}");
            }
            append_to(&at("log")).unwrap().write_all(b"x").unwrap();
            assert_eq!(read_to_string(at("log")).unwrap(), "x");
        }
        assert_eq!(read_to_string(at("victim")).unwrap(), "kept");
    }
}
