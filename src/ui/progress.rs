//! Shows the progress of a run: a display on a terminal, or else a log line every half minute.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::Level;

use crate::log::JobLog;
use crate::term::terminal::Terminal;
use crate::ui::progress_line::{ProgressLine, Rate, shortened};

/// How a run's progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// As a display on the terminal.
    Display,
    /// As log lines.
    Lines,
}

const DISPLAY_EVERY: Duration = Duration::from_millis(150);
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows the progress of one run until it is dropped.
pub(crate) struct ProgressTimer {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressTimer {
    /// Starts to show `progress`.
    pub(crate) fn start(
        progress: Arc<Progress>,
        show: Show,
        dry_run: bool,
        terminal: Terminal,
        log: JobLog,
    ) -> Self {
        let (end, ended) = mpsc::channel();
        let every = if show == Show::Display { DISPLAY_EVERY } else { LINE_EVERY };
        let thread = thread::spawn(move || {
            let began = Instant::now();
            let mut rate = Rate::default();
            let bar = (show == Show::Display).then(|| display(&terminal));
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let elapsed = began.elapsed().as_secs_f64();
                let status = ProgressLine::of(&progress, &mut rate, elapsed, dry_run);
                let folder = progress.folder();
                if let Some(bar) = &bar {
                    let folder = shortened(&folder, Terminal::columns().saturating_sub(3));
                    let below = [status.moved(), folder];
                    let below = below.iter().filter(|line| !line.is_empty());
                    bar.set_message(below.fold(status.reached(), |all, line| all + "\n  " + line));
                    bar.tick();
                } else {
                    log.log(Level::INFO, &status.line(), Some(status.fields(&folder)), "");
                }
            }
            terminal.clear();
        });
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for ProgressTimer {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn display(terminal: &Terminal) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    terminal.show(bar.clone());
    bar
}
