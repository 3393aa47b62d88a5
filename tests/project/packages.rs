//! The packages of `make dist`: what is in them, and that they are installed, upgraded and removed in a fresh container.

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::docker::{Container, bases, docker};
use fixtures::need;
use fixtures::need::Missing;
use fixtures::run::Run;
use fixtures::scratch::Scratch;

use crate::dist::{assert_helpers, dist, unpacked};
use crate::documents::dead_links;

const NAME: &str = "ism1-backup-manager";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of the package that is installed before the one of this checkout.
const OLDER: &str = "0.0.9";

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Packs the folder `tree` as `version`, as `make dist` does.
fn pack(tree: &Path, arch: &str, version: &str, out: &Path, kind: &str) -> Run {
    let script = checkout().join("deploy/packages/build.sh");
    let run = Run::new("bash").arg(script).arg(tree).arg(arch).arg(version).arg(out).arg(kind);
    run.env("SOURCE_DATE_EPOCH", "1700000000").env("PACKAGE_LEVEL", "0")
}

/// The package of this kind for `arch` in the output of `make dist`.
fn package(folder: &Path, kind: &str, arch: &str) -> PathBuf {
    let debian = if arch == "x86_64" { "amd64" } else { "arm64" };
    folder.join(match kind {
        "deb" => format!("{NAME}_{VERSION}_{debian}.deb"),
        _ => format!("{NAME}-{VERSION}-1.{arch}.rpm"),
    })
}

/// The folder of `make dist`, if it was able to make this kind of package.
fn dist_with(kind: &str) -> Result<PathBuf, Missing> {
    need::tool(if kind == "deb" { "dpkg-deb" } else { "rpmbuild" })?;
    dist()
}

/// The architectures that `make dist` built.
fn archs(folder: &Path) -> Vec<&'static str> {
    let is_there =
        |arch: &&str| folder.join(format!("backup_manager-{VERSION}-{arch}-linux")).exists();
    ["x86_64", "aarch64"].into_iter().filter(is_there).collect()
}

#[test]
fn each_package_is_for_its_architecture_and_belongs_to_root() {
    let folder = need!(dist_with("deb"));
    need!(dist_with("rpm"));
    for arch in archs(&folder) {
        let deb = package(&folder, "deb", arch);
        let debian = if arch == "x86_64" { "amd64" } else { "arm64" };
        let field = Run::new("dpkg-deb").arg("-f").arg(&deb).arg("Architecture").expect(0);
        assert_eq!(field.stdout.trim(), debian);
        let list = Run::new("dpkg-deb").arg("-c").arg(&deb).expect(0).stdout;
        let of_others: Vec<_> = list.lines().filter(|line| !line.contains(" root/root ")).collect();
        assert_eq!(of_others, [""; 0]);
        assert!(list.contains("-rwxr-xr-x root/root") && list.contains("./usr/bin/backup_manager"));
        let files = Scratch::new();
        Run::new("dpkg-deb").arg("-x").arg(&deb).arg(files.path()).expect(0);
        assert_eq!(dead_links(&files.join("usr/share/doc").join(NAME)), [""; 0]);
        assert_helpers(&folder, &files.join("usr/libexec/backup_manager"));
        let listed = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
        for path in [&deb, &package(&folder, "rpm", arch)] {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(listed.lines().any(|line| line.ends_with(&format!("  {name}"))), "{name}");
        }

        let rpm = package(&folder, "rpm", arch);
        let format = "[%{FILEUSERNAME}:%{FILEGROUPNAME} %{ARCH}\\n]";
        let query = Run::new("rpm").arg("-qp").arg("--nosignature").arg("--qf").arg(format);
        let owners = query.arg(&rpm).expect(0).stdout;
        let expected = format!("root:root {arch}");
        let others: Vec<_> = owners.lines().filter(|line| *line != expected).collect();
        assert_eq!(others, [""; 0]);
    }
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    need!(need::tool("dpkg-deb"));
    need!(need::tool("rpmbuild"));
    let scratch = Scratch::new();
    let tree = scratch.join("tree");
    for folder in ["completions", "man", "deploy/systemd"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    let files = ["backup_manager", "man/backup_manager.1", "deploy/systemd/backup_manager.timer"];
    let completions = ["bash", "zsh", "fish"].map(|it| format!("completions/backup_manager.{it}"));
    for file in files.into_iter().chain(completions.iter().map(String::as_str)) {
        fs::write(tree.join(file), file).unwrap();
    }
    for kind in ["deb", "rpm"] {
        let made = ["022", "077"].map(|umask| {
            let out = scratch.join(&format!("{kind}-{umask}"));
            fs::create_dir(&out).unwrap();
            let shell = format!("umask {umask} && exec \"$@\"");
            pack(&tree, "x86_64", VERSION, &out, kind).under(&["sh", "-c", &shell, "sh"]).expect(0);
            fs::read(package(&out, kind, "x86_64")).unwrap()
        });
        assert!(made[0] == made[1], "{kind}");
    }
}

/// The commands of a package manager.
struct Manager {
    kind: &'static str,
    install: &'static str,
    upgrade: &'static str,
    /// Prints what differs from the package.
    verify: &'static str,
    version: &'static str,
    removals: &'static [&'static str],
}

/// The image has neither documents nor manual pages, so dpkg is told to install them.
const DPKG: Manager = Manager {
    kind: "deb",
    install: "dpkg --path-include='/usr/share/*' -i",
    upgrade: "dpkg --path-include='/usr/share/*' -i",
    verify: "dpkg -V",
    version: "dpkg-query -W -f '${Version}'",
    removals: &["dpkg -r", "dpkg -P"],
};

/// Debian's rpm: its database has no package for /bin/sh, which the scripts of a package need.
const RPM: Manager = Manager {
    kind: "rpm",
    install: "rpm --force-debian --nodeps -i",
    upgrade: "rpm --force-debian --nodeps -U",
    verify: "rpm -V --nodeps",
    version: "rpm -q --qf '%{VERSION}'",
    removals: &["rpm --force-debian --nodeps -e"],
};

/// A systemctl that notes how it was called, and the folder by which scripts know that systemd runs.
const SYSTEMD: &str = "mkdir -p /run/systemd/system && \
    printf '#!/bin/sh\\necho \"$*\" >>/called\\n' >/usr/bin/systemctl && chmod +x /usr/bin/systemctl";

/// A running container of `image` with `packages` at /packages.
fn container(image: &str, kind: &str, packages: &Path) -> Container {
    let container = Container { name: format!("package-{kind}-{}", std::process::id()) };
    let mount = format!("{}:/packages:ro", packages.display());
    let run = docker(&["run", "-d", "--init", "--name", &container.name, "-v", &mount]);
    run.arg(image).arg("sleep").arg("3600").expect(0);
    container
}

/// Installs the older package, upgrades it, and removes it.
fn installed_upgraded_removed(image: &str, manager: &Manager) {
    let folder = dist().expect("the caller has it");
    let arch = std::env::consts::ARCH;
    let packages = Scratch::new();
    let trees = unpacked(&folder);
    let (tree, name) = trees.iter().find(|(_, name)| name.contains(arch)).expect("this machine's");
    pack(&tree.join(name), arch, OLDER, packages.path(), manager.kind).expect(0);
    let mut made = fs::read_dir(packages.path()).expect("a folder").map_while(Result::ok);
    let older = made.next().expect("a package").file_name();
    let older = format!("/packages/{}", older.display());
    let newer = package(&folder, manager.kind, arch);
    let newer_name = newer.file_name().and_then(|name| name.to_str()).expect("a plain name");
    fs::copy(&newer, packages.join(newer_name)).expect("copied");
    let newer = format!("/packages/{newer_name}");

    let container = container(image, manager.kind, packages.path());
    let shell = |script: &str| {
        let done = container.exec(&["sh", "-c", script]);
        assert_eq!(done.code, 0, "{script}\n{}", done.said());
        done.stdout.trim().to_owned()
    };
    let called = || shell("cat /called; : >/called");

    shell(SYSTEMD);
    shell(&format!("{} {older}", manager.install));
    assert_eq!(shell(&format!("{} {NAME}", manager.version)), OLDER);
    assert_eq!(called(), "daemon-reload", "nothing is enabled or started");
    assert_eq!(shell("backup_manager --version"), format!("backup_manager {VERSION}"));
    let helper = format!("/usr/libexec/backup_manager/backup_manager-{arch}-linux --version");
    assert_eq!(shell(&helper), format!("backup_manager {VERSION}"));
    shell(
        "gzip -t /usr/share/man/man1/backup_manager.1.gz /usr/share/man/man1/backup_manager-*.1.gz",
    );
    for file in ["bash-completion/completions/backup_manager", "doc/ism1-backup-manager/copyright"]
    {
        shell(&format!("test -s /usr/share/{file}"));
    }
    let units = shell("grep -h ^ExecStart= /usr/lib/systemd/system/backup_manager*.service");
    assert!(units.lines().all(|line| line.starts_with("ExecStart=/usr/bin/backup_manager ")));
    // As the service does it, with the example for the configuration.
    shell(
        "mkdir /etc/backup_manager /backups && cp /usr/share/doc/ism1-backup-manager/backup_manager.example.toml \
         /etc/backup_manager/config.toml && mkdir /home/me && echo text >/home/me/file && \
         CONFIG_FILE=/etc/backup_manager/config.toml BACKUPS_DIR=/backups backup_manager run",
    );
    let kept = "md5sum /etc/backup_manager/config.toml && ls /backups && find /backups | wc -l";
    let before = shell(kept);

    shell(&format!("{} {newer}", manager.upgrade));
    assert_eq!(shell(&format!("{} {NAME}", manager.version)), VERSION);
    let calls = called();
    assert!(calls.lines().all(|call| call == "daemon-reload"), "an upgrade stops nothing: {calls}");
    assert_eq!(shell(&format!("{} {NAME}", manager.verify)), "");
    assert_eq!(shell(kept), before);
    assert!(shell("backup_manager list --backups-dir /backups").contains("home."));

    for removal in manager.removals {
        shell(&format!("{removal} {NAME}"));
        assert_eq!(shell(kept), before, "{removal}");
    }
    assert_eq!(shell("find /usr -name '*backup*manager*'"), "");
    let calls = called();
    let timers = "disable --now backup_manager.timer backup_manager-verify.timer";
    assert_eq!(calls.lines().next(), Some(timers), "{calls}");
    assert!(!calls.contains("start"), "{calls}");
}

#[test]
fn a_deb_is_installed_upgraded_and_removed_in_a_fresh_container() {
    need!(dist_with("deb"));
    need!(bases(checkout()));
    installed_upgraded_removed("debian:bookworm-slim", &DPKG);
}

#[test]
fn an_rpm_is_installed_upgraded_and_removed_in_a_fresh_container() {
    need!(dist_with("rpm"));
    need!(bases(checkout()));
    let folder = Scratch::new();
    let dockerfile = "FROM debian:bookworm-slim\n\
        RUN apt-get update && apt-get install -y --no-install-recommends rpm && rm -rf /var/lib/apt/lists/*\n";
    fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
    let image = "backup_manager_test_rpm";
    docker(&["build", "-q", "-t", image]).arg(folder.path()).expect(0);
    installed_upgraded_removed(image, &RPM);
}
