//! Formats one event as a line.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::Event;
use tracing::field::{Field, Visit};

use crate::term::colour::{Palette, Style};
use crate::term::harmless;
use crate::term::harmless::{push_lines, push_on_one_line};
use crate::term::local_time;

/// The content of a line.
#[derive(Debug, Default, Serialize)]
pub(crate) struct LogLine {
    time: String,
    level: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    job: String,
    message: String,
    /// The additional fields of the event.
    #[serde(flatten)]
    fields: Map<String, Value>,
    /// Further lines for people, below the first one.
    #[serde(skip)]
    below: String,
    #[serde(skip)]
    clock: DateTime<Utc>,
}

impl LogLine {
    pub(crate) fn of(event: &Event<'_>, now: DateTime<Utc>) -> Self {
        let level = event.metadata().level().as_str();
        let time = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        let mut line = Self { time, level, clock: now, ..Self::default() };
        event.record(&mut line);
        line
    }

    /// The job that the line is about; empty if it is about no job.
    pub(crate) fn job(&self) -> &str {
        &self.job
    }

    /// The text form, with the local time: `2026-11-23 21:00:00 CET INFO  my_backup: message`.
    pub(crate) fn text(&self) -> String {
        self.coloured(Palette::plain())
    }

    /// The text form, with the level of a warning or an error in colour.
    pub(crate) fn coloured(&self, palette: Palette) -> String {
        let style = match self.level {
            "ERROR" => Style::Bad,
            "WARN" => Style::Warn,
            _ => Style::Plain,
        };
        let level = palette.paint(style, &format!("{:<5}", self.level));
        let mut text = format!("{} {level} ", local_time::second(self.clock));
        if !self.job.is_empty() {
            push_on_one_line(&mut text, &self.job);
            text.push_str(": ");
        }
        push_on_one_line(&mut text, &self.message);
        if !self.below.is_empty() {
            text.push('\n');
            push_lines(&mut text, self.below.trim_end());
        }
        text
    }

    /// The JSON form, one object.
    pub(crate) fn json(&self) -> String {
        harmless::json(self, false)
    }
}

impl Visit for LogLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "job" => value.clone_into(&mut self.job),
            "below" => value.clone_into(&mut self.below),
            "fields" => self.fields = serde_json::from_str(value).unwrap_or_default(),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields.insert(field.name().to_owned(), Value::String(format!("{value:?}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> LogLine {
        LogLine {
            time: "2026-11-23T20:00:00.000Z".to_owned(),
            level: "INFO",
            job: "my_backup".to_owned(),
            message: "two\nlines\x1b".to_owned(),
            fields: [("event".to_owned(), Value::from("started"))].into_iter().collect(),
            below: "  a  1\n  b  2\n".to_owned(),
            clock: DateTime::from_timestamp(1_795_464_000, 0).unwrap(),
        }
    }

    #[test]
    fn text_is_one_line_and_what_stands_below_it() {
        let time = local_time::second(line().clock);
        assert_eq!(
            line().text(),
            format!("{time} INFO  my_backup: two\\nlines\\u{{1b}}\n  a  1\n  b  2")
        );
        assert_eq!(
            LogLine { job: String::new(), below: String::new(), ..line() }.text(),
            format!("{time} INFO  two\\nlines\\u{{1b}}")
        );
    }

    #[test]
    fn only_the_level_of_a_warning_or_an_error_is_coloured() {
        let time = local_time::second(line().clock);
        for (level, shown) in
            [("WARN", "\x1b[33mWARN \x1b[0m"), ("ERROR", "\x1b[31mERROR\x1b[0m"), ("INFO", "INFO ")]
        {
            let text =
                LogLine { level, job: String::new(), ..line() }.coloured(Palette::coloured());
            assert!(text.starts_with(&format!("{time} {shown} two\\nlines")), "{text:?}");
        }
    }

    #[test]
    fn json_holds_the_events_own_fields() {
        assert_eq!(
            line().json(),
            r#"{"time":"2026-11-23T20:00:00.000Z","level":"INFO","job":"my_backup","message":"two\nlines\u001b","event":"started"}"#
        );
    }
}
