//! Recognizes network and distributed file systems by their mounts, and the options that harm backups there.
//! docs/distributed.md has the reasons.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use engine::fs::Mount;

use crate::doctor::finding::DoctorFinding;
use crate::hint::step::Step;

const CHECK: &str = "file system";

/// A file system on other machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkDisk {
    kind: Kind,
    options: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    MooseFs,
    GlusterFs,
    CephFs,
    JuiceFs,
    SeaweedFs,
    Nfs,
    Smb,
    Sshfs,
}

impl Kind {
    fn of(mount: &Mount) -> Option<Self> {
        Some(match mount.kind.as_str() {
            // Debian's mfsmount gives no type.
            "fuse" if mount.source.to_string_lossy().starts_with("mfs#") => Self::MooseFs,
            "fuse.mfs" | "fuse.mfsmount" | "fuse.moosefs" => Self::MooseFs,
            "fuse.glusterfs" => Self::GlusterFs,
            "ceph" | "fuse.ceph" | "fuse.ceph-fuse" => Self::CephFs,
            "fuse.juicefs" => Self::JuiceFs,
            "fuse.seaweedfs" | "fuse.weed" => Self::SeaweedFs,
            "nfs" | "nfs4" => Self::Nfs,
            "cifs" | "smb3" => Self::Smb,
            "fuse.sshfs" => Self::Sshfs,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::MooseFs => "MooseFS",
            Self::GlusterFs => "GlusterFS",
            Self::CephFs => "CephFS",
            Self::JuiceFs => "JuiceFS",
            Self::SeaweedFs => "SeaweedFS",
            Self::Nfs => "NFS",
            Self::Smb => "SMB",
            Self::Sshfs => "sshfs",
        }
    }

    /// What it lacks beside a local disk.
    fn lacks(self) -> &'static str {
        match self {
            Self::MooseFs => "times in whole seconds from 1970 to 2106, no holes",
            Self::GlusterFs => {
                "about 45 names of a file on ext4 bricks, 100 at most by storage.max-hardlinks"
            }
            Self::CephFs => "no holes",
            Self::JuiceFs | Self::Nfs => "locks and caches as it is mounted",
            Self::SeaweedFs => "names that are not UTF-8 change, and links take quadratic time",
            Self::Smb => "owners, modes and links as the server has them",
            Self::Sshfs => "whole seconds, no attributes, and no locks between machines",
        }
    }
}

/// An option that harms backups: its name and value as the mount shows it, what it does, what to use.
type Wrong = (&'static str, &'static str, &'static str);

/// Its locks do not reach the server.
const LOCAL_LOCKS: &str =
    "locks are this machine's alone: another machine could run at the same time";
const ONE_MACHINE: &str = "mount without it, or let one machine alone run here";

fn wrong(kind: Kind) -> &'static [Wrong] {
    const NO_ACLS: &str = "ACLs are not stored in the snapshots but beside them";
    match kind {
        // It has this option unless it is mounted with `acl` (measured, GlusterFS 10).
        Kind::GlusterFs => &[("default_permissions", NO_ACLS, "mount it with -o acl")],
        Kind::CephFs => &[("noacl", NO_ACLS, "mount it without noacl")],
        Kind::Nfs => &[
            ("soft", "a slow server makes calls fail, and the run with them", "mount it with hard"),
            ("nolock", LOCAL_LOCKS, ONE_MACHINE),
            ("local_lock=all", LOCAL_LOCKS, ONE_MACHINE),
            ("local_lock=flock", LOCAL_LOCKS, ONE_MACHINE),
            ("noacl", NO_ACLS, "mount it without noacl"),
        ],
        Kind::Smb => &[
            ("nobrl", LOCAL_LOCKS, ONE_MACHINE),
            (
                "cache=loose",
                "this machine may show what another one changed meanwhile",
                "mount it with cache=strict",
            ),
            (
                "noserverino",
                "inode numbers are invented, so that hard links are not recognized",
                "mount it with serverino",
            ),
        ],
        Kind::MooseFs | Kind::JuiceFs | Kind::SeaweedFs | Kind::Sshfs => &[],
    }
}

impl NetworkDisk {
    /// `None` for a local file system, and for one that is not known.
    pub(crate) fn of(mount: &Mount) -> Option<Self> {
        Some(Self { kind: Kind::of(mount)?, options: mount.options.clone() })
    }

    /// What it is, and each option that harms backups.
    pub(crate) fn findings(&self) -> Vec<DoctorFinding> {
        let is = format!("{}: {}", self.kind.name(), self.kind.lacks());
        let mut found = vec![match self.kind {
            Kind::SeaweedFs => DoctorFinding::warning(CHECK, is, "use another file system"),
            Kind::Sshfs => DoctorFinding::warning(CHECK, is, ONE_MACHINE),
            _ => DoctorFinding::good(CHECK, is),
        }];
        let set = |option: &&Wrong| self.options.iter().any(|set| set == option.0);
        found.extend(wrong(self.kind).iter().filter(set).map(|(option, harm, fix)| {
            let what = format!("{} is mounted with {option}: {harm}", self.kind.name());
            DoctorFinding::warning(CHECK, what, Step::from(*fix))
        }));
        found
    }

    /// How a mount of it gets extended attributes.
    pub(crate) fn with_attributes(&self) -> Option<&'static str> {
        (self.kind == Kind::JuiceFs).then_some("mount it with juicefs mount --enable-xattr")
    }

    /// How often a MooseFS stores each file that is new in the folder `dir`, where its tools are installed.
    pub(crate) fn copies(&self, dir: &Path) -> Option<DoctorFinding> {
        if self.kind != Kind::MooseFs {
            return None;
        }
        copies_finding(goal(&asked(Command::new("mfsgetgoal").arg(dir))?)?)
    }
}

/// What a program prints, if it is there and soon ends. It talks to a server by itself, which may not answer.
fn asked(program: &mut Command) -> Option<String> {
    const LONGEST: Duration = Duration::from_secs(10);
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = program.spawn().ok()?;
    let begun = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if begun.elapsed() > LONGEST {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut said = String::new();
    child.stdout?.take(4096).read_to_string(&mut said).ok()?;
    Some(said)
}

/// The goal in the output of mfsgetgoal(1): the path, a colon and the number.
fn goal(said: &str) -> Option<u32> {
    said.trim_end().rsplit_once(": ")?.1.parse().ok()
}

fn copies_finding(goal: u32) -> Option<DoctorFinding> {
    (goal < 2).then(|| {
        DoctorFinding::warning(
            CHECK,
            "MooseFS stores each file here once: a lost disk takes snapshots with it",
            Step::command("mfssetgoal -r 2 BACKUPS_DIR"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Grade;

    fn disk(kind: &str, source: &str, options: &str) -> Option<NetworkDisk> {
        NetworkDisk::of(&Mount {
            device: "0:1".to_owned(),
            point: "/backups".into(),
            root: "/".into(),
            kind: kind.to_owned(),
            source: source.into(),
            options: options.split(',').map(ToOwned::to_owned).collect(),
        })
    }

    /// The grades of the findings about a mount, with all texts.
    fn said(kind: &str, source: &str, options: &str) -> (Vec<Grade>, String) {
        let found = disk(kind, source, options).map(|disk| disk.findings()).unwrap_or_default();
        let text = found.iter().map(|finding| format!("{}\n", finding.found)).collect();
        (found.iter().map(|finding| finding.grade).collect(), text)
    }

    #[test]
    fn local_file_systems_need_no_finding() {
        for kind in ["ext4", "xfs", "btrfs", "fuse", "fuse.gocryptfs", "overlay"] {
            assert_eq!(disk(kind, "/dev/sda1", "rw"), None);
        }
    }

    #[test]
    fn each_network_file_system_is_named() {
        for (kind, source, name) in [
            ("fuse", "mfs#10.77.0.1:9421", "MooseFS"),
            ("fuse.glusterfs", "10.77.0.1:v", "GlusterFS"),
            ("ceph", "10.0.0.1:6789:/", "CephFS"),
            ("fuse.ceph-fuse", "ceph-fuse", "CephFS"),
            ("fuse.juicefs", "JuiceFS:jfs", "JuiceFS"),
            ("nfs4", "nas:/disk", "NFS"),
            ("cifs", "//nas/disk", "SMB"),
        ] {
            let (grades, text) = said(kind, source, "rw,relatime");
            assert_eq!(grades, [Grade::Good], "{text}");
            assert!(text.starts_with(&format!("{name}: ")), "{text}");
        }
        assert_eq!(said("fuse.seaweedfs", "filer:8888:/", "rw").0, [Grade::Warning]);
    }

    #[test]
    fn an_option_that_harms_backups_is_named() {
        for (kind, options, part) in [
            ("nfs", "rw,vers=3,soft,proto=tcp", "mounted with soft"),
            ("nfs", "rw,vers=3,hard,nolock", "mounted with nolock"),
            ("nfs4", "rw,hard,local_lock=all", "local_lock=all"),
            ("cifs", "rw,nobrl", "another machine could run"),
            ("cifs", "rw,noserverino", "hard links are not recognized"),
            ("fuse.glusterfs", "rw,default_permissions,allow_other", "ACLs are not stored"),
        ] {
            let (grades, text) = said(kind, "x", options);
            assert_eq!(grades, [Grade::Good, Grade::Warning], "{options}: {text}");
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(said("nfs4", "x", "rw,hard,local_lock=none,softreval").0, [Grade::Good]);
    }

    #[test]
    fn a_single_copy_in_moosefs_is_named() {
        assert_eq!(goal("/backups with: colon: 2\n"), Some(2));
        assert_eq!(goal("/backups: 2\n"), Some(2));
        assert_eq!(goal("/backups: goal set"), None);
        assert!(copies_finding(2).is_none() && copies_finding(1).is_some());
    }
}
