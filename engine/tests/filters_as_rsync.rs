//! The filters decide like the real rsync: random trees, random rules, and rsync as the reference.
//!
//! `FILTER_SEED=…` sets another seed, `FILTER_CASES=…` another number of trees (`make -C tests filters`).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use engine::filter::Outside;
use engine::filter::{Scope, Text, Texts};
use engine::{FilterOption, Filters};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// An option in the forms of rsync and of the engine.
#[derive(Debug, Clone)]
enum Given {
    Exclude(String),
    Include(String),
    Rule(String),
    ExcludeFrom(String),
    IncludeFrom(String),
    RuleFiles,
    Cvs,
    Nul,
}

/// Files with their content, and folders, whose path ends in a slash.
type Tree = Vec<(String, String)>;

const NAMES: [&str; 14] =
    ["a", "b", "ab", "ba", "a.b", "c", "*", "[a]", "a\\b", "-", "a b", "é", "a.o", "core"];

const PIECES: [&str; 30] = [
    "a",
    "b",
    "a",
    "b",
    "c",
    "*",
    "*",
    "**",
    "?",
    "[ab]",
    "[!a]",
    "[^b]",
    "[a-b]",
    "[[:alpha:]]",
    "[]a]",
    "[",
    "]",
    "\\*",
    "\\a",
    "\\",
    "/",
    "/",
    "/",
    ".",
    "-",
    " ",
    "[[:x",
    "[a-",
    "é",
    "[\\a-c]",
];

fn pattern() -> impl Strategy<Value = String> {
    let middle =
        prop::collection::vec(select(&PIECES[..]), 1..5).prop_map(|pieces| pieces.concat());
    let simple = prop::collection::vec(select(&NAMES[..]), 1..3).prop_map(|names| names.join("/"));
    let middle = prop_oneof![3 => middle, 2 => simple, 1 => Just("*".to_owned())];
    let start = prop_oneof![6 => Just(""), 3 => Just("/"), 1 => Just("**/")];
    let end = prop_oneof![7 => Just(""), 2 => Just("/"), 1 => Just("/***"), 1 => Just("***"), 1 => Just("/**")];
    (start, middle, end).prop_map(|(start, middle, end)| format!("{start}{middle}{end}"))
}

fn rule() -> impl Strategy<Value = String> {
    let prefix = select(
        &[
            "- ",
            "- ",
            "- ",
            "- ",
            "+ ",
            "+ ",
            "+ ",
            "-_",
            "exclude ",
            "include ",
            "include,! ",
            "-! ",
            "-p ",
            "-s ",
            "-r ",
            "+s ",
            "+r ",
            "H ",
            "S ",
            "P ",
            "R ",
            "hide ",
            "show_",
            "-/ ",
            "+/ ",
            "-x ",
            "-,! ",
            "protect ",
            "risk,p ",
        ][..],
    );
    let with_pattern =
        (prefix, pattern()).prop_map(|(prefix, pattern)| format!("{prefix}{pattern}"));
    let other = select(
        &[
            ": .f",
            "dir-merge .f",
            ":n .f",
            ":e .f",
            ":- .f",
            ":+ .f",
            ":C .f",
            ":w .f",
            ":s .f",
            ":/ .f",
            ":n- .g",
            ": .g",
            "dir-merge,ne- .g",
            ": /.f",
            "!",
            "clear",
            "-C",
            ":C",
            ":r .g",
            ":wn+ .g",
        ][..],
    );
    let wrong =
        select(&["-", "x", "- ", "-b", ":", "!x", "-z a", "Hs a", ":! .f", "clear a", ". "][..]);
    prop_oneof![40 => with_pattern, 8 => other.prop_map(ToOwned::to_owned), 1 => wrong.prop_map(ToOwned::to_owned)]
}

/// Rules that merge the file `g`.
const MERGES: [&str; 3] = [". g", ".- g", "merge,+ g"];

fn rule_file() -> impl Strategy<Value = String> {
    let comment = select(&["# a", "; b", "", " ", "#", "!"][..]).prop_map(ToOwned::to_owned);
    let beside = select(&MERGES[..]).prop_map(ToOwned::to_owned);
    let line = prop_oneof![9 => rule(), 3 => pattern(), 1 => comment, 1 => beside];
    let end = select(&["\n", "\n", "\r\n", "\r"][..]);
    (prop::collection::vec(line, 0..4), end, any::<bool>())
        .prop_map(|(lines, end, ended)| lines.join(end) + if ended { end } else { "" })
}

/// A rule file without errors, like most.
fn good_rule_file() -> impl Strategy<Value = String> {
    let prefix = select(&["- ", "+ ", "- /", "-! ", "+ /", "-/ ", "-s ", "H "][..]);
    let line = (prefix, pattern()).prop_map(|(prefix, pattern)| format!("{prefix}{pattern}"));
    let other = select(&["!", ": .g", ":n .g", "# x", "-C", "dir-merge,- .g"][..]);
    let line = prop_oneof![5 => line, 1 => other.prop_map(ToOwned::to_owned)];
    prop::collection::vec(line, 0..4).prop_map(|lines| lines.join("\n"))
}

fn option() -> impl Strategy<Value = Given> {
    prop_oneof![
        6 => pattern().prop_map(Given::Exclude),
        4 => pattern().prop_map(Given::Include),
        1 => rule().prop_map(Given::Exclude),
        12 => rule().prop_map(Given::Rule),
        1 => rule_file().prop_map(Given::ExcludeFrom),
        1 => rule_file().prop_map(Given::IncludeFrom),
        1 => Just(Given::RuleFiles),
        1 => Just(Given::Cvs),
        1 => Just(Given::Nul),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let path = prop::collection::vec(select(&NAMES[..]), 1..5).prop_map(|names| names.join("/"));
    let plain = (path.clone(), any::<bool>())
        .prop_map(|(path, folder)| (if folder { path + "/" } else { path }, String::new()));
    let file_name = select(&[".f", ".f", ".g", ".rsync-filter", ".cvsignore", "g"][..]);
    // If the name of a folder contains wildcards, rsync treats it as a pattern in the folder's rule
    // file.
    let plain_names = ["a", "b", "ab", "ba", "a.b", "c", "-", "a b", "core"];
    let path = prop::collection::vec(select(plain_names.to_vec()), 1..4);
    let path = path.prop_map(|names| names.join("/"));
    let folder = prop_oneof![1 => Just(String::new()), 3 => path.prop_map(|path| path + "/")];
    let text = prop_oneof![1 => rule_file(), 12 => good_rule_file()];
    let rules = (folder, file_name, text).prop_map(|(folder, name, text)| (folder + name, text));
    prop::collection::vec(prop_oneof![6 => plain, 1 => rules], 1..30)
}

/// Creates the tree; a path below a file is skipped.
fn make(root: &Path, tree: &Tree) {
    for (path, content) in tree {
        let full = root.join(path);
        if path.ends_with('/') {
            let _ = fs::create_dir_all(&full);
        } else if !full.exists()
            && full.parent().is_some_and(|parent| fs::create_dir_all(parent).is_ok())
        {
            let _ = fs::write(&full, content);
        }
    }
}

/// What rsync would transfer from the tree at `root`; `None` if it rejects the rules.
fn of_rsync(root: &Path, files: &Path, options: &[Given]) -> Option<BTreeSet<Vec<u8>>> {
    let mut rsync = Command::new("rsync");
    rsync
        .args(["-an8", "--out-format=%n"])
        .env("LC_ALL", "C")
        .env("HOME", files)
        .env_remove("CVSIGNORE");
    for (number, option) in options.iter().enumerate() {
        let (option, text) = match option {
            Given::Exclude(pattern) => ("--exclude=", pattern.clone()),
            Given::Include(pattern) => ("--include=", pattern.clone()),
            Given::Rule(rule) => ("--filter=", rule.clone()),
            Given::ExcludeFrom(_) => ("--exclude-from=", list(files, number).display().to_string()),
            Given::IncludeFrom(_) => ("--include-from=", list(files, number).display().to_string()),
            Given::RuleFiles => ("-F", String::new()),
            Given::Cvs => ("-C", String::new()),
            Given::Nul => ("-0", String::new()),
        };
        if let Given::ExcludeFrom(content) | Given::IncludeFrom(content) = &options[number] {
            fs::write(list(files, number), content).expect("write a list");
        }
        rsync.arg(option.to_owned() + &text);
    }
    let output = rsync.arg(root.join("")).arg(files.join("nowhere/")).output().expect("run rsync");
    if !output.status.success() {
        return None;
    }
    let lines =
        output.stdout.split(|byte| *byte == b'\n').filter(|line| !matches!(*line, b"" | b"./"));
    let lines = lines.filter(|line| !line.starts_with(b"created directory "));
    Some(lines.map(ToOwned::to_owned).collect())
}

fn list(files: &Path, number: usize) -> PathBuf {
    files.join(format!("list{number}"))
}

/// What the engine would back up; `None` if it rejects a rule.
fn of_ours(root: &Path, files: &Path, options: &[Given]) -> Option<BTreeSet<Vec<u8>>> {
    let bytes = |text: &String| text.as_bytes().to_vec();
    let options = options.iter().enumerate().map(|(number, option)| match option {
        Given::Exclude(pattern) => FilterOption::Exclude(bytes(pattern)),
        Given::Include(pattern) => FilterOption::Include(bytes(pattern)),
        Given::Rule(rule) => FilterOption::Rule(bytes(rule)),
        Given::ExcludeFrom(_) => FilterOption::ExcludeFrom(list(files, number)),
        Given::IncludeFrom(_) => FilterOption::IncludeFrom(list(files, number)),
        Given::RuleFiles => FilterOption::RuleFiles,
        Given::Cvs => FilterOption::Cvs,
        Given::Nul => FilterOption::Nul,
    });
    let options: Vec<_> = options.map(|option| (option, "an option".to_owned())).collect();
    let outside = Outside { read: &|path| fs::read(path), cvs_home: &|| None, cvs_variable: None };
    let filters = Arc::new(Filters::read(&options, &outside).ok()?);
    let mut found = BTreeSet::new();
    walk(&filters.scope(), root, b"", &mut found).then_some(found)
}

/// Whether all rule files are valid.
fn walk(outer: &Arc<Scope>, folder: &Path, inside: &[u8], found: &mut BTreeSet<Vec<u8>>) -> bool {
    let mut texts = Texts::new();
    let mut names = outer.rule_files();
    let scope = loop {
        for name in names {
            let text = match fs::read(folder.join(OsStr::from_bytes(&name))) {
                Ok(text) => Text::Read(text),
                Err(_) => Text::Absent,
            };
            texts.insert(name, text);
        }
        let entered = outer.enter(inside.to_vec(), folder.as_os_str().as_bytes().to_vec(), &texts);
        if !entered.wanted.is_empty() {
            names = entered.wanted;
            continue;
        }
        if !entered.errors.is_empty() {
            return false;
        }
        break entered.scope;
    };
    let mut judging = scope.judging();
    for entry in fs::read_dir(folder).expect("list a folder") {
        let entry = entry.expect("list a folder");
        let is_folder = entry.file_type().expect("look at an entry").is_dir();
        let name = entry.file_name();
        if !judging.judge(name.as_bytes(), is_folder).included {
            continue;
        }
        let mut path = if inside.is_empty() { Vec::new() } else { [inside, b"/"].concat() };
        path.extend_from_slice(name.as_bytes());
        if is_folder && !walk(&scope, &entry.path(), &path, found) {
            return false;
        }
        found.insert(if is_folder { [&path[..], b"/"].concat() } else { path });
    }
    true
}

/// Whether a rule file below the top merges a file by a name without a slash. rsync looks for it in
/// the folder in which it runs, and the engine in the folder of the rule file.
fn merges_below_the_top(tree: &Tree) -> bool {
    let mut below = tree.iter().filter(|(path, _)| path.contains('/'));
    below.any(|(_, content)| MERGES.iter().any(|merge| content.contains(merge)))
}

fn shown(paths: &Option<BTreeSet<Vec<u8>>>) -> String {
    match paths {
        None => "refused".to_owned(),
        Some(paths) => paths.iter().map(|path| String::from_utf8_lossy(path) + "\n").collect(),
    }
}

/// Compares the decisions about `tree` under each list of options.
fn compare(tree: &Tree, lists: &[Vec<Given>]) -> Result<(), String> {
    let stage = tempfile::tempdir().expect("make a folder");
    let (root, files) = (stage.path().join("tree"), stage.path().join("files"));
    fs::create_dir(&root).expect("make a folder");
    fs::create_dir(&files).expect("make a folder");
    make(&root, tree);
    for options in lists {
        let theirs = of_rsync(&root, &files, options);
        let ours = of_ours(&root, &files, options);
        if theirs != ours && !merges_below_the_top(tree) {
            let (theirs, ours) = (shown(&theirs), shown(&ours));
            return Err(format!("{options:?}\nrsync:\n{theirs}\nours:\n{ours}"));
        }
    }
    Ok(())
}

/// A rule file that names another rule file: the other one applies in the same folder, too, and a rule of it
/// has the sides of both. `x` is no rule, and shows whether a file is read.
#[test]
fn rule_files_named_by_rule_files_decide_as_in_rsync() {
    let options = [": .f", ":s .f", ":r .f"].map(|rule| vec![Given::Rule(rule.to_owned())]);
    let file = |path: &str, content: &str| (path.to_owned(), content.to_owned());
    for name in [": .g", ":s .g", ":r .g", ":r .g\n: .g", ": .g\n:r .g", ":re .g", "-C", "-Cr"] {
        for rules in ["- *", "-p *", "-s *", "- /b/a", "x"] {
            let mut tree: Tree =
                ["a", "core", "b/a", "b/c/a"].iter().map(|path| file(path, "")).collect();
            tree.extend([file(".f", name), file(".g", rules), file("b/.g", "- c/")]);
            if rules == "- /b/a" {
                tree.push(file("b/.f", name));
            }
            if let Err(difference) = compare(&tree, &options) {
                panic!(".f: {name:?}, .g: {rules:?}: {difference}");
            }
        }
    }
}

#[test]
fn random_rules_on_random_trees_decide_as_rsync_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("FILTER_SEED").unwrap_or(1);
    let cases = u32::try_from(number("FILTER_CASES").unwrap_or(150)).expect("a number of cases");
    eprintln!("FILTER_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let lists = prop::collection::vec(prop::collection::vec(option(), 1..6), 1..20);
    let result = runner
        .run(&(tree(), lists), |(tree, lists)| compare(&tree, &lists).map_err(TestCaseError::fail));
    if let Err(error) = result {
        panic!("{error}\nFILTER_SEED={seed}");
    }
}
