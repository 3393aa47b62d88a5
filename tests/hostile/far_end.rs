//! Lying far ends of the helper: all lies of the table in `fixtures/src/lying_server/far_end/lies`. Nothing outside of the
//! destination is touched, older snapshots are unchanged, memory is bounded, the run ends with a cause or the right
//! content, and the next run with an honest far end is complete.

use std::sync::{Mutex, PoisonError};

use fixtures::far_end::lies;
use fixtures::hostile_far_end::HostileFarEnd;
use fixtures::liar::Ends;
use fixtures::lie_table;
use fixtures::need;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

#[test]
fn no_lie_of_a_far_end_does_harm() {
    need!(need::root());
    need!(need::tool("rsync"));
    // A scene whose run had the expected end serves the next lie too.
    let scenes: Mutex<Vec<HostileFarEnd>> = Mutex::default();
    need!(lie_table::check_all(lies::all(), (false, "", 150), |lie| {
        if matches!(lie.ends, Ends::Full(_)) {
            return Ok(HostileFarEnd::new(BIN, true)?.check(lie));
        }
        let scene = scenes.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let scene = match scene {
            Some(scene) => scene,
            None => HostileFarEnd::new(BIN, false)?,
        };
        let checked = scene.check(lie);
        if checked.is_ok() {
            scene.forget();
            scenes.lock().unwrap_or_else(PoisonError::into_inner).push(scene);
        }
        Ok(checked)
    }));
}
