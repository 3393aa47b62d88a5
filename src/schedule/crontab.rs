//! Parses a crontab: lines with times and commands, variables, comments (crontab(5)).

use chrono::{DateTime, Utc};
use croner::Cron;

use crate::schedule::times;
use crate::schedule::zone::Zone;

/// A parsed crontab.
#[derive(Debug, Default)]
pub(crate) struct Crontab {
    pub(crate) lines: Vec<CronLine>,
    /// Lines that cannot be parsed: the number, and what is wrong.
    pub(crate) faults: Vec<(usize, String)>,
}

/// A line with a command.
#[derive(Debug, Clone)]
pub(crate) struct CronLine {
    /// The line number in the file, from 1.
    pub(crate) number: usize,
    /// The time fields as written.
    pub(crate) fields: String,
    /// The command as written.
    text: String,
    /// The command for `/bin/sh -c`.
    pub(crate) command: String,
    /// The standard input of the command.
    pub(crate) input: Option<String>,
    /// The variables set above the line.
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) zone: Zone,
    when: When,
}

#[derive(Debug, Clone)]
enum When {
    /// `@reboot`: when the daemon starts.
    Start,
    Times(Box<Cron>),
}

impl CronLine {
    /// Whether the line runs only when the daemon starts.
    pub(crate) fn at_start(&self) -> bool {
        matches!(self.when, When::Start)
    }

    /// The first start time after `after`.
    pub(crate) fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.when {
            When::Start => None,
            When::Times(cron) => times::next(cron, self.zone, after),
        }
    }

    /// Whether two lines are equal; their position in the file does not matter.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let what = |line: &Self| (line.fields.clone(), line.text.clone(), line.zone);
        what(self) == what(other) && self.variables == other.variables
    }
}

impl Crontab {
    /// Parses the `text` of a crontab. Times are in `zone` until the crontab sets another one.
    pub(crate) fn read(text: &str, zone: Zone) -> Self {
        let mut reader = CrontabReader { zone, cron_tz: None, tz: None, variables: Vec::new() };
        let mut crontab = Self::default();
        for (index, text) in text.lines().enumerate() {
            let (number, text) = (index + 1, text.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match reader.line(number, text) {
                Ok(line) => crontab.lines.extend(line),
                Err(wrong) => crontab.faults.push((number, wrong)),
            }
        }
        crontab
    }
}

struct CrontabReader {
    /// The zone of the environment.
    zone: Zone,
    cron_tz: Option<Zone>,
    tz: Option<Zone>,
    variables: Vec<(String, String)>,
}

impl CrontabReader {
    fn line(&mut self, number: usize, text: &str) -> Result<Option<CronLine>, String> {
        if text.contains(char::REPLACEMENT_CHARACTER) || text.contains('\0') {
            return Err("it is not valid UTF-8 text; write it again".to_owned());
        }
        if let Some((name, value)) = variable(text) {
            return self.set(name, value).map(|()| None);
        }
        let (fields, text) = parts(text).ok_or(
            "it is not a line of a crontab; write five fields and a command, for example '0 3 * * * backup_manager run'",
        )?;
        let when = if fields.eq_ignore_ascii_case("@reboot") {
            When::Start
        } else {
            let cron = times::read(&fields);
            When::Times(Box::new(cron.map_err(|wrong| {
                // The crate's messages end with a full stop.
                let wrong = wrong.to_string();
                let wrong = wrong.trim_end_matches('.');
                format!("'{fields}' are not times: {wrong}; write five fields (minute hour day month weekday), or @hourly, @daily, @weekly, @monthly, @yearly")
            })?))
        };
        let (command, input) = command(text);
        Ok(Some(CronLine {
            number,
            fields,
            text: text.to_owned(),
            command,
            input,
            variables: self.variables.clone(),
            zone: self.cron_tz.or(self.tz).unwrap_or(self.zone),
            when,
        }))
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let zone = Zone::named(&value);
        match (name, zone) {
            ("CRON_TZ", None) if !value.is_empty() => {
                return Err(format!(
                    "'{value}' is not a time zone; write for example CRON_TZ=Europe/Berlin"
                ));
            }
            ("CRON_TZ", zone) => self.cron_tz = zone,
            // Commands get TZ even if it is unknown here: their libraries support more forms.
            ("TZ", zone) => self.tz = zone,
            _ => {}
        }
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value));
        Ok(())
    }
}

/// Parses `NAME=value`, with white space around the `=` and quotes around the value as crontab(5) allows.
fn variable(text: &str) -> Option<(&str, String)> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let mut letters = name.bytes();
    let first = letters.next()?;
    let is_name = (first == b'_' || first.is_ascii_alphabetic())
        && letters.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    let quoted = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote).and_then(|value| value.strip_suffix(*quote)));
    is_name.then(|| (name, quoted.unwrap_or(value).to_owned()))
}

/// Splits a line into its time fields, separated by single spaces, and the command.
fn parts(text: &str) -> Option<(String, &str)> {
    let count = if text.starts_with('@') { 1 } else { 5 };
    let (mut fields, mut rest) = (Vec::with_capacity(count), text);
    for _ in 0..count {
        let (field, after) = rest.split_once(char::is_whitespace)?;
        fields.push(field);
        rest = after.trim_start();
    }
    (!rest.is_empty()).then(|| (fields.join(" "), rest))
}

/// Splits the text into the shell command and its standard input. The first `%` ends the command, further
/// ones are line feeds, and `\%` is a percent sign (crontab(5)).
fn command(text: &str) -> (String, Option<String>) {
    let (mut command, mut input): (String, Option<String>) = (String::new(), None);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let percent = c == '\\' && rest.peek() == Some(&'%');
        if percent {
            rest.next();
        }
        match (c, &mut input) {
            ('%', None) => input = Some(String::new()),
            ('%', Some(input)) => input.push('\n'),
            (c, Some(input)) => input.push(if percent { '%' } else { c }),
            (c, None) => command.push(if percent { '%' } else { c }),
        }
    }
    if let Some(input) = &mut input {
        input.push('\n');
    }
    (command, input)
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;

    const UTC: Zone = Zone::Named(Tz::UTC);

    #[test]
    fn lines_get_the_variables_and_the_zone_above_them() {
        let crontab = Crontab::read(
            "# a comment\n\nA = 1\n*/5 * * * *\tone  two\nA='2 3'\nB=\"\"\nCRON_TZ=Europe/Berlin\n  @daily three=4 5\n@reboot four\nCRON_TZ=\nTZ=Asia/Tokyo\n0 0 1 1 * five\r\n",
            UTC,
        );
        assert_eq!(crontab.faults, []);
        let lines: Vec<_> = crontab
            .lines
            .iter()
            .map(|line| (line.number, line.fields.as_str(), line.command.as_str(), line.zone))
            .collect();
        let (berlin, tokyo) = (Zone::Named(Tz::Europe__Berlin), Zone::Named(Tz::Asia__Tokyo));
        assert_eq!(
            lines,
            [
                (4, "*/5 * * * *", "one  two", UTC),
                (8, "@daily", "three=4 5", berlin),
                (9, "@reboot", "four", berlin),
                (12, "0 0 1 1 *", "five", tokyo),
            ]
        );
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(crontab.lines[0].variables, [pair("A", "1")]);
        let above = [pair("A", "2 3"), pair("B", ""), pair("CRON_TZ", "Europe/Berlin")];
        assert_eq!(crontab.lines[1].variables, above);
        assert!(crontab.lines[2].at_start() && !crontab.lines[1].at_start());
    }

    #[test]
    fn a_broken_line_is_named_and_the_others_go_on() {
        let text = "* * * * * good\n* * * * *\n61 * * * * bad\nCRON_TZ=Mars/Base\n@never x\nhello\n@hourly good\n";
        let crontab = Crontab::read(text, UTC);
        let numbers: Vec<usize> = crontab.faults.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [2, 3, 4, 5, 6]);
        assert_eq!(crontab.lines.iter().filter(|line| line.command == "good").count(), 2);
        assert!(
            crontab.faults[1].1.contains(
                "'61 * * * *' are not times: Component error: Number out of bounds; write"
            ),
            "{:?}",
            crontab.faults
        );
        assert!(crontab.faults[3].1.contains("'@never' are not times: the name is unknown; write"));
        assert!(crontab.faults.iter().all(|(_, wrong)| wrong.contains("write")));
    }

    #[test]
    fn a_percent_sign_begins_what_the_command_reads() {
        for (text, expected, input) in [
            ("date", "date", None),
            ("date +\\%F", "date +%F", None),
            ("cat%a%b\\%", "cat", Some("a\nb%\n")),
            ("printf '\\n'", "printf '\\n'", None),
        ] {
            assert_eq!(command(text), (expected.to_owned(), input.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn a_line_that_moved_says_the_same() {
        let read = |text: &str| Crontab::read(text, UTC).lines.remove(0);
        let line = read("* * * * * x");
        assert!(line.says_the_same(&read("\n\n*  * * * *   x")));
        for other in
            ["* * * * * y", "1 * * * * x", "A=1\n* * * * * x", "CRON_TZ=Asia/Tokyo\n* * * * * x"]
        {
            assert!(!line.says_the_same(&read(other)), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_each_line_is_taken_or_named(text in "(?s)([*0-9@a-z=,/ %#\\-]{0,30}\n|.{0,20}\n){0,8}") {
            let crontab = Crontab::read(&text, UTC);
            let count = text.lines().count();
            let numbers = crontab.lines.iter().map(|line| line.number);
            prop_assert!(numbers.chain(crontab.faults.iter().map(|fault| fault.0)).all(|number| (1..=count).contains(&number)));
        }
    }
}
