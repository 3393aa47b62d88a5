//! The recipes of docs/recipes.md that need more than a shell: an encrypted destination, a database that is being
//! written to, the battery of a laptop, and backups on a new disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::stage::{Stage, inside};
use fixtures::tree::Tree;
use rustix::fs::{FlockOperation, flock};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn sample() -> Tree {
    Tree::new()
        .file("kept", "a secret word")
        .hard_link("another name", "kept")
        .random_file("folder/large", 300_000, 1)
        .file("folder/empty", "")
        .symlink("link", "kept")
}

fn sh(folder: &Path, script: &str) -> String {
    let done = Command::new("sh").args(["-ec", script]).current_dir(folder).output();
    let done = done.expect("run sh");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "sh: {script}: {said}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// The command of `PRE_BACKUP` in docs/recipes.md that contains `word`, with the paths of a test.
fn recipe(word: &str, paths: &[(&str, &Path)]) -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/recipes.md");
    let page = fs::read_to_string(page).expect("the page");
    let line = page.lines().find(|line| line.starts_with("PRE_BACKUP") && line.contains(word));
    let line = line.expect("the recipe");
    let (_, value) = line.split_once('=').expect("a setting");
    let value = value.trim();
    let quoted = &value[1..value.len() - 1];
    let command =
        if value.starts_with('"') { quoted.replace("\\\"", "\"") } else { quoted.to_owned() };
    paths
        .iter()
        .fold(command, |command, (from, to)| command.replace(from, &to.display().to_string()))
}

/// A mounted gocryptfs, unmounted when the test ends.
struct Encrypted {
    mount_point: PathBuf,
}

impl Encrypted {
    fn mount(folder: &Path) -> Self {
        sh(folder, "mkdir encrypted plain; echo password >pass; chmod 600 pass");
        sh(folder, "gocryptfs -q -init -passfile pass encrypted");
        sh(folder, "gocryptfs -q -passfile pass encrypted plain");
        Self { mount_point: folder.join("plain") }
    }
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        let _ = Command::new("fusermount").arg("-u").arg(&self.mount_point).status();
    }
}

#[test]
fn an_encrypted_destination_holds_a_history() {
    need!(need::root());
    need!(need::tool("gocryptfs"));
    need!(need::tool("fusermount"));
    let stage = Stage::with(BIN, &sample());
    let folder = stage.beside("disk");
    fs::create_dir(&folder).expect("a folder");
    let encrypted = Encrypted::mount(&folder);
    let stage = stage.backups_in(&encrypted.mount_point.join("backups"));
    stage.take();
    stage.sh("echo new >new");
    stage.take();
    for name in ["kept", "another name", "folder/large"] {
        stage.assert_linked(name);
    }
    stage.assert_newest_is_source(Judge::plain());
    stage.look("verify").arg("--all").expect(0);
    stage.look("doctor").expect(0).assert_says("hard links    without a known limit");
    let back = stage.beside("back");
    stage.look("restore").arg("--to").arg(&back).expect(0);
    Judge::plain().assert_same(&stage.source, &inside(&back, &stage.source));
    let newest = stage.history().newest();
    drop(encrypted);
    assert!(!newest.exists(), "it is unmounted");
    let names = sh(&folder, "find encrypted");
    assert!(!names.contains("kept") && !names.contains("my_backup"), "{names}");
    let clear = Command::new("grep")
        .args(["-rq", "a secret word"])
        .arg(folder.join("encrypted"))
        .status()
        .expect("run grep");
    assert_eq!(clear.code(), Some(1), "no content in clear");
}

#[test]
fn a_database_of_sqlite_is_whole_while_a_program_writes_to_it() {
    need!(need::tool("sqlite3"));
    let stage = Stage::new(BIN);
    let app = stage.beside("app");
    fs::create_dir(&app).expect("a folder");
    sh(
        &app,
        "sqlite3 app.db 'PRAGMA journal_mode=WAL; CREATE TABLE one(n); CREATE TABLE other(n);'",
    );
    // Each transaction adds a row to both tables.
    let mut writer = Command::new("sqlite3")
        .args(["-cmd", ".timeout 60000", "app.db"])
        .current_dir(&app)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("start sqlite3");
    let mut input = writer.stdin.take().expect("a pipe");
    let writing = std::thread::spawn(move || {
        use std::io::Write;
        let row = "BEGIN; INSERT INTO one VALUES(randomblob(5000)); INSERT INTO other VALUES(1); COMMIT;\n";
        for _ in 0..20_000 {
            // The test ends sqlite3.
            if input.write_all(row.as_bytes()).is_err() {
                break;
            }
        }
    });
    let command = recipe("sqlite3", &[("/srv/dump", &stage.source), ("/srv/app", &app)]);
    for _ in 0..3 {
        stage.run().env("PRE_BACKUP", &command).expect(0);
    }
    let _ = writer.kill();
    let _ = (writer.wait(), writing.join());
    for snapshot in stage.history().complete() {
        let dump = stage.inside(&snapshot).join("app.db");
        let script = format!(
            "cp '{}' copy.db; sqlite3 copy.db 'PRAGMA integrity_check; SELECT (SELECT count(*) FROM one) = (SELECT count(*) FROM other);'",
            dump.display()
        );
        assert_eq!(sh(&app, &script), "ok\n1\n", "{}", dump.display());
    }
    // A dump that fails keeps the one before, and fails the run.
    let before = fs::read(stage.source.join("app.db")).expect("a dump");
    fs::rename(app.join("app.db"), app.join("moved")).expect("renamed");
    fs::create_dir(app.join("app.db")).expect("no database");
    stage.run().env("PRE_BACKUP", &command).expect(1).assert_says("PRE_BACKUP failed");
    assert!(fs::read(stage.source.join("app.db")).expect("a dump") == before);
}

#[test]
fn on_battery_a_run_is_postponed() {
    let stage = Stage::with(BIN, &sample());
    let power = stage.beside("power");
    fs::create_dir_all(power.join("ADP1")).expect("folders");
    let command = recipe("battery", &[("/sys/class/power_supply", &power)]);
    let online = power.join("ADP1/online");
    fs::write(&online, "0\n").expect("written");
    stage.run().env("PRE_BACKUP", &command).expect(0).assert_says("on battery");
    assert_eq!(stage.history().complete().len(), 0);
    fs::write(&online, "1\n").expect("written");
    stage.run().env("PRE_BACKUP", &command).expect(0);
    assert_eq!(stage.history().complete().len(), 1);
    fs::remove_dir_all(power.join("ADP1")).expect("removed");
    stage.run().env("PRE_BACKUP", &command).expect(0);
    assert_eq!(stage.history().complete().len(), 2, "a machine without a battery");
}

#[test]
fn the_next_run_links_to_backups_on_a_new_disk() {
    need!(need::root());
    for copy in ["rsync -aHAXS --numeric-ids backups/ new/", "mkdir new; cp -a backups/. new/"] {
        let stage = Stage::with(BIN, &sample());
        stage.take();
        stage.sh("echo second >second");
        stage.take();
        stage.look("hold").arg("oldest").expect(0);
        let lock = fs::File::open(stage.backups.join(".backup_manager/locks/my_backup.lock"));
        let lock = lock.expect("the lock");
        flock(&lock, FlockOperation::LockExclusive).expect("locked");
        stage.run().expect(0).assert_says("another run of this job is at work");
        // rsync compares the times of folders in whole seconds, and so leaves those of this second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        sh(stage.beside("").as_path(), copy);
        drop(lock);
        let used = |name: &str| {
            let said = sh(&stage.beside(""), &format!("du -s {name}"));
            said.split_whitespace().next().and_then(|blocks| blocks.parse::<u64>().ok())
        };
        let (before, after) = (used("backups").expect("du"), used("new").expect("du"));
        assert!(after <= before + 100, "{copy}: {before} and {after} KiB");
        let new = stage.beside("new");
        let stage = stage.backups_in(&new);
        stage.look("verify").arg("--all").expect(0);
        stage.look("list").expect(0).assert_says("held");
        stage.sh("echo third >third");
        stage.take();
        for name in ["kept", "second", "folder/large"] {
            stage.assert_linked(name);
        }
        assert_eq!(stage.counts()["copied"], 1, "{copy}: {}", stage.counts());
        stage.assert_newest_is_source(Judge::plain());
        stage.look("verify").arg("--all").expect(0);
    }
}
