//! The client openssh-sftp-client connects to the test server that lies, while it gives only correct answers: what a client by other
//! authors sees and changes there is what is on the disk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::future::poll_fn;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use fixtures::liar::Control;
use futures_core::Stream;
use openssh_sftp_client::metadata::Permissions;
use openssh_sftp_client::{Sftp, SftpOptions};
use tempfile::TempDir;

/// What is compared of an entry: type and mode, size, owner, group, modification time, target or content.
type Seen = BTreeMap<PathBuf, (u32, u64, u32, u32, i64, Vec<u8>)>;

/// Connects to a server of the files below `root` that gives correct answers and may change `writable`.
async fn connect(control: &Path, root: &Path, writable: Option<&Path>) -> Sftp {
    let control = Control::new(control);
    control.set("truth", root, root).unwrap();
    if let Some(folder) = writable {
        control.open_to(folder).unwrap();
    }
    let (here, there) = UnixStream::pair().unwrap();
    std::thread::spawn(move || control.serve(there.try_clone().unwrap(), there));
    here.set_nonblocking(true).unwrap();
    let (from, to) = tokio::net::UnixStream::from_std(here).unwrap().into_split();
    Sftp::new(to, from, SftpOptions::new()).await.unwrap()
}

/// The folder as the client sees it.
async fn seen(sftp: &Sftp, root: &Path) -> Seen {
    let (mut seen, mut folders) = (Seen::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        let mut listing = Box::pin(sftp.fs().open_dir(&folder).await.unwrap().read_dir());
        while let Some(entry) = poll_fn(|context| listing.as_mut().poll_next(context)).await {
            let entry = entry.unwrap();
            if matches!(entry.filename().to_str(), Some("." | "..")) {
                continue;
            }
            let path = folder.join(entry.filename());
            let mut fs = sftp.fs();
            let meta = fs.symlink_metadata(&path).await.unwrap();
            let kind = meta.file_type().unwrap();
            let content = if kind.is_symlink() {
                fs.read_link(&path).await.unwrap().into_os_string().into_encoded_bytes()
            } else if kind.is_file() {
                fs.read(&path).await.unwrap().to_vec()
            } else {
                folders.push(path.clone());
                Vec::new()
            };
            let mode = u32::from(kind.is_dir()) * 0o040_000
                + u32::from(kind.is_file()) * 0o100_000
                + u32::from(kind.is_symlink()) * 0o120_000
                + bits(meta.permissions().unwrap());
            let time = i64::from(meta.modified().unwrap().into_raw());
            let owner = (meta.uid().unwrap(), meta.gid().unwrap());
            seen.insert(path, (mode, meta.len().unwrap(), owner.0, owner.1, time, content));
        }
    }
    seen
}

fn bits(mode: Permissions) -> u32 {
    let bits = [
        mode.suid(),
        mode.sgid(),
        mode.svtx(),
        mode.read_by_owner(),
        mode.write_by_owner(),
        mode.execute_by_owner(),
        mode.read_by_group(),
        mode.write_by_group(),
        mode.execute_by_group(),
        mode.read_by_other(),
        mode.write_by_other(),
        mode.execute_by_other(),
    ];
    bits.iter().fold(0, |mode, bit| mode << 1 | u32::from(*bit))
}

/// The folder as the disk has it.
fn on_disk(root: &Path) -> Seen {
    let (mut found, mut folders) = (Seen::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else if meta.is_file() {
                fs::read(&path).unwrap()
            } else {
                folders.push(path.clone());
                Vec::new()
            };
            let described =
                (meta.mode(), meta.len(), meta.uid(), meta.gid(), meta.mtime(), content);
            found.insert(path, described);
        }
    }
    found
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn another_client_sees_what_is_on_the_disk() {
    run(async {
        let (control, tree) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let root = tree.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("empty"), "").unwrap();
        // Longer than one answer holds.
        let long: Vec<u8> = (0..600_000_u32).map(|number| (number % 251) as u8).collect();
        fs::write(root.join("a/long"), &long).unwrap();
        symlink("nowhere/at all", root.join("a/b/link")).unwrap();
        for number in 0..250 {
            fs::write(root.join("a/b").join(format!("n\u{e4}me {number}")), [number as u8])
                .unwrap();
        }
        let sftp = connect(control.path(), root, None).await;
        assert!(seen(&sftp, root).await == on_disk(root));
        let missing = sftp.fs().symlink_metadata(root.join("missing")).await;
        assert!(format!("{:?}", missing.unwrap_err()).contains("NoSuchFile"));
        assert!(sftp.fs().create_dir(root.join("refused")).await.is_err());
        assert!(!root.join("refused").exists());
        assert!(!Control::new(control.path()).lied(), "the server gave a wrong answer");
    });
}

#[test]
fn changes_of_another_client_are_on_the_disk() {
    run(async {
        let (control, tree) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let root = tree.path();
        let sftp = connect(control.path(), root, Some(root)).await;
        let mut fs = sftp.fs();
        fs.create_dir(root.join("folder")).await.unwrap();
        fs.symlink("target", root.join("folder/link")).await.unwrap();
        let content = vec![7_u8; 100_000];
        let mut file = sftp
            .options()
            .write(true)
            .create_new(true)
            .open(root.join("folder/file"))
            .await
            .unwrap();
        file.write_all(&content).await.unwrap();
        file.close().await.unwrap();
        assert!(
            sftp.options()
                .write(true)
                .create_new(true)
                .open(root.join("folder/file"))
                .await
                .is_err()
        );
        assert!(sftp.support_posix_rename() && sftp.support_hardlink() && sftp.support_fsync());
        fs.rename(root.join("folder/file"), root.join("folder/renamed")).await.unwrap();
        assert!(std::fs::read(root.join("folder/renamed")).unwrap() == content);
        fs.hard_link(root.join("folder/renamed"), root.join("other")).await.unwrap();
        assert_eq!(std::fs::metadata(root.join("other")).unwrap().nlink(), 2);
        assert!(seen(&sftp, root).await == on_disk(root));
        fs.remove_file(root.join("folder/link")).await.unwrap();
        fs.remove_file(root.join("folder/renamed")).await.unwrap();
        fs.remove_dir(root.join("folder")).await.unwrap();
        assert!(seen(&sftp, root).await == on_disk(root));
        assert!(!Control::new(control.path()).lied(), "the server gave a wrong answer");
    });
}
