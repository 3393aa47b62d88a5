//! The output of `make dist`, which `make -C tests` builds before: static binaries that need only
//! the kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::need;
use fixtures::need::Missing;
use fixtures::run::Run;
use fixtures::scratch::Scratch;

use crate::documents::dead_links;

/// The output folder of `make dist`.
pub(crate) fn dist() -> Result<PathBuf, Missing> {
    let folder = std::env::var_os("DIST_DIR").map(PathBuf::from);
    let built = folder.filter(|folder| folder.join("SHA256SUMS").exists());
    built.ok_or_else(|| Missing("needs DIST_DIR, which `make -C tests` sets".to_owned()))
}

/// The binary for the architecture `arch`, if it was built.
fn binary(folder: &Path, arch: &str) -> Option<PathBuf> {
    let name = format!("backup_manager-{}-{arch}-linux", env!("CARGO_PKG_VERSION"));
    Some(folder.join(name)).filter(|path| path.exists())
}

/// A root folder that contains only a program and a file to back up.
fn empty_root(program: &Path) -> Scratch {
    let root = Scratch::new();
    for folder in ["source", "backups"] {
        fs::create_dir(root.join(folder)).expect("a root folder of its own");
    }
    fs::write(root.join("source/file"), "content").expect("a root folder of its own");
    fs::copy(program, root.join("backup_manager")).expect("a root folder of its own");
    root
}

/// Takes a snapshot in that root folder, and a second one that links to it.
fn take_two(root: &Scratch, words: &[&str]) {
    for linked in ["0 linked", "1 linked"] {
        let run = Run::new("chroot").arg(root.path());
        let run = words.iter().fold(run, Run::arg).arg("/backup_manager").arg("run");
        let run = run.set("srcs-to-backup", "/source").set("backups-dir", "/backups");
        run.set("minimum-time-guard-h", "0").expect(0).assert_says(linked);
    }
    let found =
        Command::new("find").arg(root.join("backups")).args(["-path", "*/source/file"]).output();
    assert_eq!(
        String::from_utf8_lossy(&found.expect("a root folder of its own").stdout).lines().count(),
        2
    );
}

/// `make -C tests` builds this machine's, `make -C tests shipped` both.
#[test]
fn the_binary_of_each_architecture_works_in_an_empty_root() {
    need!(need::root());
    let folder = need!(dist());
    assert!(binary(&folder, std::env::consts::ARCH).is_some(), "make dist builds this machine's");
    for arch in ["x86_64", "aarch64"] {
        let Some(program) = binary(&folder, arch) else { continue };
        let root = empty_root(&program);
        if arch == std::env::consts::ARCH {
            take_two(&root, &[]);
            continue;
        }
        let emulator = format!("qemu-{arch}-static");
        need!(need::tool(&emulator));
        fs::copy(Path::new("/usr/bin").join(&emulator), root.join("emulator")).unwrap();
        take_two(&root, &["/emulator"]);
    }
}

#[test]
fn binaries_are_static_and_stripped() {
    let folder = need!(dist());
    for program in ["x86_64", "aarch64"].iter().filter_map(|arch| binary(&folder, arch)) {
        let parts = Command::new("readelf").arg("-lSW").arg(&program).output().unwrap();
        let parts = String::from_utf8_lossy(&parts.stdout).into_owned();
        for unwanted in ["INTERP", ".symtab", ".debug_info"] {
            assert!(!parts.contains(unwanted), "{}: {unwanted}", program.display());
        }
    }
}

/// Checks that `helpers` has the binary for each architecture that was built, for `REMOTE_HELPER=install`, and that it
/// starts.
pub(crate) fn assert_helpers(dist: &Path, helpers: &Path) {
    for arch in ["x86_64", "aarch64"] {
        let Some(binary) = binary(dist, arch) else { continue };
        let helper = helpers.join(format!("backup_manager-{arch}-linux"));
        assert!(fs::read(&helper).expect("a helper") == fs::read(binary).expect("a binary"));
        let emulator = format!("qemu-{arch}-static");
        let run = match arch == std::env::consts::ARCH {
            true => Run::new(&helper),
            false if need::tool(&emulator).is_ok() => Run::new(&emulator).arg(&helper),
            // Another test says that the emulator is missing.
            false => continue,
        };
        let version = run.arg("--version").expect(0).stdout;
        assert_eq!(version.trim(), format!("backup_manager {}", env!("CARGO_PKG_VERSION")));
    }
}

/// Every tarball, unpacked: the folder, and the name of the one folder in it.
pub(crate) fn unpacked(folder: &Path) -> Vec<(Scratch, String)> {
    let names = ["x86_64", "aarch64"].iter().filter_map(|arch| binary(folder, arch));
    let unpack = |program: PathBuf| {
        let name = program.file_name().expect("a name").to_string_lossy().into_owned();
        let scratch = Scratch::new();
        let tarball = folder.join(format!("{name}.tar.gz"));
        Run::new("tar").arg("-xzf").arg(tarball).in_folder(scratch.path()).expect(0);
        (scratch, name)
    };
    names.map(unpack).collect()
}

#[test]
fn no_link_of_a_document_in_a_tarball_leads_out_of_it() {
    let folder = need!(dist());
    for (scratch, name) in unpacked(&folder) {
        let wrong = dead_links(&scratch.join(&name));
        assert_eq!(wrong, [""; 0], "{name}: {wrong:#?}");
    }
}

#[test]
fn tarballs_hold_what_an_installation_needs_and_have_the_sums_they_say() {
    let folder = need!(dist());
    let sums = Command::new("sha256sum")
        .args(["--check", "--quiet", "SHA256SUMS"])
        .current_dir(&folder)
        .status();
    assert!(sums.unwrap().success());
    let program = binary(&folder, std::env::consts::ARCH).expect("make dist builds this machine's");
    let unpacked = unpacked(&folder);
    let ours = |(_, name): &&(Scratch, String)| program.ends_with(name);
    let (scratch, name) = unpacked.iter().find(ours).expect("make dist packs this machine's");
    let top = scratch.join(name);
    for (file, text) in [
        ("completions/backup_manager.bash", "complete -F"),
        ("completions/backup_manager.zsh", "#compdef"),
        ("completions/backup_manager.fish", "complete -c"),
        ("man/backup_manager.1", ".TH backup_manager"),
        ("man/backup_manager-restore.1", ".TH backup_manager\\-restore"),
        ("README.md", "# backup_manager"),
        ("docs/runs.md", "# What a run does"),
        ("LICENSE-MIT", "MIT License"),
        ("deploy/systemd/backup_manager.service", "ExecStart="),
        ("deploy/systemd/backup_manager.timer", "OnCalendar="),
        ("deploy/systemd/backup_manager@.service", "ExecStart="),
        ("deploy/systemd/backup_manager@.timer", "OnCalendar="),
        ("deploy/systemd/backup_manager-verify.service", "verify --rolling 30d"),
        ("deploy/systemd/backup_manager-verify.timer", "OnCalendar="),
        ("deploy/systemd/backup_manager-web.service", "DynamicUser=yes"),
        ("deploy/kubernetes/backup_manager.yaml", "kind: CronJob"),
        ("deploy/cron/backup_manager", "backup_manager run"),
    ] {
        let found = fs::read_to_string(top.join(file)).unwrap();
        assert!(found.contains(text), "{file}: {found}");
    }
    assert_eq!(fs::read(top.join("backup_manager")).unwrap(), fs::read(&program).unwrap());
    assert_helpers(&folder, &top.join("libexec/backup_manager"));
}
