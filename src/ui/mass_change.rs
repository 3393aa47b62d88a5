//! What a run and a dry run say about mass changes.

use engine::backup::DryRunReport;
use engine::snapshot::Freeze;

use crate::health::mass_change::sentence;

/// The last warning of a run while pruning is frozen.
pub(crate) fn frozen(freeze: &Freeze, backups_dir: &[u8]) -> String {
    format!("{} (exit code 3)", sentence(freeze, backups_dir))
}

/// The rows of a dry run.
pub(crate) fn rows(forecast: &DryRunReport) -> Vec<(&'static str, String)> {
    let DryRunReport { suspicions, frozen, base, .. } = forecast;
    let mut rows: Vec<_> = suspicions
        .iter()
        .map(|suspicion| ("mass change", format!("it may be unwanted: {suspicion}")))
        .collect();
    match (frozen, base) {
        (Some(freeze), _) => {
            let what = format!("no snapshot, until the hold of {} is released", freeze.held);
            rows.push(("would remove", what));
        }
        (None, Some(base)) if !suspicions.is_empty() => {
            let what = format!("{base} or an older one, and remove no snapshot (CHANGE_BRAKE)");
            rows.push(("would hold", what));
        }
        _ => {}
    }
    rows
}
