//! What users of a shell, of compose files and of other programs write by mistake: it is explained, and it changes
//! nothing.

use std::fs;

use fixtures::fingerprint::Fingerprint;
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn sample() -> Stage {
    let stage = Stage::with(BIN, &Tree::new().file("one/a", "1").file("two/b", "2"));
    stage.take();
    stage
}

#[test]
fn an_option_of_another_program_is_explained() {
    let stage = sample();
    for (words, expected) in [
        (&["run", "--exclude", "*.tmp"][..], "backup_manager run ... -- '--exclude=*.tmp'"),
        (&["run", "--exclude=/x"], "backup_manager run ... -- --exclude=/x"),
        (&["run", "--force"], "hint: write --now"),
        (&["restore", "latest", "--target", "/x"], "hint: write --to DIR"),
        (&["list", "--repo", "/x"], "hint: write --backups-dir DIR"),
        (&["backup"], "hint: run takes a snapshot"),
        (&["snapshots"], "hint: list shows the snapshots"),
        (&["forget", "--keep-daily", "7"], "hint: prune removes snapshots"),
        (&["--backups-dir", "/x"], "hint: the command comes first: backup_manager run"),
        (&["run", "--target", "/x"], "hint: write --backups-dir DIR"),
        (&["restore", "/home/me/f"], "hint: --to DIR restores into a folder, --in-place"),
        (&["diff"], "hint: name snapshots: diff latest~1 latest compares two"),
        (&["hold"], "hint: name snapshots"),
        (&["doctor", "--fix"], "unexpected argument '--fix'"),
    ] {
        let run = words.iter().fold(Run::new(BIN), |run, word| run.arg(word));
        let done = run.in_folder(&stage.source).expect(2);
        done.assert_says(expected);
        // The parser's own tips would contradict it.
        let said = done.said();
        assert!(!said.contains("as a value") && !said.contains("similar argument"), "{said}");
    }
    // What the hint says works.
    stage.run().rsync(&["--exclude=b"]).expect(0);
    assert!(!stage.inside(&stage.history().newest()).join("two/b").exists());
}

#[test]
fn words_of_other_programs_for_snapshots_and_paths_are_explained() {
    let stage = sample();
    let of = |words: &[&str]| {
        let run = words[1..].iter().fold(stage.look(words[0]), |run, word| run.arg(word));
        run.expect(2)
    };
    let to = stage.beside("back").display().to_string();
    of(&["verify", "all"]).assert_says("verify --all checks all of them");
    let newest = of(&["restore", "newest", "--to", &to]);
    newest.assert_says("'newest' is not a snapshot; did you mean latest?");
    let age = of(&["restore", "12", "days", "ago", "/home", "--to", &to]);
    age.assert_says("'12 days ago' means a snapshot").assert_says("in quotes");
    let missing = stage.source.join("one/no such");
    let missing = of(&["restore", "latest", &missing.display().to_string(), "--to", &to]);
    missing.assert_says(&format!("has no '{}/one/no such'", stage.source.display()));
    let port = of(&["restore", "latest", "--to", "me@nas:2222:/back"]);
    let tilde = of(&["restore", "latest", "--to", "~/back"]);
    tilde.assert_says("--to ~/back: only a shell knows '~'; write the full path (or ./~/back");
    of(&["restore", "latest", "--to", "-"]).assert_says("a restore writes into a folder");
    port.assert_says("write --to me@nas:/back --ssh-port 2222, or me@nas:./2222:/back");
    assert!(!stage.beside("back").exists(), "nothing is made");
}

#[test]
fn separators_between_paths_of_another_machine_are_explained_before_it_is_asked() {
    let stage = Stage::with(BIN, &Tree::new());
    let before = Fingerprint::of(&stage.beside("."));
    let remote = |sources: &str| {
        let run = stage.run().set("srcs-to-backup", sources);
        // No host has this name (RFC 6761), so a connection would fail.
        run.set("remote-src-host", "me@nas.invalid").set("answer-timeout-s", "5")
    };
    for (sources, expected) in [
        ("/a;/b", "/a;/b: paths are separated by commas, not by ';'; write /a,/b"),
        ("/a /b", "not by spaces; write /a,/b"),
        ("/a, /b; /c", "not by ';'; write /b,/c"),
        ("/a\n/b", "not by line feeds; write /a,/b"),
        ("\"/a\"", "without quotes"),
    ] {
        remote(sources).expect(2).assert_says("srcs-to-backup").assert_says(expected);
    }
    let now = Fingerprint::of(&stage.beside(".")).changes_since(&before);
    assert!(now.is_empty(), "{now:?}");
    // A folder with such a name, and how the message says to write it.
    for sources in ["/a;b", "/my files", "/it's", "/a;//b"] {
        let done = remote(sources).arg("--dry-run").done();
        assert!(!done.said().contains("separated by commas"), "{}", done.said());
        done.assert_code(1);
    }
}

#[test]
fn quotes_separators_and_a_tilde_are_mistakes_that_change_nothing() {
    let stage = sample();
    let (one, two) = (stage.source.join("one"), stage.source.join("two"));
    let (one, two) = (one.display(), two.display());
    let backups = stage.backups.display();
    let before = Fingerprint::of(&stage.beside("."));
    for (name, value, expected) in [
        ("SRCS_TO_BACKUP", format!("\"{one}\""), "write it without quotes"),
        ("SRCS_TO_BACKUP", format!("\"{one},{two}\""), "write it without quotes"),
        ("SRCS_TO_BACKUP", format!("{one};{two}"), "separated by commas, not by ';'; write "),
        ("SRCS_TO_BACKUP", format!("{one} {two}"), "separated by commas, not by spaces; write "),
        ("SRCS_TO_BACKUP", format!("{one}:{two}"), "separated by commas, not by ':'; write "),
        ("SRCS_TO_BACKUP", "~/documents".to_owned(), "only a shell knows '~'"),
        ("BACKUPS_DIR", format!("\"{backups}\""), "write it without quotes"),
        ("BACKUPS_DIR", format!("{backups}/a;{backups}/b"), "it is one folder"),
        ("BACKUPS_DIR", format!("{backups}/a,{backups}/b"), "it is one folder"),
        ("BACKUPS_DIR", format!(" {backups}"), "has a space at its begin or end"),
        ("BACKUPS_DIR", "~/backups".to_owned(), "only a shell knows '~'"),
        ("BACKUP_NAME_PREFIX", "\"nas\"".to_owned(), "write \"nas\" without quotes"),
        ("MAX_BACKUPS", "'3'".to_owned(), "write '3' without quotes"),
        ("REMOTE_SRC_HOST", "\"me@nas\"".to_owned(), "without quotes"),
        ("LOG_FILE", "~/log".to_owned(), "only a shell knows '~'"),
        ("LOG_FILE", "\"/var/log/b\"".to_owned(), "write \"/var/log/b\" without quotes"),
        ("CONFIG_FILE", "'/etc/b.toml'".to_owned(), "'/etc/b.toml': write it without quotes"),
        ("CONFIG_DIR", "\"/config\"".to_owned(), "\"/config\": write it without quotes"),
        ("MAX_BACKUPS_FILE", "\"/run/n\"".to_owned(), "\"/run/n\": write it without quotes"),
        ("SMTP_PASSWORD_FILE", "'/run/n'".to_owned(), "'/run/n': write it without quotes"),
    ] {
        let run = stage.bare_run().in_folder(&stage.source);
        let run = run.env("SRCS_TO_BACKUP", &stage.source).env("BACKUPS_DIR", &stage.backups);
        let done = run.env(name, &value).expect(2);
        done.assert_says(name).assert_says(expected);
        if name == "BACKUPS_DIR" {
            stage.look("list").set("backups-dir", &value).expect(2).assert_says(expected);
        }
    }
    // The mistakes of a job that ran before count as failures in its status.
    let mut changes = Fingerprint::of(&stage.beside(".")).changes_since(&before);
    changes.retain(|change| !change.contains("backups/.backup_manager/status"));
    assert!(changes.is_empty(), "{changes:#?}");
}

#[test]
fn an_entry_that_really_has_such_a_name_is_backed_up() {
    let names = ["\"quoted\"", "a;b", "x,/y", "sp ace ", "~", "a: b"];
    let tree = names.iter().fold(Tree::new(), |tree, name| tree.file(format!("{name}/f"), "1"));
    let stage = Stage::with(BIN, &tree);
    for name in names {
        let list = name.replace(',', "\\,").replace('~', "./~");
        // White space at the end of an item is trimmed, so such a folder is named with a slash.
        let list = if list.ends_with(' ') { format!("{list}/.") } else { list };
        let run = stage.run().in_folder(&stage.source).set("srcs-to-backup", list);
        let prefix = format!("p{}", names.iter().position(|known| *known == name).unwrap_or(0));
        let dir = stage.beside(&format!("backups {name}").replace('/', "_"));
        fs::create_dir_all(&dir).expect("made");
        run.set("backups-dir", &dir).set("backup-name-prefix", &prefix).expect(0);
        let listed = stage.look("list").set("backups-dir", &dir).expect(0);
        listed.assert_says(&format!("{prefix}."));
    }
}

#[test]
fn holding_one_unknown_name_holds_nothing() {
    let stage = sample();
    let held = || stage.look("list").arg("--json").expect(0).objects().remove(0)["held"].clone();
    let done = stage.look("hold").arg("latest").arg("nope").expect(2);
    done.assert_says("nope").assert_says("nothing was changed");
    assert!(held().is_null());
    stage.look("hold").arg("latest").arg("oldest").expect(0);
    assert!(held().is_object());
    stage.look("release").arg("latest").arg("nope").expect(2);
    assert!(held().is_object());
}

#[test]
fn where_environment_and_file_differ_the_log_names_the_one_in_force() {
    let stage = sample();
    let file = stage.beside("config.toml");
    fs::write(&file, "MAX_BACKUPS = 7\nMINIMUM_TIME_GUARD_H = 0\nLOG_FORMAT = \"text\"\n")
        .expect("written");
    let run = |file: &std::path::Path| {
        stage.bare_run().set("config", file).set("backups-dir", &stage.backups)
    };
    let set = run(&file).env("SRCS_TO_BACKUP", &stage.source);
    let done = set.clone().env("MAX_BACKUPS", "5").env("MINIMUM_TIME_GUARD_H", "0").expect(0);
    let at = file.display();
    done.assert_says(&format!(
        "MAX_BACKUPS is given twice: environment: MAX_BACKUPS is in force, {at}, line 1: MAX_BACKUPS is not"
    ));
    assert_eq!(done.lines_with("is given twice"), 1, "equal values are no disagreement");
    let flag = set.env("MAX_BACKUPS", "5").set("max-backups", "6").expect(0);
    assert_eq!(flag.lines_with("is given twice"), 0);
    let text = format!(
        "[[job]]\nBACKUP_NAME_PREFIX = \"my_backup\"\nSRCS_TO_BACKUP = \"{}\"\nMAX_BACKUPS = 7\n",
        stage.source.display()
    );
    fs::write(&file, text).expect("written");
    let done = run(&file).env("MAX_BACKUPS", "5").arg("--now").expect(0);
    done.assert_says(&format!(
        "{at}, line 4: MAX_BACKUPS is in force, environment: MAX_BACKUPS is not"
    ));
}
