//! `make dist` names the tools that it misses before it builds or removes anything.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fixtures::need;
use fixtures::run::{Done, Run};
use fixtures::scratch::Scratch;

/// What the Makefile itself needs.
const ALWAYS: [&str; 10] =
    ["bash", "cat", "git", "head", "make", "mkdir", "rm", "sed", "sh", "uname"];
/// What it packs with.
const PACKERS: [&str; 2] = ["dpkg-deb", "rpmbuild"];

/// Writes a program that runs the lines of `script`.
fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a new program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a new program");
}

/// A machine on which nothing is missing for `arch`: a folder of programs, of which the compiler
/// only notes that it was called.
fn machine(arch: &str) -> Scratch {
    let folder = Scratch::new();
    let path = std::env::var("PATH").expect("a PATH");
    for tool in ALWAYS.iter().chain(&PACKERS) {
        let found = path.split(':').map(|place| Path::new(place).join(tool)).find(|it| it.exists());
        if let Some(found) = found {
            symlink(found, folder.join(tool)).expect("a new link");
        } else {
            program(folder.path(), tool, "exit 0");
        }
    }
    program(folder.path(), "rustc", &format!("echo {}", folder.path().display()));
    program(folder.path(), "cargo", &format!("touch {}/called; exit 1", folder.path().display()));
    program(folder.path(), &format!("{arch}-linux-gnu-gcc"), "exit 0");
    folder
}

/// An architecture that is not this machine's.
fn other() -> &'static str {
    if cfg!(target_arch = "x86_64") { "aarch64" } else { "x86_64" }
}

/// `make dist` for both architectures on that machine, into a folder that has a file.
fn make_dist(machine: &Scratch) -> (Done, PathBuf) {
    let dist = machine.join("dist");
    fs::create_dir_all(&dist).expect("a new folder");
    fs::write(dist.join("earlier"), "kept").expect("a new file");
    let make = Run::new("make").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).arg("dist");
    let make = make.arg("ARCHS=x86_64 aarch64").arg(format!("DIST={}", dist.display()));
    (make.env("PATH", machine.path()).done(), dist)
}

#[test]
fn each_missing_tool_is_named_with_its_command_and_dist_stays() {
    need!(need::tool("make"));
    let gcc = format!("{}-linux-gnu-gcc", other());
    let package = format!("apt-get install gcc-{}-linux-gnu", other().replace('_', "-"));
    for (tool, command) in [
        (gcc.as_str(), package.as_str()),
        ("cargo", "https://rustup.rs"),
        ("dpkg-deb", "apt-get install dpkg"),
        ("rpmbuild", "apt-get install rpm"),
    ] {
        let machine = machine(other());
        fs::remove_file(machine.join(tool)).expect("it was there");
        let (done, dist) = make_dist(&machine);
        done.assert_code(2).assert_says(tool).assert_says(command);
        assert_eq!(fs::read_to_string(dist.join("earlier")).expect("dist is untouched"), "kept");
        assert!(!machine.join("called").exists(), "{tool}: cargo was started");
    }
}

#[test]
fn a_missing_standard_library_is_named_with_its_command() {
    need!(need::tool("make"));
    let machine = machine(other());
    program(machine.path(), "rustc", "echo /nowhere");
    let command = format!("rustup target add {}-unknown-linux-gnu", other());
    let (done, dist) = make_dist(&machine);
    done.assert_code(2).assert_says(&command);
    assert!(dist.join("earlier").exists());
}

#[test]
fn a_build_that_fails_leaves_dist_as_it_was() {
    need!(need::tool("make"));
    let machine = machine(other());
    let touch = Path::new("/usr/bin/touch");
    symlink(touch, machine.join("touch")).expect("a new link");
    let (done, dist) = make_dist(&machine);
    done.assert_code(2);
    assert!(machine.join("called").exists(), "{}", done.said());
    assert!(dist.join("earlier").exists());
}
