//! `verify --heal-from DIR`: brings what a check found damaged from another backups folder.

use engine::Context;
use engine::Prefix;
use engine::Repository;
use engine::entry::escape::shown;
use engine::verify::{HealError, Healed, HealedName, Healing, Verified, heal};
use serde_json::json;

use crate::config::mistake::shown_path;
use crate::exit::Exit;
use crate::hint;
use crate::snapshots::open::unlookable;
use crate::term::colour::Style;
use crate::term::out::Out;
use crate::term::print::{fail, warn};
use crate::term::units::count;
use crate::ui::summary::table;

/// Where damage is healed from.
pub(super) struct HealFrom {
    pub(super) other: Repository,
    pub(super) dry_run: bool,
    pub(super) json: bool,
}

impl HealFrom {
    /// Heals what was found in `repository`, and prints it. Returns whether nothing is left damaged.
    ///
    /// # Errors
    /// The exit code; the reason is already printed.
    pub(super) fn heal(
        &self,
        repository: &Repository,
        prefix: &Prefix,
        found: &Verified,
        context: &Context,
        out: &mut Out,
    ) -> Result<bool, Exit> {
        let healed = match heal(repository, &self.other, prefix, found, self.dry_run, context) {
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
            "type": "healed", "job": prefix.as_str(), "from": shown_path(self.other.path()), "dry_run": self.dry_run,
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
        let mut rows = vec![("healed from", shown_path(self.other.path()))];
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
        HealError::Run(inner) => {
            let next = hint::hint(inner).map(|next| format!("; {next}")).unwrap_or_default();
            fail(&format!("nothing was healed: {error}{next}"));
        }
    }
    Exit::Failed
}
