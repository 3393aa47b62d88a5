//! `run --explain`: explains why a path is included or excluded, and does nothing else.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use engine::RunError;
use engine::Stop;
use engine::inspect::{Explanation, explain};
use engine::repository::SourceRoots;

use crate::config::types::NamedJob;
use crate::exit::Exit;
use crate::hint::hint;
use crate::jobs::open_source::{Access, close, local, remote};
use crate::jobs::signals::supervise;
use crate::term::print::fail;
use crate::ui::explain::explanation;

/// Explains `path` for each of `jobs`. A relative path starts in the current folder.
pub(crate) fn run(jobs: Vec<NamedJob>, path: &Path) -> Exit {
    let path = plain(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    supervise(move |stop| all(&jobs, &path, &stop), |_| ())
}

/// Resolves `..` as far as possible without looking at symlinks. Keeps a trailing slash.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        plain.push("");
    }
    plain
}

fn all(jobs: &[NamedJob], path: &Path, stop: &Arc<Stop>) -> Exit {
    let mut worst = Exit::Done;
    for job in jobs {
        let path = &on_source(job, path);
        let answer = match &job.remote {
            None => explain(&job.job, local(job, stop).as_ref(), path),
            Some(host) => {
                let mut connected = None;
                let answer = remote(host, job, stop, Access::Look, &mut connected)
                    .map(|source| explain(&job.job, source.as_ref(), path));
                close(connected);
                match answer {
                    Ok(answer) => answer,
                    Err(error) => {
                        worst = worst.worse(unreached(&RunError::NoConnection(error)));
                        continue;
                    }
                }
            }
        };
        worst = worst.worse(match answer {
            Ok(answer) => print(jobs.len() > 1, &job.name, path, &answer),
            Err(error) => unreached(&RunError::Root { path: path.to_owned(), error }),
        });
    }
    worst
}

/// The path on the source that `path` means. A container has the machine's folders below `/host_fs`.
fn on_source(job: &NamedJob, path: &Path) -> PathBuf {
    let meant = SourceRoots::of_layout(&job.job.layout).meant(path.as_os_str().as_bytes());
    OsString::from_vec(meant).into()
}

fn print(several: bool, name: &str, path: &Path, answer: &Explanation) -> Exit {
    let heading = if several { format!("job {name}:\n") } else { String::new() };
    let text = heading + &explanation(path, answer);
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            failed(&format!("cannot write to stdout: {error}"))
        }
        _ => Exit::Done,
    }
}

fn unreached(error: &RunError) -> Exit {
    let hint = hint(error).map(|hint| format!("; {hint}")).unwrap_or_default();
    failed(&format!("failed: {error}{hint}"))
}

fn failed(text: &str) -> Exit {
    fail(text);
    Exit::Failed
}
