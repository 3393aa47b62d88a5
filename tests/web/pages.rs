//! Each page: what people find on it.

use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::client::http::request;
use crate::client::site::{BIN, Site, name, path_of};

/// Two snapshots: `text` changed, `gone` was deleted, `new` is new.
fn two() -> (Stage, [String; 2]) {
    let tree = Tree::new()
        .file("text", "one\ntwo\nthree\n")
        .file("gone", "x")
        .file("folder/inside", "y")
        .symlink("link", "text");
    let stage = Stage::with(BIN, &tree);
    let first = stage.take();
    stage.sh("printf 'one\\n2\\nthree\\n' >text; rm gone; echo z >new");
    let second = stage.take();
    (stage, [first, second].map(|path| name(&path)))
}

#[test]
fn the_front_page_answers_whether_everything_is_backed_up() {
    let (stage, _) = two();
    let site = Site::of(&stage);
    let page = site.page("/");
    page.assert_has("Everything is backed up. The newest snapshot was taken just now.");
    page.assert_has("href=\"/job/my_backup\"").assert_has("<html lang=\"en\">");
    site.end().assert_code(0);
    let old = Site::start(&crate::client::site::web(&stage).env("MAX_AGE_H", "0.0000001"));
    old.page("/").assert_has("needs a look").assert_has("MAX_AGE_H");
}

#[test]
fn the_browser_chooses_the_language() {
    let (stage, _) = two();
    let site = Site::of(&stage);
    for (accepted, sentence) in [
        ("de-DE,de", "Alles ist gesichert"),
        ("fr", "Tout est sauvegardé"),
        ("es", "Todo está respaldado"),
        ("pt", "Everything is backed up"),
    ] {
        let page = site.get_with("/", &format!("Accept-Language: {accepted}\r\n"));
        page.assert_has(sentence);
    }
    let german = site.get_with("/", "Accept-Language: de\r\n");
    german.assert_has("auf diesem Rechner</bdi>").assert_lacks("lang=\"en\"");
}

#[test]
fn an_empty_folder_has_a_page_too() {
    let stage = Stage::new(BIN);
    let site = Site::of(&stage);
    site.page("/").assert_has("There are no snapshots in this folder yet.");
    assert_eq!(site.get("/job/my_backup").status, 404);
}

#[test]
fn the_time_line_has_each_snapshot() {
    let (stage, [first, second]) = two();
    let site = Site::of(&stage);
    let page = site.page("/job/my_backup");
    for name in [&first, &second] {
        page.assert_has(&format!("/browse/my_backup/?at={name}"));
    }
    page.assert_has(&format!("/compare/my_backup/?a={first}&amp;b={second}"));
    page.assert_has("Measure what each snapshot holds alone");
    // What is spoken begins with what is seen (WCAG, 2.5.3): a day of the calendar with its number.
    let text = page.text();
    let (_, calendar) = text.split_once("class=\"months\"").expect("a calendar");
    let days: Vec<&str> = calendar.split("<td><a href=").skip(1).collect();
    assert!(!days.is_empty());
    for day in days {
        let label = day.split("aria-label=\"").nth(1).unwrap_or_default();
        let seen = day.split(['>', '<']).nth(1).unwrap_or_default();
        assert!(label.starts_with(&format!("{seen}, ")), "{label}: {seen}");
    }
    site.page("/job/my_backup?sizes=1").assert_lacks("Measure what each snapshot holds alone");
    site.page("/job/my_backup").assert_lacks("Measure what each snapshot holds alone");
    stage.look("hold").args(&[&first, "--note", "tax"]).expect(0);
    site.page("/job/my_backup").assert_has(">held<").assert_has("title=\"tax\"");
}

#[test]
fn a_folder_marks_what_changed_and_shows_what_was_deleted() {
    let (stage, [first, second]) = two();
    let site = Site::of(&stage);
    let folder = format!("/browse/my_backup{}", path_of(&stage));
    let page = site.page(&folder);
    page.assert_has("<bdi>new</bdi></a></th>")
        .assert_has(">new</span>")
        .assert_has(">changed</span>");
    page.assert_lacks("<bdi>gone</bdi>").assert_has("4 entries");
    let text = page.text();
    let at = |name: &str| text.find(&format!("<bdi>{name}</bdi></a>")).expect("an entry");
    assert!(at("folder") < at("link") && at("link") < at("new"), "folders first");
    let deleted = site.page(&format!("{folder}?at={second}&deleted=1"));
    deleted.assert_has("<bdi>gone</bdi>").assert_has(&format!("gone?at={first}"));
    // The place stays when the snapshot changes, and how it is shown.
    page.assert_has(&format!("href=\"{folder}?at={first}\""));
    deleted.assert_has(&format!("href=\"{folder}?at={first}&amp;deleted=1\""));
    site.page(&format!("{folder}?at={first}"))
        .assert_has("<bdi>gone</bdi>")
        .assert_lacks(">changed</span>");
}

#[test]
fn what_was_deleted_long_ago_is_shown_too() {
    let (stage, [first, second]) = two();
    // Snapshots without the file, between the two.
    for hours in 1..=70 {
        let between = stage.history().path(&fixtures::history::hours_ago(hours), "");
        std::fs::create_dir_all(between.join(path_of(&stage).trim_start_matches('/')))
            .expect("a snapshot");
    }
    let oldest = stage.history().path(&fixtures::history::hours_ago(100), "");
    std::fs::rename(stage.backups.join(&first), &oldest).expect("renamed");
    let site = Site::of(&stage);
    let folder = format!("/browse/my_backup{}?at={second}&deleted=1", path_of(&stage));
    let page = site.page(&folder);
    page.assert_has("<bdi>gone</bdi>").assert_has(&format!("gone?at={}", name(&oldest)));
    page.assert_has("Deleted entries are shown if a snapshot from ");
}

#[test]
fn a_folder_is_sorted_and_paged() {
    let stage = Stage::new(BIN);
    stage.sh("seq 10002 | xargs touch; printf xxx >500");
    stage.take();
    let site = Site::of(&stage);
    let folder = format!("/browse/my_backup{}", path_of(&stage));
    let page = site.page(&folder);
    page.assert_has("Page 1 of 2").assert_has("10,002 entries").assert_has("<bdi>1</bdi>");
    page.assert_lacks("<bdi>9999</bdi></a></th>");
    site.page(&format!("{folder}?page=2"))
        .assert_has("Page 2 of 2")
        .assert_has("<bdi>9999</bdi></a></th>");
    let sorted = site.page(&format!("{folder}?sort=-size")).text();
    assert!(sorted.contains("aria-sort=\"descending\""), "{sorted}");
    let at = |name: &str| sorted.find(&format!("<bdi>{name}</bdi></a></th>")).expect("an entry");
    assert!(at("500") < at("9999"), "the largest is the first");
    // A search counts so many and no more, and an answer for programs is the whole one.
    site.page("/search?q=*").assert_has("More than 9,500 others are not shown.");
    let found = site.page("/api/find?pattern=*").text();
    assert_eq!(found.lines().filter(|line| line.contains("/source/")).count(), 10_002);
    for page in ["0", "99", "x", "-1"] {
        site.page(&format!("{folder}?page={page}"));
    }
}

#[test]
fn a_file_has_its_versions_and_their_differences() {
    let (stage, [first, second]) = two();
    let site = Site::of(&stage);
    let file = format!("/browse/my_backup{}/text", path_of(&stage));
    let page = site.page(&file);
    page.assert_has("one\n2\nthree").assert_has("Differences from version 1");
    let differences = site.page(&format!("{file}?at={second}&with={first}"));
    differences.assert_has("</span>two</del>").assert_has("</span>2</ins>");
    site.page(&format!("{file}?at={first}")).assert_has("one\ntwo\nthree");
    let link = site.page(&format!("/browse/my_backup{}/link", path_of(&stage)));
    link.assert_has("symbolic link").assert_lacks("/raw/my_backup");
}

#[test]
fn a_path_that_a_snapshot_lacks_leads_to_those_that_have_it() {
    let (stage, [first, second]) = two();
    let site = Site::of(&stage);
    let file = |name: &str| format!("/browse/my_backup{}/{name}", path_of(&stage));
    for (name, without, with) in [("gone", &second, &first), ("new", &first, &second)] {
        let page = site.get(&format!("{}?at={without}", file(name)));
        assert_eq!(page.status, 404);
        page.assert_has("This snapshot has nothing at this path.");
        page.assert_has(&format!("href=\"{}?at={with}\"", file(name)));
    }
    site.get(&file("none")).assert_lacks("Versions");
}

#[test]
fn two_versions_of_a_picture_are_side_by_side() {
    let png = |last: &str| [&b"\x89PNG\r\n\x1a\n"[..], last.as_bytes()].concat();
    let stage = Stage::with(BIN, &Tree::new().file("x.png", png("one")));
    let first = name(&stage.take());
    std::fs::write(stage.source.join("x.png"), png("another")).expect("written");
    let second = name(&stage.take());
    let site = Site::of(&stage);
    let picture = |at: &str| format!("/picture/my_backup{}/x.png?at={at}", path_of(&stage));
    let file = format!("/browse/my_backup{}/x.png?at={second}", path_of(&stage));
    for page in [site.page(&file), site.page(&format!("{file}&with={first}"))] {
        for at in [&first, &second] {
            page.assert_has(&format!("<img src=\"{}\"", picture(at)));
        }
    }
    assert_eq!(site.page(&picture(&first)).body, png("one"));
}

#[test]
fn a_long_difference_is_cut() {
    let stage = Stage::new(BIN);
    stage.sh("seq 20000 >text");
    let first = name(&stage.take());
    stage.sh("seq 20001 40000 >text");
    let second = name(&stage.take());
    let site = Site::of(&stage);
    let file = format!("/browse/my_backup{}/text", path_of(&stage));
    let page = site.page(&format!("{file}?at={second}&with={first}"));
    assert_eq!(page.text().matches("<tr class=\"removed\">").count(), 5000);
    page.assert_has("Only the beginning is shown.");
}

#[test]
fn two_snapshots_are_compared() {
    let (stage, [first, second]) = two();
    let site = Site::of(&stage);
    let page = site.page(&format!("/compare/my_backup/?a={first}&b={second}"));
    page.assert_has("/new</bdi>").assert_has("/gone</bdi>").assert_has("Sums per folder");
    page.assert_has(&format!("backup_manager diff {second} --backups-dir"));
    site.page(&format!("/compare/my_backup/?a={first}&b={first}"))
        .assert_has("There are no differences.");
    site.page("/compare/my_backup/").assert_lacks("Sums per folder");
}

#[test]
fn a_search_finds_names_in_all_snapshots() {
    let (stage, [first, _]) = two();
    let site = Site::of(&stage);
    let page = site.page("/search?q=gone");
    page.assert_has("In 1 of 2 snapshots").assert_has(&format!("/gone?at={first}"));
    site.page("/search?q=ins*").assert_has("In 2 of 2 snapshots");
    site.page("/search?q=INSIDE&i=1").assert_has("inside</bdi>");
    site.page("/search?q=nothing").assert_has("No snapshot has an entry");
    site.page("/search").assert_lacks("No snapshot has an entry");
}

#[test]
fn the_command_of_a_restore_works() {
    let (stage, [first, _]) = two();
    let site = Site::of(&stage);
    let page = site.page(&format!("/restore/my_backup{}/gone?at={first}", path_of(&stage)));
    let text = page.text();
    let command = text.split("<pre class=\"command\" tabindex=\"0\">").nth(1).expect("a command");
    let command = command
        .split("</pre>")
        .next()
        .expect("its end")
        .replace("backup_manager ", &format!("{BIN} "));
    stage.sh(&command);
    assert!(stage.source.join("restored").exists(), "{command}");
    assert_eq!(site.get(&format!("/restore/my_backup{}/none", path_of(&stage))).status, 404);
}

#[test]
fn programs_get_what_the_verbs_print() {
    let (stage, [first, second]) = two();
    let site = Site::of(&stage);
    let without = |text: String| {
        let mut lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        for line in &mut lines {
            line["age_seconds"] = serde_json::Value::Null;
        }
        lines
    };
    let source = stage.source.display().to_string();
    for (target, verb, words) in [
        ("/api/list".to_owned(), "list", vec!["--no-sizes"]),
        ("/api/list?sizes=1".to_owned(), "list", vec![]),
        ("/api/find?pattern=t*".to_owned(), "find", vec!["t*"]),
        (format!("/api/diff?a={first}&b={second}"), "diff", vec![&first, &second]),
        (format!("/api/history?path={source}/text"), "history", vec![]),
    ] {
        let answer = site.page(&target);
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        let mut run = stage.look(verb).args(&words).arg("--json");
        if verb == "history" {
            run = run.arg(format!("{source}/text"));
        }
        assert_eq!(without(answer.text()), without(run.expect(0).stdout), "{target}");
    }
    let status: serde_json::Value =
        serde_json::from_slice(&site.page("/api/status").body).expect("JSON");
    assert_eq!(status["jobs"][0]["newest"], second.as_str());
    for target in ["/api/run", "/api/find", "/api/diff?a=latest", "/api/list/x"] {
        assert_eq!(site.get(target).status, 404, "{target}");
    }
    let metrics = site.page("/metrics");
    metrics
        .assert_has("backup_manager_healthy{job=\"my_backup\"} 1\n")
        .assert_has("backup_manager_snapshots{job=\"my_backup\"} 2\n");
    assert_eq!(site.page("/healthz").body, b"ok\n");
}

#[test]
fn what_does_not_exist_is_not_found() {
    let (stage, [first, _]) = two();
    let site = Site::of(&stage);
    for target in [
        "/none",
        "/job/none",
        "/browse/none/",
        "/browse/my_backup/none",
        "/browse/my_backup/?at=my_backup.01-01-2000_00-00-00",
        "/browse/my_backup/?at=x",
        "/raw/my_backup/",
        &format!("/raw/my_backup{}?at={first}", path_of(&stage)),
        &format!("/picture/my_backup{}/text", path_of(&stage)),
        &format!("/tar/my_backup{}/text", path_of(&stage)),
    ] {
        let answer = site.get(target);
        assert_eq!(answer.status, 404, "{target}");
        answer.assert_has("<title>");
    }
    let head = site.send(&request("HEAD", "/", "", ""));
    assert_eq!((head.status, head.body.len()), (200, 0));
}
