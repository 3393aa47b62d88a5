//! `daemon`: runs a crontab, as the first process of a container or as a service.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::config::mistake::shown_path;
use crate::config::names::{CONFIG_DIR, CONFIG_FILE, CONFIG_FILE_NAME};
use crate::config::types::{Config, Inputs, NamedJob};
use crate::config::{config_dir, load};
use crate::daemon::puid::{Identity, become_other, to_become};
use crate::daemon::service::Service;
use crate::daemon::{checks, config_dir, environment_zone};
use crate::exit::Exit;
use crate::log;
use crate::log::{JobLog, Stream};
use crate::term::print::fail;

const EXAMPLES: &str = "\
The daemon reads the crontab again when it changes. It passes SIGTERM on to the running commands, and ends after them. \
Settings come from the environment and the config file; the commands of the crontab get both as well. With WEB_LISTEN it \
serves the web page from a process of its own.

Examples:
  docker run -d -e SRCS_TO_BACKUP=/host_fs/home -v ./config:/config \\
      -v ./backups:/backups -v /:/host_fs:ro ism1/backup_manager
  BACKUPS_DIR=/backups backup_manager daemon --config-dir /etc/backup_manager

Exit codes: 0 ended by SIGTERM or SIGINT; 2 usage or configuration.";

/// Run the crontab in /config, and write it with comments when it is missing
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Keep crontab, config.toml and known_hosts in this folder [CONFIG_DIR, default /config]
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Read the settings from this file [CONFIG_FILE, default config.toml in the folder]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Exit {
    let become_first = match to_become() {
        Ok(identity) => identity,
        Err(wrong) => {
            fail(&wrong);
            return Exit::Usage;
        }
    };
    let Some(mut inputs) = crate::args::load::inputs(Vec::new(), Vec::new(), None, Vec::new())
    else {
        return Exit::Usage;
    };
    let surroundings = surroundings(&args, &inputs);
    for (name, value) in &surroundings {
        inputs.variables.retain(|(known, _)| known != name);
        inputs.variables.push(((*name).into(), value.clone()));
    }
    let dir = config_dir(&inputs.variables, &inputs.current_dir);
    // Without settings nothing is written, because the folders may be the wrong ones.
    let Some(config) = crate::args::load::configured(&inputs, load) else {
        fail(&format!(
            "the daemon did not start and wrote nothing: correct this in its environment or in {}, and start it again",
            shown_path(&dir.join(CONFIG_FILE_NAME))
        ));
        return Exit::Usage;
    };
    let written = config_dir::write_missing(&dir, become_first);
    match become_first {
        Some(identity) => step_down(identity, &config, written),
        None => serve(&config, &dir, surroundings, &written),
    }
}

/// Gives `identity` the files that it needs, and restarts the program as that user.
fn step_down(identity: Identity, config: &Config, mut messages: Vec<String>) -> Exit {
    for NamedJob { job, .. } in &config.jobs {
        config_dir::give_away_empty(&job.backups_dir, identity, &mut messages);
    }
    // Do not log to the log file: root would own it.
    log::start(config.log_format, Stream::Stdout, None);
    let log = JobLog::new(LOG_NAME, config.log_format);
    messages.iter().for_each(|line| log.info(line));
    let error = become_other(identity);
    fail(&format!(
        "cannot become the user {}:{} (PUID, PGID): {error}; the container needs the capabilities SETUID and SETGID for it, or start it with `user:`",
        identity.uid, identity.gid
    ));
    Exit::Failed
}

/// The name under which the daemon logs.
const LOG_NAME: &str = "daemon";

fn serve(
    config: &Config,
    dir: &Path,
    surroundings: Vec<(&'static str, OsString)>,
    written: &[String],
) -> Exit {
    let file = config.log_file.as_deref();
    log::start(config.log_format, Stream::Stdout, file);
    let log = JobLog::new(LOG_NAME, config.log_format);
    let (zone, unknown) = environment_zone();
    let mut service = match Service::new(log.clone(), zone, dir, surroundings) {
        Ok(service) => service,
        Err(error) => {
            fail(&format!("cannot catch signals or start threads: {error}"));
            return Exit::Failed;
        }
    };
    log.info(&format!(
        "backup_manager {} started with {} and times of {zone}",
        env!("CARGO_PKG_VERSION"),
        jobs(config),
    ));
    written.iter().for_each(|line| log.info(line));
    config.warnings.iter().for_each(|warning| log.warn(warning));
    config.notes.iter().for_each(|note| log.info(note));
    for (name, value) in unknown {
        log.warn(&format!(
            "environment: {name}: '{value}' is not a time zone; write for example {name}=Europe/Berlin"
        ));
    }
    checks::surroundings(config, &log);
    if config.jobs.iter().any(|job| job.remote.is_some()) {
        service.start_own(&["try-hosts".into()], "the try of the remote hosts");
    }
    if config.web.listen.is_some() {
        service.serve_web();
    }
    service.run()
}

fn jobs(config: &Config) -> String {
    let names: Vec<&str> = config.jobs.iter().map(|job| job.name.as_str()).collect();
    match names.as_slice() {
        [name] => format!("the job {name}"),
        names => format!("the jobs {}", names.join(", ")),
    }
}

/// Environment variables with which commands find the same configuration and this program.
fn surroundings(args: &Args, inputs: &Inputs) -> Vec<(&'static str, OsString)> {
    let given = [(CONFIG_DIR, &args.config_dir), (CONFIG_FILE, &args.config)];
    let given = given.into_iter().filter_map(|(name, path)| {
        Some((name, inputs.current_dir.join(path.as_ref()?).into_os_string()))
    });
    given.chain([("PATH", path(env::var_os("PATH"), env::current_exe().ok()))]).collect()
}

/// `PATH` with the program's folder at its end, because a crontab names the program without its path.
fn path(path: Option<OsString>, program: Option<PathBuf>) -> OsString {
    // The default of common shells.
    let path = path
        .unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    let Some(folder) = program.as_deref().and_then(Path::parent).map(Path::as_os_str) else {
        return path;
    };
    if env::split_paths(&path).any(|known| known == folder) {
        return path;
    }
    [path.as_os_str(), OsStr::new(":"), folder].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crontab_finds_the_program_wherever_it_lies() {
        for (before, expected) in [("/bin", "/bin:/opt/x"), ("/opt/x:/bin", "/opt/x:/bin")] {
            assert_eq!(path(Some(before.into()), Some("/opt/x/backup_manager".into())), expected);
        }
    }
}
