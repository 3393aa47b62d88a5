//! Formats the state of a job, as text and as JSON.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use engine::Report;
use engine::SnapshotName;
use engine::inspect::Look;
use engine::repository::not_after;
use engine::repository::{LastDrill, RootDropped};
use serde_json::{Value, json};

use crate::health::copies::{CopyState, CopyStates};
use crate::health::growth::Forecast;
use crate::health::reason::Reason;
use crate::health::{failures, killed, newest, unread_since};
use crate::term::colour::{Palette, Style};
use crate::term::local_time;
use crate::term::units::{bytes, count, counted, duration};
use crate::ui::summary::{line, table};

/// The displayed state of one job.
#[derive(Debug)]
pub(crate) struct JobState {
    pub(crate) name: String,
    pub(crate) now: DateTime<Utc>,
    /// What the backups folder contains, or why it could not be read.
    pub(crate) look: Result<Look, String>,
    /// Why the job is not healthy; empty if it is.
    pub(crate) complaints: Vec<Reason>,
    /// `MAX_BACKUPS`.
    pub(crate) max_backups: Option<usize>,
    /// The time from which a run takes a snapshot; `None` if only the folder is known.
    pub(crate) due: Option<DateTime<Utc>>,
    /// What the newest snapshot with a report contains.
    pub(crate) contains: Option<String>,
    /// When the crontab next starts a run after that time, if it does.
    pub(crate) crontab: Option<DateTime<Utc>>,
    pub(crate) forecast: Forecast,
    /// The mode of the backups folder, if all users may enter it and BACKUPS_MODE does not allow that.
    pub(crate) open_mode: Option<u32>,
    /// The further copies of the snapshots.
    pub(crate) copies: CopyStates,
    /// `COPY_TO`, as shown.
    pub(crate) copy_to: Vec<String>,
}

impl JobState {
    /// The verdict of `--check` on one line.
    pub(crate) fn verdict(&self) -> String {
        if !self.complaints.is_empty() {
            return format!("{}: UNHEALTHY: {}", self.name, self.reasons().join("; "));
        }
        let newest = self.look.as_ref().ok().and_then(|look| newest(&look.history, self.now));
        match newest {
            Some((newest, age)) => {
                format!("{}: healthy, {newest} is {} old", self.name, shown(age))
            }
            None => format!("{}: healthy, the first snapshot is not complete yet", self.name),
        }
    }

    /// The full state as text.
    pub(crate) fn text(&self, palette: Palette) -> String {
        let health = match self.complaints.is_empty() {
            true => palette.paint(Style::Good, "healthy"),
            false => palette.paint(Style::Bad, "UNHEALTHY"),
        };
        let reasons = self.reasons().into_iter();
        let mut rows: Vec<(&str, String)> = reasons.map(|reason| ("reason", reason)).collect();
        if let Ok(look) = &self.look {
            rows.extend(self.rows(look));
        }
        format!("{}: {health}\n{}", self.name, table(&rows))
    }

    fn reasons(&self) -> Vec<String> {
        self.complaints.iter().map(Reason::to_string).collect()
    }

    fn rows(&self, look: &Look) -> Vec<(&'static str, String)> {
        let newest = newest(&look.history, self.now);
        let mut rows = vec![(
            "newest",
            match newest {
                Some((newest, age)) => format!("{newest}, {} old", shown(age)),
                None => "there is no snapshot yet".to_owned(),
            },
        )];
        if !look.other_prefixes.is_empty() {
            rows.push(("other prefixes", others(look).join(", ")));
        }
        rows.extend(self.contains.clone().map(|contents| ("contains", contents)));
        let complete = look.history.complete.len();
        let most = self.max_backups.map(|most| format!(" of at most {most}"));
        rows.push(("snapshots", format!("{complete}{}", most.unwrap_or_default())));
        for incomplete in &look.history.incomplete {
            rows.push(("incomplete", self.incomplete(look, incomplete)));
        }
        if look.history.incomplete.is_empty() && look.at_work {
            rows.push(("at work", "a run is preparing or cleaning up".to_owned()));
        }
        rows.extend(dropped(look).map(|root| {
            (
                "not backed up",
                format!("{}, no longer named; newest copy in {}", root.path, root.last),
            )
        }));
        rows.extend(damage(look).map(|damage| ("damage", damage)));
        rows.extend(self.unread(look).map(|unread| ("not read", unread)));
        rows.push(("last run", last_run(look)));
        rows.extend(line_of(look).map(|line| ("line", line)));
        rows.push(("last verify", last_verify(look)));
        rows.push(("last drill", self.last_drill(look)));
        rows.extend(self.copies.0.iter().map(|(to, copy)| ("copy", self.copy(to, copy))));
        rows.extend(self.next().map(|next| ("next", next)));
        if let Some(space) = look.space {
            let (free, total) = (bytes(space.free_bytes), bytes(space.total_bytes));
            let inodes = space.free_inodes.map(|inodes| format!(", {} inodes free", count(inodes)));
            rows.push(("free space", format!("{free} of {total}{}", inodes.unwrap_or_default())));
        }
        rows.push(("disk full", self.full(complete)));
        if let Some(mode) = self.open_mode {
            let what = format!(
                "all users may enter the backups folder (mode {mode:04o}); chmod 700 closes it, BACKUPS_MODE says that it is meant"
            );
            rows.push(("warning", what));
        }
        rows
    }

    fn incomplete(&self, look: &Look, name: &SnapshotName) -> String {
        let begun = format!("{name}, begun {} ago", shown(self.now - name.stamp.time()));
        let state = if look.at_work { "a run is at work" } else { "the next run resumes it" };
        let known = look.reached.as_ref().filter(|reached| reached.snapshot == name.to_string());
        let Some(reached) = known else { return format!("{begun}; {state}") };
        let of = match reached.entries_expected {
            0 => String::new(),
            expected => format!(" of about {}", count(expected.max(reached.entries))),
        };
        format!(
            "{begun}; {state}; {}: {}{of} entries, {} linked, {} copied, {} ({})",
            reached.phase,
            count(reached.entries),
            count(reached.linked),
            count(reached.copied),
            bytes(reached.bytes_copied),
            local_time::of_rfc3339(&reached.updated),
        )
    }

    /// The entries that the newest snapshot with a report has not, or not as they are in the source.
    fn unread(&self, look: &Look) -> Option<String> {
        let report = look.reports.last().filter(|report| report.counts.problems > 0)?;
        let carried = match (report.counts.carried_forward, unread_since(look)) {
            (0, _) => String::new(),
            (number, None) => format!(", {} carried forward", count(number)),
            (number, Some(since)) => {
                let (since, ago) = (local_time::minute(since), shown(self.now - since));
                format!(", {} carried forward, the oldest since {since} ({ago})", count(number))
            }
        };
        let entries = counted(report.counts.problems, "entry", "entries");
        Some(format!(
            "{entries}{carried}; .backup_manager/reports/{}.json lists them",
            report.snapshot
        ))
    }

    fn copy(&self, to: &str, copy: &CopyState) -> String {
        let newest = match &copy.newest {
            Some(newest) => format!("{newest}, {} old", shown(self.now - copy.newest_time())),
            None => "no snapshot yet".to_owned(),
        };
        let reason = copy.reason.as_ref().map(|reason| format!("; {reason}"));
        let drill = copy.drill.as_ref().map(|drill| format!("; drilled {}", self.drilled(drill)));
        format!("{to}: {newest}{}{}", drill.unwrap_or_default(), reason.unwrap_or_default())
    }

    /// When the last restore drill ended, what it restored and how that compared.
    fn last_drill(&self, look: &Look) -> String {
        let Some(drill) = &look.last_drill else {
            return "none is known; backup_manager drill restores a part and compares it"
                .to_owned();
        };
        self.drilled(drill)
    }

    fn drilled(&self, drill: &LastDrill) -> String {
        let time = local_time::of_rfc3339(&drill.finished);
        let age = DateTime::parse_from_rfc3339(&drill.finished);
        let age = age.map_or_else(
            |_| String::new(),
            |end| format!(" ({} ago)", shown((self.now - end.to_utc()).max(TimeDelta::zero()))),
        );
        let files = counted(drill.files, "file", "files");
        let result = match (&drill.reason, drill.failed) {
            (None, _) => format!("{files} of {} came back as backed up", drill.snapshot),
            (Some(reason), 0) => format!("could not be done: {reason}"),
            (Some(_), failed) => {
                format!("{} of {files} of {} did NOT come back", count(failed), drill.snapshot)
            }
        };
        format!("{time}{age}: {result}")
    }

    fn next(&self) -> Option<String> {
        let due = match self.due? {
            due if due <= self.now => "a run takes a snapshot at once".to_owned(),
            due => format!("a run takes a snapshot from {} on", local_time::minute(due)),
        };
        Some(match self.crontab {
            Some(time) => format!("{due}; the crontab starts one at {}", local_time::minute(time)),
            None => due,
        })
    }

    fn full(&self, complete: usize) -> String {
        let pace = |per_day: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            let per_day = bytes(per_day as u64);
            format!("at the last runs' {per_day} a day")
        };
        match self.forecast {
            Forecast::Unknown => "not known: it takes three runs over a day or more".to_owned(),
            Forecast::NotInSight { bytes_per_day } => {
                format!("not within ten years, {}", pace(bytes_per_day))
            }
            Forecast::Full { when, bytes_per_day } => {
                let back = if self.max_backups.is_some_and(|most| complete >= most) {
                    "; later, as the oldest snapshots that go give room back"
                } else {
                    ""
                };
                let (left, pace) = (shown(when - self.now), pace(bytes_per_day));
                format!("in {left} ({}), {pace}{back}", local_time::date(when))
            }
        }
    }

    /// The full state as JSON.
    pub(crate) fn json(&self) -> Value {
        let mut object = json!({
            "job": self.name,
            "healthy": self.complaints.is_empty(),
            "reasons": self.reasons(),
        });
        if let (Ok(look), Value::Object(fields)) = (&self.look, &mut object)
            && let Value::Object(more) = self.fields(look)
        {
            fields.extend(more);
        }
        object
    }

    fn fields(&self, look: &Look) -> Value {
        let newest = newest(&look.history, self.now);
        let (full, per_day) = match self.forecast {
            Forecast::Unknown => (None, None),
            Forecast::NotInSight { bytes_per_day } => (None, Some(bytes_per_day)),
            Forecast::Full { when, bytes_per_day } => (Some(rfc3339(when)), Some(bytes_per_day)),
        };
        json!({
            "newest": newest.map(|(newest, _)| newest.to_string()),
            "newest_age_seconds": newest.map(|(_, age)| age.num_seconds()),
            "other_prefixes": others(look),
            "host": look.reports.last().and_then(|report| report.host.clone()),
            "connection": look.reports.last().and_then(|report| report.connection),
            "bytes_from_base": look.reports.last().map(|report| report.counts.bytes_from_base),
            "sources": look.reports.last().map(sources),
            "snapshots": look.history.complete.len(),
            "damaged": look.damaged.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "mass_change": look.frozen,
            "problems": look.reports.last().map(|report| report.counts.problems),
            "carried_forward": look.reports.last().map(|report| report.counts.carried_forward),
            "unread_since": unread_since(look).map(rfc3339),
            "last_verify": look.last_check,
            "last_drill": look.last_drill,
            "last_drill_passed": look.last_drill.as_ref().map(LastDrill::is_passed),
            "max_backups": self.max_backups,
            "incomplete": look.history.incomplete.last().map(ToString::to_string),
            "at_work": look.at_work,
            "progress": look.reached.as_ref().filter(|_| look.at_work || !look.history.incomplete.is_empty()),
            "dropped_roots": dropped(look).collect::<Vec<_>>(),
            "last_run": look.status,
            "killed": killed(look),
            "failures_in_a_row": failures(look),
            "due": self.due.map(rfc3339),
            "crontab_next": self.crontab.map(rfc3339),
            "space": look.space,
            "bytes_per_day": per_day,
            "disk_full": full,
            "open_to_others": self.open_mode.is_some(),
            "copies": self.copies,
        })
    }
}

/// The source roots that the job no longer names but a snapshot still contains.
fn dropped(look: &Look) -> impl Iterator<Item = &RootDropped> {
    let dropped = look.reports.last().into_iter().flat_map(|report| &report.dropped);
    dropped.filter(|root| not_after(&look.history, root).next().is_some())
}

/// The prefixes of other snapshots in the folder.
fn others(look: &Look) -> Vec<String> {
    look.other_prefixes.iter().map(ToString::to_string).collect()
}

/// The paths of the source roots.
fn sources(report: &Report) -> Vec<&str> {
    report.roots.iter().map(|root| root.path.as_str()).collect()
}

/// The damaged snapshots, if there are any.
fn damage(look: &Look) -> Option<String> {
    let names: Vec<String> = look.damaged.iter().map(ToString::to_string).collect();
    let all = look.history.complete.len() as u64;
    let of = counted(all, "snapshot", "snapshots");
    (!names.is_empty()).then(|| {
        format!("in {} of {of}: {}; verify shows which files", names.len(), names.join(", "))
    })
}

/// When the last check ended, what it read and what it found.
fn last_verify(look: &Look) -> String {
    let Some(check) = &look.last_check else {
        return "none is known; backup_manager verify reads the files and compares their hashes"
            .to_owned();
    };
    let time = local_time::of_rfc3339(&check.finished);
    let of = counted(check.snapshots as u64, "snapshot", "snapshots");
    let part = if check.whole { "" } else { "a part of " };
    let mut found = match check.damaged {
        0 => "no damage".to_owned(),
        number => counted(number as u64, "damaged file", "damaged files"),
    };
    if check.unproved > 0 {
        found.push_str(&format!(", {} without a hash", counted(check.unproved, "file", "files")));
    }
    format!("{time}, {part}{of}: {found}")
}

fn last_run(look: &Look) -> String {
    if killed(look) {
        return "was killed, or the machine went down; the next run resumes it".to_owned();
    }
    let Some(status) = &look.status else { return "none is known".to_owned() };
    let outcome = status.outcome.replace('_', " ");
    let finished = DateTime::parse_from_rfc3339(&status.finished);
    let finished =
        finished.map_or_else(|_| status.finished.clone(), |time| local_time::minute(time.to_utc()));
    let mut text = format!("{outcome}, {finished}");
    if let Some(reason) = &status.reason {
        text = format!("{text}: {reason}");
    }
    if status.failures_in_a_row > 1 {
        text = format!("{text} ({} failed in a row)", status.failures_in_a_row);
    }
    text
}

/// How the run of the newest snapshot with a report read its remote host, and what it did not have to send.
fn line_of(look: &Look) -> Option<String> {
    let report = look.reports.last()?;
    let text = line(report.connection.as_ref()?);
    Some(match report.counts.bytes_from_base {
        0 => text,
        saved => format!("{text}, {} not sent", bytes(saved)),
    })
}

fn shown(time: TimeDelta) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds of less than a century")]
    duration(time.num_seconds() as f64)
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use engine::History;
    use engine::Prefix;

    use super::*;

    fn state() -> JobState {
        let now = DateTime::from_timestamp(1_701_960_000, 0).unwrap();
        let prefix = Prefix::new("p").unwrap();
        let names = ["p.07-12-2023_13-32-58", "p.07-12-2023_14-00-00.incomplete"];
        let names = names.iter().filter_map(|name| SnapshotName::parse(&prefix, name.as_bytes()));
        JobState {
            name: "home".to_owned(),
            now,
            look: Ok(Look { history: History::of(names), ..Look::default() }),
            complaints: Vec::new(),
            max_backups: Some(30),
            due: Some(now + TimeDelta::hours(1)),
            contains: Some("/home on nas".to_owned()),
            crontab: Some(now + TimeDelta::hours(2)),
            forecast: Forecast::Full { when: now + TimeDelta::days(10), bytes_per_day: 2048.0 },
            open_mode: None,
            copies: CopyStates::default(),
            copy_to: Vec::new(),
        }
    }

    #[test]
    fn a_state_is_an_aligned_block() {
        let [due, starts] = [1, 2].map(|hours| state().now + TimeDelta::hours(hours));
        let (due, starts) = (local_time::minute(due), local_time::minute(starts));
        assert_eq!(
            state().text(Palette::plain()),
            format!(
                "home: healthy
  newest       p.07-12-2023_13-32-58, 1 h 7 min old
  contains     /home on nas
  snapshots    1 of at most 30
  incomplete   p.07-12-2023_14-00-00.incomplete, begun 40 min 0 s ago; the next run resumes it
  last run     none is known
  last verify  none is known; backup_manager verify reads the files and compares their hashes
  last drill   none is known; backup_manager drill restores a part and compares it
  next         a run takes a snapshot from {due} on; the crontab starts one at {starts}
  disk full    in 10 d 0 h (2023-12-17), at the last runs' 2.0 KiB a day
"
            )
        );
    }

    #[test]
    fn a_job_that_cannot_be_read_is_unhealthy() {
        let complaint = "cannot open /backups".to_owned();
        let complaints = vec![Reason::Unreadable(complaint.clone())];
        let state = JobState { look: Err(complaint), complaints, ..state() };
        assert_eq!(
            state.text(Palette::plain()),
            "home: UNHEALTHY\n  reason  cannot open /backups\n"
        );
        assert_eq!(state.verdict(), "home: UNHEALTHY: cannot open /backups");
        assert_eq!(state.json()["healthy"], false);
    }
}
