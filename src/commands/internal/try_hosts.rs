//! `try-hosts`: the daemon starts this command to find out which remote hosts can be reached. It is a child
//! process because the daemon itself must not wait for children such as ssh.

use std::collections::BTreeSet;

use engine::NoConnection;
use engine::RunError;
use transport::helper::read::Asked;
use transport::remote::RemoteSource;
use transport::ssh::options::Options;

use crate::config::load;
use crate::exit::Exit;
use crate::hint::connection::of_job;
use crate::jobs::open_source::options;
use crate::log;
use crate::log::{JobLog, Stream};

/// Try to connect to the host of each job (used by `daemon` itself).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Exit {
    let inputs = crate::args::load::inputs(Vec::new(), Vec::new(), None, Vec::new());
    let Some(config) = inputs.and_then(|inputs| crate::args::load::configured(&inputs, load))
    else {
        return Exit::Usage;
    };
    let file = config.log_file.as_deref();
    log::start(config.log_format, Stream::Stdout, file);
    let mut tried = BTreeSet::new();
    for job in &config.jobs {
        let Some(remote) = &job.remote else { continue };
        let host = remote.address.to_string();
        if !tried.insert(host.clone()) {
            continue;
        }
        let log = JobLog::new(&job.name, config.log_format);
        let options = Options { tries: 0, ..options(remote, &job.wanted) };
        let (address, asked) = (&remote.address, Asked::default());
        let helper = remote.helper.without_copying();
        match RemoteSource::connect(address, options, &helper, asked, || false) {
            Ok(source) => {
                source.close();
                log.info(&format!("the host {host} is up and lets this user in"));
            }
            Err(error) => {
                let hint = of_job(Some(&error), address);
                let error = RunError::NoConnection(NoConnection::from(error));
                log.warn(&format!("the host {host} cannot be used now: {error}; {hint}"));
            }
        }
    }
    Exit::Done
}
