//! `REMOTE_HELPER=install` where nothing can be copied: the host is read over SFTP, and log and doctor say why and what
//! to do.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::need::Missing;

use crate::OVER_SFTP;
use crate::setup::install::Host;

/// A file system in memory on a folder; unmounted when dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) fn on(folder: PathBuf, options: &str) -> Result<Self, Missing> {
        need::root()?;
        fs::create_dir_all(&folder).expect("a folder");
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(&folder).output();
        let done = done.expect("mount starts");
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            return Err(Missing(format!("needs the right to mount: {said}")));
        }
        Ok(Self(folder))
    }

    pub(crate) fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = Command::new("mount").arg("-o").arg(options).arg(&self.0).status();
        assert!(done.expect("mount starts").success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

impl Host {
    /// Takes a snapshot over SFTP. The log and doctor say `why`, and `next`.
    #[track_caller]
    fn falls_back(&self, why: &str, next: &str) {
        let done = self.run().expect(0);
        done.assert_says(OVER_SFTP).assert_says(why).assert_says(next);
        let lines = done.said().lines().filter(|line| line.contains(why)).count();
        assert_eq!(lines, 1, "{}", done.said());
        self.stage.assert_newest_is_source(Judge::sftp());
        let doctor = self.doctor();
        for words in [why, next] {
            assert!(doctor.contains(words), "{words}: {doctor}");
        }
    }
}

const IN_PATH: &str = "put backup_manager into a folder in the PATH of that user";

#[test]
fn a_full_home_is_named() {
    let host = need!(Host::new());
    let home = need!(Mounted::on(host.server.path(".cache"), "size=2m,mode=700"));
    host.falls_back("KiB free, and backup_manager needs", "free some");
    // Not even a small file has room.
    let filled = Command::new("sh")
        .args(["-c", "mkdir backup_manager; cat /dev/zero >fill 2>/dev/null; exit 0"])
        .current_dir(&home.0)
        .status();
    assert!(filled.expect("sh starts").success());
    host.falls_back("~/.cache/backup_manager there cannot be written: ", "make it writable");
    assert_eq!(host.names(), BTreeSet::new());
}

#[test]
fn a_quota_that_ends_in_the_middle_leaves_nothing() {
    let host = need!(Host::with(|fake, plan| {
        // The host does not say how much is free.
        fs::write(fake.join("df"), "#!/bin/sh\nexit 1\n").expect("written");
        let program = Command::new("chmod").arg("755").arg(fake.join("df")).status();
        assert!(program.expect("chmod starts").success());
        let fake = fake.display();
        plan.line(format!("ForceCommand PATH={fake}:$PATH sh -c \"$SSH_ORIGINAL_COMMAND\""))
    }));
    let _home = need!(Mounted::on(host.server.path(".cache"), "size=2m,mode=700"));
    let done = host.run().expect(0);
    done.assert_says(OVER_SFTP).assert_says("No space left on device").assert_says(IN_PATH);
    assert_eq!(host.names(), BTreeSet::new());
}

#[test]
fn a_read_only_home_is_named() {
    let host = need!(Host::new());
    let home = need!(Mounted::on(host.server.path(".cache"), "mode=700"));
    home.remount("ro");
    host.falls_back("cannot be written: mkdir: ", IN_PATH);
    home.remount("rw");
    fs::create_dir(host.folder()).unwrap();
    home.remount("ro");
    host.falls_back("Read-only file system", "make it writable");
}

#[test]
fn a_home_that_starts_no_programs_is_named_before_anything_is_sent() {
    let host = need!(Host::new());
    let _home = need!(Mounted::on(host.server.path(".cache"), "mode=700,noexec"));
    host.falls_back("programs in ~/.cache there do not start (mount option noexec?)", IN_PATH);
    assert_eq!(host.names(), BTreeSet::new());
}

#[test]
fn a_symlink_on_the_way_is_not_followed() {
    for link in [".cache", ".cache/backup_manager"] {
        let host = need!(Host::new());
        let elsewhere = host.stage.beside("elsewhere");
        fs::create_dir_all(elsewhere.join("backup_manager")).unwrap();
        let path = host.server.path(link);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(&elsewhere, &path).unwrap();
        host.falls_back(&format!("~/{link} there is a symlink"), "remove it");
        let inside: Vec<_> = fs::read_dir(elsewhere.join("backup_manager")).unwrap().collect();
        assert!(inside.is_empty(), "{inside:?}");
        assert!(path.is_symlink());
    }
}

#[test]
fn a_folder_in_the_place_of_the_copy_stays() {
    let host = need!(Host::new());
    host.run().expect(0);
    let name = host.names().pop_first().unwrap();
    fs::remove_file(host.folder().join(&name)).unwrap();
    fs::create_dir(host.folder().join(&name)).unwrap();
    host.falls_back(&format!("cannot be written: {name} is a folder"), "make it writable");
    assert_eq!(host.names(), BTreeSet::from([name]));
}

#[test]
fn an_account_without_a_shell_is_named() {
    for line in ["ForceCommand internal-sftp", "ForceCommand echo no shell for you"] {
        let host = need!(Host::with(|_, plan| plan.line(line)));
        let done = host.run().done();
        if line.contains("sftp") {
            done.assert_code(0).assert_says(OVER_SFTP).assert_says("REMOTE_HELPER=off");
            host.stage.assert_newest_is_source(Judge::sftp());
        }
        assert_eq!(host.names(), BTreeSet::new());
    }
}

#[test]
fn a_home_that_is_not_there_is_named() {
    // sshd takes the first value of an option, which is that of the fixture.
    let host = need!(Host::with(|_, plan| {
        plan.line("ForceCommand HOME=/nonexistent sh -c \"$SSH_ORIGINAL_COMMAND\"")
    }));
    let done = host.run().done();
    done.assert_says("the home folder of that user cannot be entered (/nonexistent)");
}
