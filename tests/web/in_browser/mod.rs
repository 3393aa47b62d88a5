//! What people do in a browser.

use fixtures::need::{Missing, on_ci};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::client::browser::available;
use crate::client::site::{BIN, name};

/// The widths of a phone and of a desk.
const WIDTHS: [u32; 2] = [360, 1600];

/// Two snapshots: `letter.txt` changed, `gone.txt` was deleted.
fn two() -> (Stage, [String; 2]) {
    let tree = Tree::new()
        .file("letter.txt", "Dear Ann,\n")
        .file("holiday.jpg", b"\xff\xd8\xff\xe0")
        .file("gone.txt", "x");
    let stage = Stage::with(BIN, &tree);
    let first = name(&stage.take());
    stage.sh("echo 'Dear Bob,' >letter.txt; rm gone.txt");
    let second = name(&stage.take());
    (stage, [first, second])
}

/// CI never runs a browser.
fn browser() -> Result<(), Missing> {
    if on_ci() { Err(Missing("CI runs no browser".to_owned())) } else { available() }
}

/// Skips the test without a browser. Unlike with other requirements, CI does not fail then.
macro_rules! browser {
    () => {
        if let Err(missing) = crate::in_browser::browser() {
            return fixtures::need::report(module_path!(), &missing);
        }
    };
}

mod access;
mod clicks;
mod each_page;
mod screenshots;
