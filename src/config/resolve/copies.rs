//! The further copies of a job's snapshots.

use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use engine::Retention;
use engine::snapshot::Periods;

use crate::config::checks::value::GivenValue;
use crate::config::host_dir::HostDir;
use crate::config::layers::first;
use crate::config::mistake::{Mistake, shown_path};
use crate::config::resolve::draft::Draft;
use crate::config::resolve::overlap;
use crate::config::setting::Layer;
use crate::config::types::{Copies, Reach};

impl Draft<'_> {
    /// The copies; `None` if there is a mistake.
    pub(crate) fn copies(&self, current_dir: &Path, mistakes: &mut Vec<Mistake>) -> Option<Copies> {
        let given = first(&self.layers, |layer| layer.copy_to.as_ref());
        let folders = given.and_then(|given| given.value.clone()).unwrap_or_default();
        // This removes the '.' of './copy' for messages.
        let whole = |folder: &PathBuf| match HostDir::of(folder) {
            Some(_) => folder.clone(),
            None => current_dir.join(folder).components().collect::<PathBuf>(),
        };
        let to: Vec<PathBuf> = folders.iter().map(whole).collect();
        if let (Some(given), Some(own)) = (given, self.backups_dir(current_dir)) {
            let overlaps = |to: &&PathBuf| overlap::lies_in(to, &own) || overlap::lies_in(&own, to);
            let here = to.iter().filter(|to| HostDir::of(to).is_none());
            for to in here.filter(overlaps) {
                mistakes.push(given.origin.mistake(format!(
                    "{} and the backups folder {} are the same folder, or one lies in the other; write a folder of another disk",
                    shown_path(to),
                    shown_path(&own)
                )));
            }
        }
        let keeps = |field: fn(&Layer) -> Option<&GivenValue<u32>>| self.value(field).unwrap_or(0);
        let keep = Periods {
            last: keeps(|layer| layer.copy_keep_last.as_ref()),
            hourly: keeps(|layer| layer.copy_keep_hourly.as_ref()),
            daily: keeps(|layer| layer.copy_keep_daily.as_ref()),
            weekly: keeps(|layer| layer.copy_keep_weekly.as_ref()),
            monthly: keeps(|layer| layer.copy_keep_monthly.as_ref()),
            yearly: keeps(|layer| layer.copy_keep_yearly.as_ref()),
        };
        let max = self.value(|layer| layer.copy_max_backups.as_ref());
        let max_age = self.value(|layer| layer.copy_max_age.as_ref());
        Some(Copies {
            to,
            retention: Retention { max, keep },
            max_age: max_age.unwrap_or(TimeDelta::hours(192)),
            rename_from: self.value(|layer| layer.rename_detection.as_ref())?,
            reach: Reach {
                answer_timeout: self.answer_timeout(),
                helper: Some(self.helper()),
                known_hosts: None,
            },
        })
    }
}
