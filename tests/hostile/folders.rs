//! Folders of ordinary users that root backs up, restores into and removes: nothing outside of them
//! is changed or read.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Run;
use fixtures::stage::{Stage, inside};
use fixtures::tree::Tree;
use rustix::fs::{CWD, RenameFlags, inotify, renameat_with};
use rustix::process::{Gid, Uid};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The untrusted user.
const USER: u32 = 1000;
/// Content that only root may read.
const SECRET: &str = "nobody but root may read this";
/// The folder in which attackers wait for new entries; in other folders they swap whatever they
/// find.
const RACED: &str = "raced";
/// The number of folders from which on the users create no more of them. `writable` finds a few more.
const MOST_FOLDERS: usize = 600;

/// The number of entries from which on the users wait.
const MOST_ENTRIES: usize = 10_000;

/// The number of entries with temporary names in a folder from which on the users remove some of them.
const MOST_MADE: usize = 20;

/// The first kind of entry that creates a folder.
const FOLDERS_FROM: usize = 7;

/// The number of concurrent attackers of each kind.
const ATTACKERS: u64 = 2;

/// Files outside of the user's folders.
fn outside(stage: &Stage) -> PathBuf {
    let top = stage.beside("outside");
    if !top.exists() {
        fs::create_dir(&top).expect("the test's own files");
        Tree::new()
            .file("secret", SECRET)
            .mode(0o600)
            .file("tool", "#!/bin/sh\n")
            .mode(0o755)
            .file("folder/secret", SECRET)
            .mode(0o644)
            .folder("folder")
            .mode(0o700)
            .folder("empty")
            .mode(0o700)
            .fifo("fifo")
            .mode(0o600)
            .build(&top);
    }
    top
}

/// A setup whose source belongs to the user.
fn users(tree: &Tree) -> Stage {
    let stage = Stage::with(BIN, tree);
    give(&stage.source);
    stage
}

/// Gives a tree to the user; modes stay.
fn give(path: &Path) {
    let stat = fs::symlink_metadata(path).expect("the test's own files");
    lchown(path, Some(USER), Some(USER)).expect("the test's own files");
    if stat.is_dir() {
        for entry in fs::read_dir(path).expect("the test's own files") {
            give(&entry.expect("the test's own files").path());
        }
    }
    if !stat.is_symlink() {
        fs::set_permissions(path, fs::Permissions::from_mode(stat.mode() & 0o7777))
            .expect("the test's own files");
    }
}

/// Replaces `path` with a symlink of the user.
fn replace_by_link(path: &Path, target: &Path) {
    if path.exists() {
        fs::rename(path, path.with_extension("moved")).expect("the test's own files");
    }
    symlink(target, path).expect("the test's own files");
    lchown(path, Some(USER), Some(USER)).expect("the test's own files");
}

#[test]
fn a_source_root_that_its_user_replaced_by_a_symlink_is_not_read() {
    need!(need::root());
    let stage = users(&Tree::new().file("documents/letter", "mine"));
    let (root, outside) = (stage.source.join("documents"), outside(&stage));
    let run = || stage.run().set("srcs-to-backup", &root);
    run().expect(0);
    let before = Fingerprint::of(&stage.history().newest());
    replace_by_link(&root, &outside);
    let done = run().expect(1);
    done.assert_says(&format!("{} is not followed", root.display()));
    done.assert_says("belongs to the user 1000").assert_says("chown -h");
    assert_untouched(&stage.history().newest(), &before);
    assert_eq!(stage.history().complete().len(), 1);
    // The same for a folder below it.
    let below = root.join("folder");
    stage.run().set("srcs-to-backup", &below).expect(1).assert_says("is not followed");
    // A symlink of root in the user's folder, which the user can rename.
    lchown(&root, Some(0), Some(0)).unwrap();
    run().expect(1).assert_says("source belongs to the user 1000");
}

#[test]
fn a_symlink_of_root_leads_to_a_source_root_as_ever() {
    need!(need::root());
    let stage = users(&Tree::new().file("documents/letter", "mine"));
    let link = stage.beside("link");
    symlink(&stage.source, &link).unwrap();
    stage.run().set("srcs-to-backup", link.join("documents")).expect(0);
    let copy = inside(&stage.history().newest(), &link.join("documents"));
    Judge::plain().assert_same(&stage.source.join("documents"), &copy);
}

#[test]
fn nothing_is_restored_through_a_symlink_of_a_user() {
    need!(need::root());
    let stage = users(&Tree::new().file("documents/letter", "mine"));
    let (root, outside) = (stage.source.join("documents"), outside(&stage));
    stage.run().set("srcs-to-backup", &root).expect(0);
    let before = Fingerprint::of(&outside);
    replace_by_link(&root, &outside);
    let restore = || stage.look("restore").arg(&root);
    restore().arg("--in-place").arg("--yes").expect(2).assert_says("is not followed");
    for to in [root.clone(), root.join("folder"), root.join("new/er")] {
        let done = restore().arg("--to").arg(&to).expect(1);
        done.assert_says("is not followed").assert_says("write the path of the folder itself");
    }
    let backups = stage.run().set("srcs-to-backup", &outside).set("backups-dir", root.join("new"));
    backups.expect(1).assert_says("is not followed");
    assert_untouched(&outside, &before);
    // A folder of the user without a symlink is restored into.
    let to = stage.source.join("back");
    restore().arg("--to").arg(&to).expect(0);
    assert_eq!(fs::read_to_string(to.join("documents/letter")).unwrap(), "mine");
}

#[test]
fn in_place_only_the_folder_that_was_backed_up_is_restored_to_unless_another_is_accepted() {
    let stage = Stage::with(BIN, &Tree::new().file("documents/letter", "mine"));
    let root = stage.source.join("documents");
    stage.run().set("srcs-to-backup", &root).expect(0);
    let restore = || stage.look("restore").arg("--in-place").arg("--yes");
    fs::remove_file(root.join("letter")).unwrap();
    restore().expect(0);
    assert!(root.join("letter").exists());
    fs::rename(&root, stage.source.join("moved")).unwrap();
    fs::create_dir(&root).unwrap();
    for paths in [vec![], vec![root.clone()], vec![root.join("letter")]] {
        let refused = paths.iter().fold(restore(), |run, path| run.arg(path)).expect(2);
        refused
            .assert_says("is not the folder that was backed up")
            .assert_says("--accept-replaced");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    }
    restore().arg("--accept-replaced").expect(0);
    assert_eq!(fs::read_to_string(root.join("letter")).unwrap(), "mine");
    // A missing folder is created.
    fs::remove_dir_all(&root).unwrap();
    restore().expect(0);
    assert_eq!(fs::read_to_string(root.join("letter")).unwrap(), "mine");
}

#[test]
fn without_proc_attributes_are_told_and_no_name_is_used_instead() {
    need!(need::root());
    need!(need::tool("unshare"));
    let stage = Stage::with(BIN, &Tree::new().file("one", "1").xattr("user.of", "one"));
    let hidden = "mount -t tmpfs none /proc && exec \"$@\"";
    let without = |run: Run| run.under(&["unshare", "-m", "sh", "-c", hidden, "sh"]);
    let run = without(stage.run().rsync(&["-X"])).expect(3);
    run.assert_says("1 missing");
    stage.run().rsync(&["-X"]).set("minimum-time-guard-h", "0").expect(0);
    let back = stage.beside("back");
    let restore = stage.look("restore").arg("latest").arg(&stage.source).set("to", &back);
    without(restore.clone()).expect(1).assert_says("/proc");
    restore.expect(0);
    Judge::plain().assert_same(&stage.source, &back.join("source"));
}

#[test]
fn a_file_of_another_owner_is_stored_anew_and_not_given_away() {
    need!(need::root());
    let tree =
        Tree::new().file("folder/own", "0123456789").file("folder/tool", "0123456789").mode(0o4755);
    let stage = users(&tree);
    chown(stage.source.join("folder/tool"), Some(0), Some(0)).unwrap();
    fs::set_permissions(stage.source.join("folder/tool"), PermissionsExt::from_mode(0o4755))
        .unwrap();
    stage.take();
    // A file of root replaces the user's; the user's file replaces root's setuid program. Size and
    // time match.
    let folder = stage.source.join("folder");
    let times = |name: &str| fs::metadata(folder.join(name)).unwrap().modified().unwrap();
    let put = |name: &str, content: &str, owner: u32, mode: u32| {
        let (path, time) = (folder.join(name), times(name));
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        fs::File::options().read(true).open(&path).unwrap()
    };
    let secret = put("own", "secret 890", 0, 0o600);
    let forged = put("tool", "forged 890", USER, 0o755);
    let restore = stage.look("restore").arg(&stage.source).arg("--in-place").arg("--yes");
    restore.arg("--overwrite").arg("changed").expect(0);
    for (old, name, owner, mode) in [(secret, "own", USER, 0o644), (forged, "tool", 0, 0o4755)] {
        let (old, now) = (old.metadata().unwrap(), fs::metadata(folder.join(name)).unwrap());
        assert_ne!(old.ino(), now.ino(), "{name}");
        assert_eq!((now.uid(), now.mode() & 0o7777), (owner, mode), "{name}");
        assert_ne!((old.uid(), old.mode() & 0o7777), (owner, mode), "{name}");
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), "0123456789");
    }
}

/// The content of the user's folder before the attack: each type of entry that root creates.
fn bait() -> Tree {
    let mut tree = Tree::new();
    for top in [RACED, "stormed"] {
        let inside = |what: &str| format!("{top}/{what}");
        tree = tree.file(inside("files/program"), "#!/bin/sh\n").mode(0o6755);
        tree = tree.folder(inside("folders/shared")).mode(0o2755);
        for number in 0..30 {
            let name = |what: &str| format!("{top}/{what} {number}");
            tree = tree
                .fifo(name("nodes/fifo"))
                .mode(0o6777)
                .socket(name("nodes/socket"))
                .mode(0o6777)
                .symlink(name("links/link"), "nowhere")
                .file(name("files/file"), name("content"))
                .xattr("user.of", "the user")
                .hard_link(name("links/other"), name("files/file"))
                .file(format!("{top}/folders/{number}/in"), "x")
                .folder(name("folders/closed"))
                .mode(0o700);
        }
    }
    tree
}

/// Changes this thread to the user.
fn become_user() {
    rustix::thread::set_thread_groups(&[]).expect("the test's own files");
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(USER));
    rustix::thread::set_thread_res_gid(group, group, group).expect("the test's own files");
    rustix::thread::set_thread_res_uid(user, user, user).expect("the test's own files");
}

/// Up to about `MOST_FOLDERS` folders below `top` that the user may write to, and the entries passed.
fn writable(top: &Path, depth: usize, found: &mut Vec<PathBuf>) -> usize {
    let Ok(stat) = fs::symlink_metadata(top) else { return 1 };
    if !stat.is_dir() || depth == 0 || found.len() > MOST_FOLDERS {
        return 1;
    }
    if stat.uid() == USER {
        found.push(top.to_owned());
    }
    let inside = fs::read_dir(top).into_iter().flatten().flatten();
    1 + inside.map(|entry| writable(&entry.path(), depth - 1, found)).sum::<usize>()
}

struct Attack<'a> {
    /// Where the user looks for folders to attack.
    tops: Vec<PathBuf>,
    /// Where the user prepares entries.
    pool: PathBuf,
    outside: PathBuf,
    over: &'a AtomicBool,
    exchanges: &'a AtomicU64,
}

impl Attack<'_> {
    /// Replaces each entry with a temporary name in `folders` by a symlink, as fast as possible.
    fn watch(&self, folders: &[PathBuf], number: u64) {
        become_user();
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let events = inotify::init(flags).expect("inotify");
        let watched: Vec<_> = folders
            .iter()
            .map(|folder| inotify::add_watch(&events, folder, inotify::WatchFlags::CREATE))
            .collect::<Result<_, _>>()
            .expect("a watch");
        let targets = ["tool", "secret", "empty", "folder"].map(|name| self.outside.join(name));
        let mut ready = 0;
        let own = |number_of: usize| self.pool.join(format!("watch {number} {number_of}"));
        let prepare = |number_of: usize| {
            let target = &targets[number_of % 8 / 2];
            symlink(target, own(number_of)).expect("the user's own folder");
        };
        (0..64).for_each(prepare);
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&events, &mut buffer);
        while !self.over.load(Ordering::Relaxed) {
            let Ok(event) = reader.next() else {
                thread::yield_now();
                continue;
            };
            let made = event.file_name().map(|name| name.to_bytes().to_owned()).unwrap_or_default();
            let folder = watched.iter().position(|watch| *watch == event.wd());
            let (Some(folder), true) = (folder, made.starts_with(b".backup_manager")) else {
                continue;
            };
            let target = folders[folder].join(std::ffi::OsStr::from_bytes(&made));
            if renameat_with(CWD, own(ready), CWD, &target, RenameFlags::EXCHANGE).is_ok() {
                self.exchanges.fetch_add(1, Ordering::Relaxed);
                ready += 1;
                prepare(ready + 63);
            }
        }
    }

    /// Swaps names until the end. `number` determines the sequence.
    fn go_on(&self, number: u64) {
        become_user();
        let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % below as u64).expect("less than a usize")
        };
        while !self.over.load(Ordering::Relaxed) {
            let mut folders = Vec::new();
            let entries: usize = self.tops.iter().map(|top| writable(top, 12, &mut folders)).sum();
            // Folders that the users cannot remove pile up inside each other until a restore removes them.
            if folders.is_empty() || entries > MOST_ENTRIES {
                thread::sleep(Duration::from_millis(if folders.is_empty() { 1 } else { 500 }));
                continue;
            }
            for _ in 0..40 {
                let folder = &folders[next(folders.len())];
                let mut names: Vec<OsString> = fs::read_dir(folder)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|it| it.file_name())
                    .collect();
                // New entries are the most valuable targets.
                let made: Vec<_> = names
                    .iter()
                    .filter(|it| it.as_bytes().starts_with(b".backup_manager"))
                    .cloned()
                    .collect();
                if !made.is_empty() {
                    // A restore leaves what the users put under its temporary names.
                    let new = made.len().saturating_sub(MOST_MADE);
                    for old in &made[..new] {
                        let _ = fs::remove_file(folder.join(old));
                    }
                    names = made[new..].to_vec();
                } else if names.len() > 3 {
                    let from = next(names.len() - 3);
                    names = names[from..from + 3].to_vec();
                }
                for name in names {
                    let own = self.pool.join(format!("{number}"));
                    // New folders make the trees grow, and runs over a large tree try few exchanges.
                    let kinds = if folders.len() < MOST_FOLDERS { 9 } else { FOLDERS_FROM };
                    let _ = self.prepare(&own, next(kinds));
                    let target = folder.join(&name);
                    let done = match next(4) {
                        0 => renameat_with(CWD, &own, CWD, &target, RenameFlags::empty()),
                        _ => renameat_with(CWD, &own, CWD, &target, RenameFlags::EXCHANGE),
                    };
                    if done.is_ok() {
                        self.exchanges.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    /// Creates an entry of the user at `own`; from `FOLDERS_FROM` on, `what` is a kind that creates folders.
    fn prepare(&self, own: &Path, what: usize) -> io::Result<()> {
        let _ = fs::remove_file(own).or_else(|_| fs::remove_dir_all(own));
        match what {
            0 => symlink(self.outside.join("tool"), own),
            1 => symlink(self.outside.join("secret"), own),
            2 => symlink(self.outside.join("folder"), own),
            3 => symlink(self.outside.join("fifo"), own),
            4 => symlink(self.outside.join("empty"), own),
            5 => fs::write(own, "the user's"),
            6 => Ok(rustix::fs::mknodat(CWD, own, rustix::fs::FileType::Fifo, 0o666.into(), 0)?),
            FOLDERS_FROM => fs::create_dir(own)
                .and_then(|()| symlink(self.outside.join("folder"), own.join("in"))),
            _ => fs::hard_link(self.outside.join("tool"), own).or_else(|_| fs::create_dir(own)),
        }
    }
}

/// Fails the test when a file below `top` contains the secret.
fn assert_holds_no_secret(top: &Path) {
    let Ok(stat) = fs::symlink_metadata(top) else { return };
    if stat.is_dir() {
        for entry in fs::read_dir(top).into_iter().flatten().flatten() {
            assert_holds_no_secret(&entry.path());
        }
    } else if stat.is_file() {
        let content = fs::read(top).unwrap_or_default();
        assert_ne!(content, SECRET.as_bytes(), "{} is a copy of root's file", top.display());
    }
}

/// The restores, and the runs, that are attacked at least.
const ROUNDS: u32 = 10;

/// How long the attack goes on at least: `HAMMER_SECONDS` for the hour of `make -C tests hammer`.
fn seconds() -> Option<u64> {
    std::env::var("HAMMER_SECONDS").ok().and_then(|text| text.parse().ok())
}

#[test]
fn hammered_by_their_user_runs_restores_and_removals_touch_and_read_nothing_outside() {
    need!(need::root());
    let stage = users(&bait());
    let (outside, pool) = (outside(&stage), stage.beside("pool"));
    fs::create_dir(&pool).unwrap();
    chown(&pool, Some(USER), Some(USER)).unwrap();
    stage.take();
    let before = Fingerprint::of(&outside);
    let open = stage.beside("open");
    let (over, exchanges) = (AtomicBool::new(false), AtomicU64::new(0));
    let attack = Attack {
        tops: vec![stage.source.join("stormed"), open.clone()],
        pool,
        outside: outside.clone(),
        over: &over,
        exchanges: &exchanges,
    };
    let raced =
        ["nodes", "links", "files", "folders"].map(|name| stage.source.join(RACED).join(name));
    let end = Instant::now() + Duration::from_secs(seconds().unwrap_or(0));
    let again = |run: &(dyn Fn() -> Run + Sync)| {
        let mut times = 0;
        while times < ROUNDS || Instant::now() < end {
            // The hour is hammered beside other work.
            let done = run().done();
            assert!(
                [0, 1, 3].contains(&done.code),
                "exit code {}; it said:\n{}",
                done.code,
                done.said()
            );
            assert_untouched(&outside, &before);
            times += 1;
        }
        times
    };
    let restore = || {
        let restore = stage.look("restore").arg(&stage.source).arg("--in-place").arg("--yes");
        restore.arg("--delete").arg("--overwrite").arg("always")
    };
    // Users can access these snapshots, even while one is removed.
    let run = || {
        stage.run().set("backups-dir", &open).set("backups-mode", "0755").set("max-backups", "1")
    };
    let (restores, runs) = thread::scope(|scope| {
        for number in 0..ATTACKERS {
            let attack = &attack;
            scope.spawn(move || attack.go_on(number + 1));
            let raced = &raced;
            scope.spawn(move || attack.watch(raced, number));
        }
        let runs = scope.spawn(|| again(&run));
        let restores = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| again(&restore)));
        let runs = runs.join();
        over.store(true, Ordering::Relaxed);
        (restores, runs)
    });
    let (restores, runs) = (restores.unwrap(), runs.unwrap());
    let exchanges = exchanges.into_inner();
    assert!(exchanges > 100, "{restores}, {runs}, {exchanges}");
    assert_holds_no_secret(&open);
    assert_holds_no_secret(&stage.source);
    // Directly to stderr, because the test harness captures the output.
    if seconds().is_some() {
        eprintln!(
            "{restores} restores and {runs} runs during {exchanges} exchanges: nothing outside was touched or read"
        );
    }
}
