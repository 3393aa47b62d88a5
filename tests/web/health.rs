//! The health of a job on the page: reasons in each language, and further copies.

use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::client::site::{BIN, Site, web};

/// The sentence at the front page in each language.
fn assert_says(site: &Site, sentences: [(&str, &str); 4]) {
    for (language, sentence) in sentences {
        for target in ["/", "/job/my_backup"] {
            let page = site.get_with(target, &format!("Accept-Language: {language}\r\n"));
            page.assert_has(sentence);
        }
    }
}

#[test]
fn a_snapshot_that_is_too_old_is_reported_in_each_language() {
    let stage = Stage::with(BIN, &Tree::new().file("text", "x"));
    stage.take();
    let aged = stage.history().path(&fixtures::history::hours_ago(100), "");
    std::fs::rename(stage.history().newest(), aged).expect("renamed");
    let site = Site::of(&stage);
    assert_says(
        &site,
        [
            ("en", "The newest snapshot is 4 days old. MAX_AGE_H allows 44 hours."),
            ("de", "Der neueste Snapshot ist von vor 4 Tagen. MAX_AGE_H erlaubt 44 Stunden."),
            ("fr", "Le dernier instantané date d’il y a 4 jours. MAX_AGE_H permet 44 heures."),
            ("es", "La última instantánea es de hace 4 días. MAX_AGE_H permite 44 horas."),
        ],
    );
}

#[test]
fn a_run_that_failed_is_reported_with_its_message_in_english() {
    let stage = Stage::with(BIN, &Tree::new().file("text", "x"));
    stage.take();
    let missing = stage.beside("none");
    stage.look("run").set("srcs-to-backup", &missing).arg("--accept-sources").expect(1);
    let failing = web(&stage).env("FAILURES_BEFORE_ALERT", "1");
    let site = Site::start(&failing);
    assert_says(
        &site,
        [
            ("en", "The last run failed. The message: <span lang=\"en\">"),
            ("de", "Der letzte Lauf ist fehlgeschlagen. Die Meldung: <span lang=\"en\">"),
            ("fr", "La dernière exécution a échoué. Le message : <span lang=\"en\">"),
            ("es", "La última ejecución falló. El mensaje: <span lang=\"en\">"),
        ],
    );
}

#[test]
fn damage_that_a_check_found_is_shown() {
    let stage = Stage::with(BIN, &Tree::new().file("text", "content"));
    let snapshot = stage.take();
    let site = Site::of(&stage);
    site.page("/").assert_has("never").assert_lacks("damaged");
    let stored = snapshot.join(stage.source.strip_prefix("/").expect("absolute")).join("text");
    stage.sh(&format!("printf X | dd of={} conv=notrunc status=none", stored.display()));
    stage.look("verify").expect(4);
    site.page("/").assert_has("1 damaged files");
    site.page("/job/my_backup").assert_has(">damaged</span>").assert_has("class=\"bad\"");
    site.page("/metrics").assert_has("backup_manager_damaged_snapshots{job=\"my_backup\"} 1");
}

#[test]
fn each_copy_is_shown_with_its_age_and_state() {
    let stage = Stage::with(BIN, &Tree::new().file("text", "x"));
    let (copy, lost) = (stage.beside("copy"), stage.beside("disk/copy"));
    let to = format!("{},{}", copy.display(), lost.display());
    std::fs::create_dir_all(&copy).expect("a folder");
    stage.run().set("copy-to", &to).expect(0);
    let planned = stage.beside("planned");
    let site = Site::start(
        &web(&stage)
            .env("SRCS_TO_BACKUP", &stage.source)
            .env("COPY_TO", format!("{to},{}", planned.display())),
    );
    for target in ["/", "/job/my_backup"] {
        let page = site.page(target);
        let of = |folder: &std::path::Path| format!("<bdi>{}</bdi></code>: ", folder.display());
        page.assert_has(&format!("{}just now", of(&copy))).assert_has(", complete");
        page.assert_has(&format!("{}no snapshot yet", of(&lost))).assert_has("its disk is missing");
        page.assert_has(&format!("{}no snapshot yet", of(&planned)));
        page.assert_lacks("too old");
    }
    drop(site);
    let old = web(&stage).env("SRCS_TO_BACKUP", &stage.source).env("COPY_TO", &lost);
    let site = Site::start(&old.env("COPY_MAX_AGE_H", "0.0000001"));
    site.page("/")
        .assert_has("too old")
        .assert_has(&format!("Copy in {}: there has been none for ", lost.display()));
}
