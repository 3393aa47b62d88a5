//! The log: one line per event, as text for people or as JSON for programs, to the standard streams and to a
//! file.

pub(crate) mod file;
pub(crate) mod line;
pub(crate) mod tail;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Map, Value};
use tracing::subscriber::set_global_default;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry;

use crate::config::mistake::shown_path;
use crate::config::values::log_format::Format;
use crate::log::file::LogFile;
use crate::log::line::LogLine;
use crate::term::colour::Palette;
use crate::term::terminal;

/// The stream for lines that are not warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    /// Used if stdout carries data.
    Stderr,
}

/// Writes a line for each tracing event.
struct Lines {
    format: Format,
    stream: Stream,
    file: Option<Mutex<LogFile>>,
    /// The colours of stdout and of stderr.
    palettes: [Palette; 2],
}

/// Starts the log of this process, to `file` if given, else to `stream`. A file that cannot be opened is
/// reported and replaced by the streams: it must not stop a backup. Of several calls only the first one counts.
pub(crate) fn start(format: Format, stream: Stream, file: Option<&Path>) {
    let opened = file.map(LogFile::at);
    let error = opened.as_ref().and_then(|(_, error)| error.as_ref()).map(ToString::to_string);
    let opened = opened.map(|(file, _)| Mutex::new(file));
    let palettes = [Palette::of_stdout(), Palette::of_stderr()];
    let lines = Lines { format, stream, file: opened, palettes };
    if set_global_default(registry().with(lines)).is_err() {
        return;
    }
    if let (Some(path), Some(error)) = (file, error) {
        JobLog::new("", format).warn(&format!(
            "cannot open LOG_FILE {}: {error}; the log goes to the standard streams until it can be opened: make its folder, or write the path of a file that can be appended to",
            shown_path(path)
        ));
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let line = LogLine::of(event, chrono::Utc::now());
        crate::log::tail::note(line.job(), line.text());
        self.write(*event.metadata().level(), &line);
    }
}

impl Lines {
    /// Writes a line. A log file replaces stdout; warnings also go to stderr. Errors of a stream are ignored,
    /// because a closed stream must not stop a backup.
    fn write(&self, level: Level, line: &LogLine) {
        let bytes = |palette| match self.format {
            Format::Text => line.coloured(palette) + "\n",
            Format::Json => line.json() + "\n",
        };
        let plain = || bytes(Palette::plain());
        let in_file = self.file.as_ref().is_some_and(|file| self.append(file, plain().as_bytes()));
        let calm = level > Level::WARN;
        if calm && in_file {
            return;
        }
        let [of_stdout, of_stderr] = self.palettes;
        terminal::suspended(|| {
            if calm && self.stream == Stream::Stdout {
                let mut stdout = io::stdout().lock();
                let _ = stdout.write_all(bytes(of_stdout).as_bytes()).and_then(|()| stdout.flush());
            } else {
                let _ = io::stderr().lock().write_all(bytes(of_stderr).as_bytes());
            }
        });
    }

    /// Appends the lines to the file. Returns whether they were written.
    fn append(&self, file: &Mutex<LogFile>, bytes: &[u8]) -> bool {
        let Ok(mut file) = file.lock() else { return false };
        match file.write(bytes) {
            Ok(()) => true,
            Err(complaint) => {
                if let Some(complaint) = complaint {
                    crate::term::print::warn(&complaint);
                }
                false
            }
        }
    }
}

/// Logs messages about one job.
#[derive(Debug, Clone)]
pub(crate) struct JobLog {
    name: String,
    /// Only the JSON format shows the fields of an event.
    format: Format,
}

impl JobLog {
    /// The log of the job called `name`; an empty name is for messages about no job.
    pub(crate) fn new(name: &str, format: Format) -> Self {
        Self { name: name.to_owned(), format }
    }

    /// Logs a normal step of a run.
    pub(crate) fn info(&self, message: &str) {
        self.log(Level::INFO, message, None, "");
    }

    /// Logs a problem that the user should know about; the run continues.
    pub(crate) fn warn(&self, message: &str) {
        self.log(Level::WARN, message, None, "");
    }

    /// Logs a line with additional fields, and text below it that only the text format shows.
    pub(crate) fn log(
        &self,
        level: Level,
        message: &str,
        fields: Option<Map<String, Value>>,
        below: &str,
    ) {
        let (job, fields) = (
            self.name.as_str(),
            match self.format {
                Format::Json => {
                    fields.map(|fields| Value::Object(fields).to_string()).unwrap_or_default()
                }
                Format::Text => String::new(),
            },
        );
        if level == Level::ERROR {
            tracing::error!(job, fields, below, "{message}");
        } else if level == Level::WARN {
            tracing::warn!(job, fields, below, "{message}");
        } else {
            tracing::info!(job, fields, below, "{message}");
        }
    }
}
