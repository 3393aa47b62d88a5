//! Shows the progress of a task: a display on a terminal, or else a log line every half minute.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::Level;

use crate::log::JobLog;
use crate::term::draw_target::DrawTarget;
use crate::term::marks::Marks;
use crate::term::terminal;
use crate::ui::parts::Parts;
use crate::ui::progress_line::{ProgressLine, Rate, Task};

/// Receives the progress on one line.
pub(crate) type PassOn = Arc<dyn Fn(&str) + Send + Sync>;

/// How the progress is shown.
pub(crate) enum Show {
    /// As a display on the terminal, which also names the current part of the task.
    Display(Parts),
    /// As log lines.
    Lines(JobLog),
    /// By another process, which shows that of several jobs.
    Elsewhere(PassOn),
}

const DISPLAY_EVERY: Duration = Duration::from_millis(150);
/// The most drawings per second, as for indicatif's own targets.
const DRAWN_MOST: u8 = 20;
const PASSED_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(30);
/// The columns of the spinner or of the indentation, and of the edge: a line that wraps would be cleared only in part.
const BESIDE: usize = 3;

/// Shows the progress of one task until it is dropped.
pub(crate) struct ProgressTimer {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressTimer {
    /// Starts to show `progress`. To be called before the task begins.
    pub(crate) fn start(progress: Arc<Progress>, show: Show, task: Task) -> Self {
        let (end, ended) = mpsc::channel();
        let every = match &show {
            Show::Display(_) => {
                progress.watch();
                terminal::show(bar(Marks::of_locale()));
                DISPLAY_EVERY
            }
            Show::Lines(_) => LINE_EVERY,
            Show::Elsewhere(_) => {
                progress.watch();
                PASSED_EVERY
            }
        };
        let thread = thread::spawn(move || {
            let began = Instant::now();
            let mut rate = Rate::default();
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let elapsed = began.elapsed().as_secs_f64();
                let status = ProgressLine::of(&progress, &mut rate, elapsed, task);
                match &show {
                    Show::Lines(log) => {
                        let fields = status.fields(&progress.folder());
                        log.log(Level::INFO, &status.line(), Some(fields), "");
                    }
                    Show::Elsewhere(pass_on) => pass_on(&status.line()),
                    Show::Display(parts) => {
                        let file = progress.file();
                        let part = parts.of(&file);
                        let text =
                            block(&status, &part, &file, terminal::columns(), Marks::of_locale());
                        terminal::redraw(|bar| {
                            bar.set_message(text);
                            bar.tick();
                        });
                    }
                }
            }
            if matches!(show, Show::Display(_)) {
                terminal::clear();
            }
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

/// The display of several jobs that run at the same time, a line each, until it is dropped.
pub(crate) struct JobsDisplay(());

impl JobsDisplay {
    pub(crate) fn start() -> Self {
        terminal::show(bar(Marks::of_locale()));
        Self(())
    }

    /// Shows these lines from now on.
    pub(crate) fn show<'a>(&self, lines: impl Iterator<Item = &'a String>) {
        let (marks, room) = (Marks::of_locale(), terminal::columns().saturating_sub(BESIDE));
        let lines: Vec<String> = lines.map(|line| marks.start_of(line, room)).collect();
        terminal::redraw(|bar| {
            bar.set_message(lines.join("\n  "));
            bar.tick();
        });
    }
}

impl Drop for JobsDisplay {
    fn drop(&mut self) {
        terminal::clear();
    }
}

/// The lines of the display, each at most `columns` wide together with the spinner or the indentation.
fn block(status: &ProgressLine, part: &str, file: &str, columns: usize, marks: Marks) -> String {
    let room = columns.saturating_sub(BESIDE);
    let times = [status.times(), part.to_owned()];
    let times = times.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>();
    let mut lines = vec![marks.start_of(&status.reached(), room)];
    for line in [times.join(", "), status.moved()] {
        lines.push(marks.start_of(&line, room));
    }
    lines.push(marks.end_of(file, room));
    lines.retain(|line| !line.is_empty());
    lines.join("\n  ")
}

fn bar(marks: Marks) -> ProgressBar {
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(DrawTarget::default()), DRAWN_MOST);
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style.tick_chars(marks.spinner));
    }
    bar
}
