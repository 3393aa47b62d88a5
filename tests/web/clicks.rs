//! The questions that people arrive with, answered in a browser by clicking what is visible.

use fixtures::need::{Missing, on_ci, report};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::browser::{Browser, available};
use crate::site::{BIN, Site, name, path_of};

/// The widths of a phone and of a desk.
const WIDTHS: [u32; 2] = [360, 1600];

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
        if let Err(missing) = browser() {
            return report(module_path!(), &missing);
        }
    };
}

#[test]
fn is_everything_backed_up_is_answered_at_once() {
    browser!();
    let (stage, _) = two();
    let site = Site::of(&stage);
    for scripts in [false, true] {
        let browser = Browser::open(WIDTHS[0], scripts);
        browser.go(&format!("http://{}/", site.address));
        assert!(browser.text().contains("Everything is backed up."), "{}", browser.text());
    }
}

#[test]
fn the_file_as_it_was_is_three_clicks_away() {
    browser!();
    let (stage, _) = two();
    let site = Site::of(&stage);
    for width in WIDTHS {
        let browser = Browser::open(width, false);
        browser.go(&format!("http://{}/", site.address));
        browser.write("q", "letter.txt");
        browser.click("Search");
        browser.click("letter.txt");
        assert!(browser.text().contains("Dear Bob,"), "{}", browser.text());
        browser.click("Earlier");
        assert!(browser.text().contains("Dear Ann,"), "{}", browser.text());
    }
}

#[test]
fn what_uses_the_disk_is_answered() {
    browser!();
    let (stage, _) = two();
    let site = Site::of(&stage);
    let browser = Browser::open(WIDTHS[1], false);
    browser.go(&format!("http://{}/", site.address));
    assert!(browser.text().contains("Free space"), "{}", browser.text());
    browser.click("Time line");
    browser.click("Measure what each snapshot holds alone");
    assert!(browser.text().contains(" B"), "{}", browser.text());
}

#[test]
fn no_page_is_wider_than_its_window() {
    browser!();
    let (stage, [first, second]) = two();
    let site = Site::of(&stage);
    let path = path_of(&stage);
    for width in WIDTHS {
        let browser = Browser::open(width, false);
        for target in pages(&path, &first, &second) {
            browser.go(&format!("http://{}{target}", site.address));
            assert!(browser.overhang() <= 0, "{target} at {width}: {}", browser.overhang());
        }
    }
}

/// An address of each kind of page.
pub(crate) fn pages(path: &str, first: &str, second: &str) -> Vec<String> {
    vec![
        "/".to_owned(),
        "/job/my_backup".to_owned(),
        format!("/browse/my_backup{path}?deleted=1"),
        format!("/browse/my_backup{path}/letter.txt"),
        format!("/browse/my_backup{path}/letter.txt?at={second}&with={first}"),
        format!("/compare/my_backup/?a={first}&b={second}"),
        "/search?q=*.txt".to_owned(),
        format!("/restore/my_backup{path}/letter.txt"),
        "/none".to_owned(),
    ]
}

/// `AXE=/path/of/axe.min.js` (from npm) checks each page.
#[test]
fn axe_finds_no_violation() {
    browser!();
    let Ok(axe) = std::env::var("AXE").map(|path| std::fs::read_to_string(path).expect("axe"))
    else {
        return report(module_path!(), &Missing("AXE names no axe.min.js".to_owned()));
    };
    let (stage, [first, second]) = two();
    let site = Site::of(&stage);
    for (width, dark) in [(WIDTHS[0], false), (WIDTHS[1], true)] {
        let browser = Browser::open(width, true);
        if dark {
            browser.dark();
        }
        for target in pages(&path_of(&stage), &first, &second) {
            browser.go(&format!("http://{}{target}", site.address));
            browser.script(&format!("{axe}; return null"));
            let found = browser.script("return axe.run().then(found => found.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' ')))");
            assert_eq!(found, serde_json::json!([]), "{target} at {width}");
        }
    }
}
