//! The source is a second container with sshd, on the network that compose creates.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use fixtures::docker::{Engine, Project};
use fixtures::history::History;
use fixtures::need;
use fixtures::scratch::Scratch;
use fixtures::stage::inside;
use fixtures::tree::Tree;

use crate::engine;
use crate::stand::wait_for_complete;

pub(crate) const SSHD: &str = "backup_manager_test_sshd";

/// An image with an sshd that reads its keys and configuration from a mounted folder.
pub(crate) fn build_sshd(engine: &Engine, folder: &Path) {
    let dockerfile = "FROM debian:bookworm-slim\n\
        RUN apt-get update && apt-get install -y --no-install-recommends openssh-server && mkdir -p /run/sshd\n\
        CMD [\"/usr/sbin/sshd\", \"-D\", \"-e\", \"-f\", \"/keys/sshd.conf\"]\n";
    engine.build(SSHD, folder, dockerfile);
}

/// The files that a user prepares on the host: a key without a passphrase in `~/.ssh`, and the
/// host's key in `config/known_hosts`, because `~/.ssh` is mounted read-only.
pub(crate) fn keys(folder: &Scratch) {
    for name in ["keys", "config", "home/.ssh"] {
        fs::create_dir_all(folder.join(name)).expect("keys of a test");
    }
    for key in ["keys/host", "home/.ssh/id_ed25519"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(key));
        assert!(keygen.status().expect("keys of a test").success());
    }
    fs::copy(folder.join("home/.ssh/id_ed25519.pub"), folder.join("keys/user.pub"))
        .expect("keys of a test");
    let conf = "HostKey /keys/host\nAuthorizedKeysFile /keys/user.pub\nStrictModes no\nUsePAM no\n\
        Subsystem sftp internal-sftp\n";
    fs::write(folder.join("keys/sshd.conf"), conf).expect("keys of a test");
    let host = fs::read_to_string(folder.join("keys/host.pub")).expect("keys of a test");
    fs::write(folder.join("config/known_hosts"), format!("source {host}")).expect("keys of a test");
}

/// SFTP has whole seconds, and rsync compares whole seconds by default.
fn assert_same(source: &Path, copy: &Path) {
    let mut judge = Command::new("rsync");
    judge.args(["-aci", "--numeric-ids", "--delete"]).arg(source.join("")).arg(copy.join(""));
    let said = judge.output().expect("rsync runs");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "");
}

#[test]
fn a_host_on_the_compose_network_is_backed_up_as_soon_as_it_is_up() {
    let engine = need!(engine());
    need!(need::tool("ssh-keygen"));
    let folder = Scratch::new();
    build_sshd(engine, &folder.join("image"));
    keys(&folder);
    let source = folder.join("source");
    let tree = Tree::new()
        .file("file", "1")
        .owner(1_234, 5_678)
        .random_file("folder/large", 3_000_000, 1)
        .symlink("link", "file");
    fs::create_dir(&source).unwrap();
    tree.build(&source);
    let name = format!("bm-remote-{}", std::process::id());
    let changes = format!(
        "services:\n  backup_manager:\n    container_name: {name}\n    environment:\n\
         \x20     - SRCS_TO_BACKUP=/srv/source\n      - REMOTE_SRC_HOST=root@source\n\
         \x20   volumes: [\"~/.ssh:/root/.ssh:ro\"]\n\
         \x20 source:\n    image: {SSHD}\n    volumes:\n      - ./source:/srv/source:ro\n      - ./keys:/keys:ro\n"
    );
    let project = Project::new(engine, "bm-remote", folder.path(), Some(&changes));
    // The host is down at first; this is reported and ends nothing.
    let container = project.up(&["backup_manager"], &name);
    container.wait_for_log("root@source");
    assert_eq!(container.field("State.Running"), "true", "{}", container.logs());
    let container = project.up(&[], &name);
    let history = History::new(&folder.join("backups"), "my_backups");
    wait_for_complete(&history, 1, &container);
    assert_same(&source, &inside(&history.newest(), "/srv/source".as_ref()));

    // The same as a user without a passwd entry, with a read-only root file system.
    let (home, backups) = (folder.join("home/.ssh"), folder.join("backups_of_1234"));
    fs::create_dir(&backups).unwrap();
    // The daemon created the file with access for its owner only.
    let config = folder.join("config/config.toml");
    for path in [&home.join("id_ed25519"), &backups, &config] {
        chown(path, Some(1_234), Some(1_234)).unwrap();
    }
    let mount = |path: &Path, to: &str| format!("{}:{to}", path.display());
    let network = format!("{}_default", project.name);
    let options = ["--network", &network, "--user", "1234:1234", "--read-only", "--tmpfs", "/tmp"];
    let settings = ["-e", "SRCS_TO_BACKUP=/srv/source", "-e", "REMOTE_SRC_HOST=root@source"];
    let mounts = [
        mount(&home, "/root/.ssh:ro"),
        mount(&backups, "/backups"),
        mount(&folder.join("config"), "/config:ro"),
    ];
    let mounts = mounts.iter().flat_map(|mount| ["-v", mount]);
    let options: Vec<_> =
        options.into_iter().chain(settings).chain(mounts).map(str::to_owned).collect();
    engine.run(&options, &["run"]).assert_code(0).assert_says("completed");
    let newest = History::new(&backups, "my_backup").newest();
    let kept = fs::read(inside(&newest, "/srv/source/folder/large".as_ref())).unwrap();
    assert!(kept == fs::read(source.join("folder/large")).unwrap());
    container.wait_for_log("nothing to do");

    // The image copies its program to the other container, and keeps what SFTP does not carry.
    fs::hard_link(source.join("file"), source.join("second name")).unwrap();
    let settings = ["-e", "REMOTE_HELPER=install", "-e", "BACKUP_NAME_PREFIX=helper"];
    let settings = settings.map(str::to_owned);
    let options: Vec<_> = options.into_iter().chain(settings).collect();
    engine.run(&options, &["run"]).assert_code(0).assert_says("backup_manager was copied there");
    let newest = History::new(&backups, "helper").newest();
    let kept =
        |name: &str| fs::metadata(inside(&newest, &Path::new("/srv/source").join(name))).unwrap();
    assert_eq!(kept("file").ino(), kept("second name").ino());
    assert_eq!(kept("file").mtime_nsec(), fs::metadata(source.join("file")).unwrap().mtime_nsec());
}
