//! Runs several jobs, each in a process of its own, some at the same time.

pub(crate) mod child;
pub(crate) mod part;
pub(crate) mod queue;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use engine::Stop;
use engine::fs::rotating_disks;
use tracing::Level;

use crate::config::types::NamedJob;
use crate::config::values::log_format::Format;
use crate::exit::Exit;
use crate::jobs::parallel::child::{PartEvent, RunningJob};
use crate::jobs::parallel::part::Terms;
use crate::jobs::parallel::queue::{Needs, next, shared_disks};
use crate::log::JobLog;
use crate::term::terminal;
use crate::ui::progress::JobsDisplay;

/// How long a request to stop may wait.
const LOOK: Duration = Duration::from_millis(50);

/// How the jobs are run.
#[derive(Debug, Clone)]
pub(crate) struct Parallel {
    pub(crate) at_once: NonZeroUsize,
    /// The arguments of `run` for each process, without names of jobs.
    pub(crate) words: Vec<OsString>,
    pub(crate) format: Format,
}

/// A job that runs, and what it needs for itself alone.
struct Running {
    job: usize,
    process: RunningJob,
    needs: Needs,
    is_limited: bool,
}

impl Parallel {
    /// Runs all `jobs`. A failed job does not stop the others. Returns the worst of their exits.
    pub(crate) fn run(&self, jobs: &[NamedJob], stop: &Stop) -> Exit {
        let (events, received) = mpsc::channel();
        let shown = self.format == Format::Text && terminal::can_redraw();
        let display = shown.then(JobsDisplay::start);
        let mut lines: BTreeMap<usize, String> = BTreeMap::new();
        let mut waiting: Vec<usize> = (0..jobs.len()).collect();
        if self.at_once > NonZeroUsize::MIN {
            self.report_disks(jobs);
        }
        let mut running: Vec<Running> = Vec::new();
        let (mut worst, mut asked, mut is_free) = (Exit::Done, false, true);
        loop {
            if stop.asked() {
                if !std::mem::replace(&mut asked, true) {
                    running.iter().for_each(|one| one.process.stop());
                }
            } else if std::mem::take(&mut is_free) {
                let failed = self.start(jobs, &mut waiting, &mut running, shown, &events);
                worst = worst.worse(failed);
            }
            if running.is_empty() {
                break;
            }
            match received.recv_timeout(LOOK) {
                Ok(PartEvent::Progress { job, line }) => {
                    lines.insert(job, format!("{}: {line}", jobs[job].name));
                }
                Ok(PartEvent::Ended { job }) => {
                    is_free = true;
                    lines.remove(&job);
                    let Some(at) = running.iter().position(|one| one.job == job) else { continue };
                    let ended = running.remove(at);
                    worst = worst.worse(self.ended(&jobs[job], ended.process.wait(), asked));
                    share(&mut running, 0);
                }
                Err(_) => continue,
            }
            if let Some(display) = &display {
                display.show(lines.values());
            }
        }
        if asked && !waiting.is_empty() { worst.worse(Exit::STOPPED) } else { worst }
    }

    /// Reports the disks that keep jobs from running at the same time.
    fn report_disks(&self, jobs: &[NamedJob]) {
        let all: Vec<Needs> = jobs.iter().map(needs).collect();
        for (disk, on_it) in shared_disks(&all) {
            let names: Vec<&str> = on_it.iter().map(|job| jobs[*job].name.as_str()).collect();
            JobLog::new("", self.format).info(&format!(
                "{} write to the rotating disk {disk}, so they run one after the other; if it has no moving parts: echo 0 >/sys/block/{disk}/queue/rotational",
                names.join(", ")
            ));
        }
    }

    /// Starts the jobs that can run now. Returns the exit of those that could not be started.
    fn start(
        &self,
        jobs: &[NamedJob],
        waiting: &mut Vec<usize>,
        running: &mut Vec<Running>,
        shown: bool,
        events: &Sender<PartEvent>,
    ) -> Exit {
        let mut worst = Exit::Done;
        loop {
            if waiting.is_empty() || running.len() >= self.at_once.get() {
                return worst;
            }
            let of_waiting: Vec<Needs> = waiting.iter().map(|job| needs(&jobs[*job])).collect();
            let of_running: Vec<Needs> = running.iter().map(|one| one.needs.clone()).collect();
            let Some(at) = next(&of_waiting, &of_running, self.at_once.get()) else { return worst };
            let (job, needs) = (waiting.remove(at), of_waiting[at].clone());
            let is_limited = jobs[job].limits.bandwidth.is_some();
            // The others go slower before this one begins.
            let limited = share(running, usize::from(is_limited));
            let memory = self.at_once.min(NonZeroUsize::new(jobs.len()).unwrap_or(self.at_once));
            let terms = Terms { limited, memory, shown };
            match RunningJob::start((job, &jobs[job].name), &self.words, terms, events) {
                Ok(process) => running.push(Running { job, process, needs, is_limited }),
                Err(error) => {
                    share(running, 0);
                    let what = format!(
                        "failed: cannot start a process for this job: {error}; without /proc, run one job at a time (run NAME)"
                    );
                    JobLog::new(&jobs[job].name, self.format).log(Level::ERROR, &what, None, "");
                    worst = worst.worse(Exit::Failed);
                }
            }
        }
    }

    fn ended(&self, job: &NamedJob, ended: Result<Exit, String>, asked: bool) -> Exit {
        match ended {
            // The code that watches for signals knows the number of the signal.
            Ok(Exit::WindowEnd) | Err(_) if asked => Exit::STOPPED,
            Ok(exit) => exit,
            Err(how) => {
                let what = format!("failed: its process was ended by {how}; the next run resumes");
                JobLog::new(&job.name, self.format).log(Level::ERROR, &what, None, "");
                Exit::Failed
            }
        }
    }
}

/// Reports to all how many of them have a limited rate, `more` included. Returns that number.
fn share(running: &mut [Running], more: usize) -> usize {
    let count = running.iter().filter(|one| one.is_limited).count() + more;
    running.iter_mut().for_each(|one| one.process.share(count.max(1)));
    count.max(1)
}

fn needs(job: &NamedJob) -> Needs {
    Needs {
        host: job.remote.as_ref().map(|host| host.address.host().to_lowercase()),
        disks: rotating_disks(&job.job.backups_dir),
    }
}
