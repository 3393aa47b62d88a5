//! `verify --heal-from`: brings what a check found damaged from another backups folder, here or on a host.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use engine::Context;
use engine::Prefix;
use engine::Repository;
use engine::copy::Fetched;
use engine::entry::escape::shown;
use engine::verify::{HealError, Healed, HealedName, Healing, Verified, heal, needs};
use serde_json::json;

use crate::config::host_dir::HostDir;
use crate::config::mistake::shown_path;
use crate::config::values::log_format::Format;
use crate::exit::Exit;
use crate::hint;
use crate::jobs::copies::failure::CopyFailure;
use crate::jobs::copies::hosts::{HostsReached, NotFetched};
use crate::log;
use crate::log::{JobLog, Stream};
use crate::snapshots::open::{Series, unlookable};
use crate::term::colour::Style;
use crate::term::out::Out;
use crate::term::print::{fail, warn};
use crate::term::units::count;
use crate::ui::summary::table;

/// Where damage is healed from, and how.
pub(super) struct HealFrom {
    from: Place,
    /// The folder, for messages.
    shown: String,
    dry_run: bool,
    json: bool,
}

/// The backups folder with the good entries.
enum Place {
    Here(Repository),
    OnHost(HostDir),
}

impl HealFrom {
    /// Opens the folder `from`. That of a host is opened when something is damaged.
    ///
    /// # Errors
    /// The exit code; the reason is already printed.
    pub(super) fn open(from: &Path, dry_run: bool, json: bool) -> Result<Self, Exit> {
        let place = match HostDir::read(from.as_os_str().as_bytes()) {
            None => Place::Here(Repository::open(from).map_err(|error| {
                fail(&format!("--heal-from: {error}; {}", hint::UNREAD_COPY));
                Exit::Failed
            })?),
            Some(Ok(host)) => {
                log::start(Format::Text, Stream::Stderr, None);
                Place::OnHost(host)
            }
            Some(Err(mistake)) => {
                fail(&format!("--heal-from: {mistake}"));
                return Err(Exit::Usage);
            }
        };
        Ok(Self { from: place, shown: shown_path(from), dry_run, json })
    }

    /// Heals what was found in the snapshots of `series`, and prints it. Returns whether nothing is left damaged.
    ///
    /// # Errors
    /// The exit code; the reason is already printed.
    pub(super) fn heal(
        &self,
        series: &Series,
        found: &Verified,
        context: &Context,
        out: &mut Out,
    ) -> Result<bool, Exit> {
        let (repository, prefix) = (&series.catalog, &series.prefix);
        let fetched;
        let other = match &self.from {
            Place::Here(other) => other,
            Place::OnHost(host) => {
                fetched = fetch(host, series, found, context)?;
                &fetched.repository
            }
        };
        let healed = match heal(repository, other, prefix, found, self.dry_run, context) {
            Ok(Some(healed)) => healed,
            Ok(None) => return Err(Exit::Signal(0)),
            Err(error) => return Err(failed(&error)),
        };
        healed.aside.iter().for_each(|what| warn(what));
        match self.json {
            true => self.objects(prefix, &healed, out),
            false => self.text(&healed, out),
        }
        let [_, would, left] = healed.counts();
        if left > 0 {
            fail(hint::unhealed());
        }
        Ok(would + left == 0)
    }

    fn objects(&self, prefix: &Prefix, healed: &Healed, out: &mut Out) {
        for HealedName { snapshot, path, result } in &healed.names {
            let (word, _, why) = words(result);
            out.object(&json!({
                "type": "healing", "snapshot": snapshot.to_string(), "path": shown(path), "result": word, "why": why,
            }));
        }
        let [done, would, left] = healed.counts();
        out.object(&json!({
            "type": "healed", "job": prefix.as_str(), "from": self.shown, "dry_run": self.dry_run,
            "healed": done, "would_heal": would, "left": left,
        }));
    }

    fn text(&self, healed: &Healed, out: &mut Out) {
        for HealedName { snapshot, path, result } in &healed.names {
            let (word, style, why) = words(result);
            let word = out.palette.paint(style, &word.replace('_', " "));
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            out.text(&format!("{word}  {snapshot}/{}{why}\n", shown(path)));
        }
        let [done, would, left] = healed.counts();
        let mut rows = vec![("healed from", self.shown.clone())];
        for (label, number, always) in [
            ("healed", done, !self.dry_run),
            ("would heal", would, self.dry_run),
            ("left", left, false),
        ] {
            if always || number > 0 {
                rows.push((label, count(number)));
            }
        }
        out.prose(&table(&rows));
    }
}

/// Brings the entries of a host that a healing needs.
fn fetch(
    host: &HostDir,
    series: &Series,
    found: &Verified,
    context: &Context,
) -> Result<Fetched, Exit> {
    let hosts = HostsReached { reach: &series.copies.reach, job: series.job.as_deref() };
    let log = JobLog::new(&series.name, Format::Text);
    let place = (&*series.catalog, &series.prefix);
    let parts = |_: &[_]| needs(&series.catalog, &series.history, found);
    match hosts.fetch(host, parts, place, context, &log) {
        Ok(fetched) => Ok(fetched),
        Err(NotFetched::Busy) => {
            let folder = shown_path(series.catalog.path());
            fail(&format!(
                "another healing or drill is at work in {folder}; nothing was healed, try again after it"
            ));
            Err(Exit::Failed)
        }
        Err(NotFetched::Failed(CopyFailure { is_stop: true, .. })) => Err(Exit::Signal(0)),
        Err(NotFetched::Failed(CopyFailure { what, hint, exit, .. })) => {
            unhealed(&what, hint);
            Err(exit)
        }
    }
}

fn words(result: &Healing) -> (&'static str, Style, Option<&str>) {
    match result {
        Healing::Healed => ("healed", Style::Good, None),
        Healing::Would => ("would_heal", Style::Good, None),
        Healing::Left(why) => ("left", Style::Bad, Some(why)),
    }
}

fn failed(error: &HealError) -> Exit {
    match error {
        HealError::Look(error) => return unlookable(error),
        HealError::Same(_) => {
            fail(&format!("{error}; write the folder of the other copy"));
            return Exit::Usage;
        }
        HealError::Busy(_) => fail(&format!("{error}; nothing was healed, try again after it")),
        HealError::Run(inner) => return unhealed(&error.to_string(), hint::unbrought(inner)),
    }
    Exit::Failed
}

fn unhealed(what: &str, next: Option<String>) -> Exit {
    let next = next.map(|next| format!("; {next}")).unwrap_or_default();
    fail(&format!("nothing was healed: {what}{next}"));
    Exit::Failed
}
