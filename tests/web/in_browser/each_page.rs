//! Each page, for a phone and a desk, the keyboard and a screen reader.

use fixtures::need::{Missing, report};
use thirtyfour::Key;

use crate::client::browser::Browser;
use crate::client::site::{Site, path_of};
use crate::in_browser::{WIDTHS, two};

/// An address of each kind of page.
fn pages(path: &str, first: &str, second: &str) -> Vec<String> {
    vec![
        "/".to_owned(),
        "/login".to_owned(),
        "/job/my_backup?sizes=1".to_owned(),
        format!("/browse/my_backup{path}?deleted=1"),
        format!("/browse/my_backup{path}/letter.txt"),
        format!("/browse/my_backup{path}/holiday.jpg"),
        format!("/browse/my_backup{path}/letter.txt?at={second}&with={first}"),
        format!("/compare/my_backup/?a={first}&b={second}"),
        format!("/compare/my_backup/?a={first}&b=now"),
        "/search?q=*.txt".to_owned(),
        format!("/restore/my_backup{path}/letter.txt"),
        "/none".to_owned(),
    ]
}

#[test]
fn no_page_is_wider_than_its_window() {
    browser!();
    let (stage, [first, second]) = two();
    let site = Site::of(&stage);
    let path = path_of(&stage);
    for width in WIDTHS {
        for scripts in [false, true] {
            let browser = Browser::open(width, scripts);
            for target in pages(&path, &first, &second) {
                browser.go(&format!("http://{}{target}", site.address));
                assert!(browser.overhang() <= 0, "{target} at {width}: {}", browser.overhang());
            }
        }
    }
}

/// Tab reaches each link and field of each page, and shows where it is.
#[test]
fn each_page_works_with_the_keyboard() {
    browser!();
    let (stage, [first, second]) = two();
    let site = Site::of(&stage);
    for width in WIDTHS {
        let browser = Browser::open(width, true);
        for target in pages(&path_of(&stage), &first, &second) {
            browser.go(&format!("http://{}{target}", site.address));
            let stops = browser.script(
                "window.reached = new Set(); window.stops = [...document.querySelectorAll(\
                 'a[href], button, input:not([type=hidden]), select, [tabindex=\"0\"]')]; return window.stops.length",
            );
            for _ in 0..stops.as_u64().expect("a number") {
                browser.press(Key::Tab);
                let hidden = browser.script(
                    "const at = document.activeElement; window.reached.add(at); const style = getComputedStyle(at); \
                     return style.outlineStyle == 'none' || style.outlineWidth == '0px' ? at.outerHTML : null",
                );
                assert_eq!(hidden, serde_json::Value::Null, "{target} at {width}: no outline");
            }
            let missed = browser.script(
                "return window.stops.filter(stop => !window.reached.has(stop)).map(stop => stop.outerHTML)",
            );
            assert_eq!(missed, serde_json::json!([]), "{target} at {width}: not reached");
        }
        browser.go(&format!("http://{}/", site.address));
        browser.press(Key::Tab);
        assert_eq!(browser.focus(), "Skip to the content");
        browser.press(Key::Enter);
        browser.press(Key::Tab);
        assert_eq!(browser.focus(), "my_backup", "the first link of the content");
    }
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
