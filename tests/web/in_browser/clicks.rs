//! The questions that people arrive with, answered in a browser by clicking what is visible.

use fixtures::patience::wait_for;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::client::browser::Browser;
use crate::client::site::{BIN, Site, path_of};
use crate::in_browser::{WIDTHS, two};
use crate::live::slow_run;

#[test]
fn is_everything_backed_up_is_answered_at_once() {
    browser!();
    let (stage, _) = two();
    let site = Site::of(&stage);
    for scripts in [false, true] {
        let browser = Browser::open(WIDTHS[0], scripts);
        browser.go(&format!("http://{}/", site.address));
        browser.assert_reads("Everything is backed up.");
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
        browser.assert_reads("Dear Bob,");
        browser.click("Earlier");
        browser.assert_reads("Dear Ann,");
    }
}

#[test]
fn what_uses_the_disk_is_answered() {
    browser!();
    let (stage, _) = two();
    let site = Site::of(&stage);
    let browser = Browser::open(WIDTHS[1], false);
    browser.go(&format!("http://{}/", site.address));
    browser.assert_reads("Free space");
    browser.click("Time line");
    browser.click("Measure what each snapshot holds alone");
    browser.assert_reads(" B");
}

#[test]
fn a_download_is_the_file() {
    browser!();
    let stage =
        Stage::with(BIN, &Tree::new().random_file("a & b.bin", 3_000_000, 1).file("text", "x"));
    stage.take();
    let site = Site::of(&stage);
    let folder = stage.beside("downloads");
    std::fs::create_dir(&folder).expect("made");
    let browser = Browser::open(WIDTHS[0], false);
    browser.store_downloads(&folder);
    browser.go(&format!("http://{}/browse/my_backup{}", site.address, path_of(&stage)));
    browser.click("a & b.bin");
    browser.click("Download");
    let file = folder.join("a & b.bin");
    wait_for("download", String::new, || file.exists());
    let read = |path| std::fs::read(path).expect("read");
    assert!(read(file) == read(stage.source.join("a & b.bin")));
    browser.go(&format!("http://{}/browse/my_backup{}", site.address, path_of(&stage)));
    browser.click("Download as .tar");
    wait_for("archive", String::new, || folder.join("source.tar").exists());
    stage.sh(&format!("tar xf {}/source.tar -C {0} && diff -r {0}/source .", folder.display()));
}

#[test]
fn a_run_in_progress_is_shown() {
    browser!();
    let tree = (0..300).fold(Tree::new(), |tree, at| tree.random_file(format!("{at}"), 20_000, at));
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let site = Site::of(&stage);
    let browser = Browser::open(WIDTHS[0], false);
    let mut running = slow_run(&stage).start();
    let mut text = String::new();
    let shown = || {
        browser.go(&format!("http://{}/", site.address));
        text = browser.text();
        text.contains("A run is in progress")
    };
    let seen = running.until(shown);
    assert!(seen, "the run ended before it was shown: {text}");
    assert!(browser.overhang() <= 0);
    running.wait().assert_code(0);
}

#[test]
fn a_snapshot_that_is_pruned_while_it_is_viewed_is_said_to_be_gone() {
    browser!();
    let (stage, [first, _]) = two();
    let site = Site::of(&stage);
    let browser = Browser::open(WIDTHS[0], false);
    let folder = format!("http://{}/browse/my_backup{}", site.address, path_of(&stage));
    browser.go(&format!("{folder}?at={first}"));
    stage.look("prune").args(&[&first, "--yes"]).expect(0);
    browser.click("gone.txt");
    browser.assert_reads("exists no longer");
    browser.click("Overview");
    browser.assert_reads("Everything is backed up.");
}
