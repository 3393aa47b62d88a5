//! Where a command that changes files has to be typed. A container can have a file of its machine read-only, and
//! there it has another path.

use std::path::{Path, PathBuf};

use engine::fs::container::on_machine;
use rustix::fs::{Access, access};
use transport::ssh::connect::user_entry::ssh_folder;

/// A place to type a command, and the paths of the files there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    /// Empty outside a container; otherwise text to put behind "pin it".
    pub(crate) place: &'static str,
    pub(crate) files: Vec<String>,
    /// The paths outside the container, where the command is typed inside it.
    pub(crate) elsewhere: Vec<String>,
}

/// What is known of a file.
struct Facts {
    /// The path as it was given; it may begin with `~/`.
    given: String,
    writable: bool,
    machine: Option<PathBuf>,
}

/// Where a command that changes `files` has to be typed.
pub(crate) fn typed(files: &[&str]) -> Typed {
    decide(files.iter().map(|given| facts(given)).collect())
}

/// The path of `file` for a shell outside the container, or else the path here.
pub(crate) fn outside(file: &Path) -> (&'static str, PathBuf) {
    match on_machine(file) {
        Some(path) => (" outside the container", path),
        None => ("", file.to_owned()),
    }
}

/// The program with what has to be typed before it: Docker names a container's host with the first 12 digits of its
/// ID.
pub(crate) fn program() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    program_in(Path::new("/.dockerenv").exists(), &host)
}

/// Whether this program runs in a container of Docker, Podman or Kubernetes.
pub(crate) fn in_container() -> bool {
    let marks = ["/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io"];
    marks.iter().any(|mark| Path::new(mark).exists())
}

fn program_in(docker: bool, host: &str) -> String {
    let id = host.len() == 12 && host.bytes().all(|byte| byte.is_ascii_hexdigit());
    match docker && id {
        true => format!("docker exec -it {host} backup_manager"),
        false => "backup_manager".to_owned(),
    }
}

fn decide(facts: Vec<Facts>) -> Typed {
    let given = || facts.iter().map(|fact| fact.given.clone()).collect();
    let machine: Option<Vec<String>> = facts
        .iter()
        .map(|fact| Some(fact.machine.as_ref()?.to_string_lossy().into_owned()))
        .collect();
    match (facts.iter().all(|fact| fact.writable), machine) {
        (true, Some(elsewhere)) => Typed { place: " in the container", files: given(), elsewhere },
        (false, Some(files)) => {
            Typed { place: " outside the container", files, elsewhere: Vec::new() }
        }
        (_, None) => Typed { place: "", files: given(), elsewhere: Vec::new() },
    }
}

fn facts(given: &str) -> Facts {
    let path = match given.strip_prefix("~/") {
        Some(rest) => ssh_folder().parent().map(|home| home.join(rest)).unwrap_or_default(),
        None => given.into(),
    };
    Facts { given: given.to_owned(), writable: writable(&path), machine: on_machine(&path) }
}

/// Whether this user can write the file `path`, or create it.
pub(crate) fn writable(path: &Path) -> bool {
    let there = path.ancestors().find(|part| part.exists());
    there.is_some_and(|part| access(part, Access::WRITE_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_docker_the_program_is_called_through_its_client() {
        for (docker, host, expected) in [
            (true, "0123456789ab", "docker exec -it 0123456789ab backup_manager"),
            (true, "nas", "backup_manager"),
            (false, "0123456789ab", "backup_manager"),
        ] {
            assert_eq!(program_in(docker, host), expected);
        }
    }

    #[test]
    fn a_command_is_typed_where_the_files_can_be_written() {
        let fact = |given: &str, writable, machine: Option<&str>| Facts {
            given: given.to_owned(),
            writable,
            machine: machine.map(PathBuf::from),
        };
        let typed = |facts| {
            let Typed { place, files, elsewhere } = decide(facts);
            (place, files.join(" "), elsewhere.join(" "))
        };
        let is = |place, files: &str, elsewhere: &str| (place, files.into(), elsewhere.into());
        assert_eq!(typed(vec![fact("~/a", true, None)]), is("", "~/a", ""));
        let config = || fact("/config/a", true, Some("/srv/config/a"));
        assert_eq!(typed(vec![config()]), is(" in the container", "/config/a", "/srv/config/a"));
        let keys = fact("~/.ssh/a", false, Some("/home/u/.ssh/a"));
        assert_eq!(
            typed(vec![keys, config()]),
            is(" outside the container", "/home/u/.ssh/a /srv/config/a", "")
        );
        let unknown = fact("~/.ssh/a", false, None);
        assert_eq!(typed(vec![unknown, config()]), is("", "~/.ssh/a /config/a", ""));
    }
}
