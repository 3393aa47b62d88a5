//! A snapshot compared with the source as it is now.

use std::fs;

use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::client::site::{BIN, Site, name, path_of, web};

/// A snapshot, and a source that has changed since.
fn changed() -> (Stage, String) {
    let tree = Tree::new().file("text", "one\n").file("gone", "x").file("old/name", "y");
    let stage = Stage::with(BIN, &tree);
    let snapshot = name(&stage.take());
    stage.sh("echo more >>text; rm gone; mkdir late; echo z >late/file; echo z >lately");
    (stage, snapshot)
}

/// The page with settings for the source, in addition to the folder.
fn configured(stage: &Stage) -> Run {
    web(stage).env("SRCS_TO_BACKUP", &stage.source)
}

#[test]
fn a_snapshot_is_compared_with_the_source_as_it_is_now() {
    let (stage, snapshot) = changed();
    for run in [web(&stage), configured(&stage)] {
        let site = Site::start(&run);
        let chosen = format!("a={snapshot}&b=now");
        let page = site.page(&format!("/compare/my_backup/?{chosen}"));
        for path in ["/text</bdi>", "/gone</bdi>", "/late/file</bdi>", "/lately</bdi>"] {
            page.assert_has(path);
        }
        page.assert_lacks("/old/name").assert_lacks("class=\"complaint\"");
        page.assert_has("<option value=\"now\" selected>").assert_has("backup_manager diff");
        // What only the source has is on no page.
        page.assert_lacks("/late/file?at=").assert_has(&format!("/gone?at={snapshot}"));
        let folder = format!("{}/late", path_of(&stage));
        let above = site.page(&format!("/compare/my_backup{}?{chosen}", path_of(&stage)));
        above.assert_has(&format!("/compare/my_backup{folder}?a={snapshot}&amp;b=now"));
        let below = site.page(&format!("/compare/my_backup{folder}?{chosen}"));
        below.assert_has("/late/file</bdi>").assert_lacks("lately").assert_lacks("/gone</bdi>");
        // Nothing is compared before somebody asks for it.
        site.page("/compare/my_backup/").assert_lacks("/gone</bdi>");
    }
}

#[test]
fn an_unchanged_source_has_no_differences() {
    let stage = Stage::with(BIN, &Tree::new().file("text", "one\n"));
    let snapshot = name(&stage.take());
    let site = Site::of(&stage);
    site.page(&format!("/compare/my_backup/?a={snapshot}&b=now"))
        .assert_has("There are no differences.");
}

#[test]
fn a_source_out_of_reach_is_reported_with_the_command() {
    let (stage, snapshot) = changed();
    let target = format!("/compare/my_backup/?a={snapshot}&b=now");
    let remote = Site::start(&configured(&stage).env("REMOTE_SRC_HOST", "ann@nas.invalid"));
    remote
        .page(&target)
        .assert_has("The source is on ann@nas.invalid.")
        .assert_has(&format!("backup_manager diff {snapshot}"));
    let site = Site::of(&stage);
    fs::rename(&stage.source, stage.beside("elsewhere")).expect("renamed");
    site.page(&target)
        .assert_has("The source cannot be read here:")
        .assert_has(&format!("backup_manager diff {snapshot}"));
    for report in fs::read_dir(stage.backups.join(".backup_manager/reports")).expect("reports") {
        fs::remove_file(report.expect("a report").path()).expect("removed");
    }
    Site::of(&stage).page(&target).assert_has("It is not known where the source is");
}
