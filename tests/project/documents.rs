//! The documents name tests, files, sections and commands: each of them exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown file of the checkout, by its path there, with its text.
fn documents() -> Vec<(String, String)> {
    documents_in(&root())
}

/// Every Markdown file of a checkout or an unpacked tarball, by its path there, with its text.
fn documents_in(top: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["", "docs"] {
        for entry in fs::read_dir(top.join(folder)).expect("a folder of the checkout") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(top).expect("below the top").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("a document")));
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// The code of a document: each inline span, and each line of its blocks.
fn code(text: &str) -> Vec<&str> {
    let spans = text.split('`').skip(1).step_by(2);
    spans.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// All text of the Rust files at `path`: a file, a folder with all below it, or nothing.
fn sources(path: &Path) -> String {
    if !path.exists() {
        return String::new();
    }
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("a folder of sources");
        return entries.map(|entry| sources(&entry.expect("an entry").path())).collect();
    }
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    if is_rust { fs::read_to_string(path).expect("a source file") } else { String::new() }
}

/// The names of the functions in `text`.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next())
}

/// Whether `text` has a function whose name contains `part`.
fn has_function(text: &str, part: &str) -> bool {
    functions(text).any(|name| name.contains(part))
}

/// Whether the group of tests `group` has a test that the filter `filter` selects (`file::part of a name`, and the folders of
/// the file before it if they are named).
fn selects(group: &str, filter: &str) -> bool {
    let (modules, part) = filter.rsplit_once("::").unwrap_or((filter, ""));
    below(&root().join("tests").join(group), &format!("::{modules}::"), part, "::")
}

/// Whether a test below `folder`, which is the module `module`, lies in `modules` and has `part` in its name.
fn below(folder: &Path, modules: &str, part: &str, module: &str) -> bool {
    let entries = fs::read_dir(folder).expect("a folder of tests");
    entries.map(|entry| entry.expect("an entry").path()).any(|path| {
        let name = path.file_stem().expect("a name").to_string_lossy();
        let own = match &*name {
            "main" | "mod" => module.to_owned(),
            name => format!("{module}{name}::"),
        };
        if path.is_dir() {
            return below(&path, modules, part, &own);
        }
        let lies_there =
            if part.is_empty() { own.contains(modules) } else { own.ends_with(modules) };
        lies_there && has_function(&sources(&path), part)
    })
}

fn groups() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("tests")).expect("the tests");
    let folders = entries.map(|entry| entry.expect("an entry").path());
    let groups = folders.filter(|path| path.join("main.rs").exists());
    groups.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
}

/// What is wrong with a `cargo test` command of a document.
fn mistake_of_command(command: &str, groups: &BTreeSet<String>) -> Option<String> {
    let command = command.split(" #").next().unwrap_or_default();
    let words: Vec<_> = command.split_whitespace().collect();
    let at = words.windows(2).position(|pair| pair == ["cargo", "test"])?;
    let (mut named, mut filters, mut package) = (Vec::new(), Vec::new(), None);
    let mut words = words[at + 2..].iter();
    while let Some(word) = words.next() {
        match *word {
            "--test" => named.extend(words.next()),
            "-p" => package = words.next(),
            "--test-threads" => drop(words.next()),
            option if option.starts_with('-') => {}
            filter => filters.push(filter),
        }
    }
    if let Some(missing) = named.iter().find(|name| !groups.contains(**name)) {
        return Some(format!("there is no group {missing}"));
    }
    let unknown = filters.into_iter().find(|filter| match package {
        Some(package) => {
            let folder = root().join(package).join("src");
            let parts = filter.split("::");
            !parts.into_iter().all(|part| part.is_empty() || names(&folder, part))
        }
        None => !named.iter().any(|group| selects(group, filter)),
    });
    unknown.map(|filter| format!("no test is selected by {filter}"))
}

/// Whether a file or folder below `folder`, or a function there, has `part` in its name.
fn names(folder: &Path, part: &str) -> bool {
    let entries = fs::read_dir(folder).expect("a folder of sources");
    let here = entries.map(|entry| entry.expect("an entry").path()).any(|path| {
        let own = path.file_stem().is_some_and(|name| name.to_string_lossy().contains(part));
        own || path.is_dir() && names(&path, part)
    });
    here || has_function(&sources(folder), part)
}

#[test]
fn every_test_that_a_document_names_exists() {
    let groups = groups();
    let mut wrong = Vec::new();
    for (document, text) in documents() {
        for code in code(&text) {
            if let Some(mistake) = mistake_of_command(code, &groups) {
                wrong.push(format!("{document}: {code}: {mistake}"));
            }
            // `backup unruly::nothing_outside`, as SECURITY.md names a test.
            if let Some((group, filter)) = code.split_once(' ')
                && groups.contains(group)
                && filter.contains("::")
                && !selects(group, filter)
            {
                wrong.push(format!("{document}: {code}: no such test"));
            }
        }
        // `part…` in `tests/group/file.rs`
        for (before, after) in text.match_indices("…` in `").map(|(at, _)| text.split_at(at)) {
            let part = before.rsplit('`').next().unwrap_or_default();
            let file = after.split('`').nth(2).unwrap_or_default();
            if !has_function(&sources(&root().join(file)), part) {
                wrong.push(format!("{document}: {part}… is not in {file}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0], "{wrong:#?}");
}

#[test]
fn every_path_and_target_that_a_document_names_exists() {
    let makefile = fs::read_to_string(root().join("tests/Makefile")).expect("tests/Makefile");
    let starts =
        ["tests/", "src/", "engine/", "transport/", "web/", "fixtures/", "deploy/", "docs/"];
    let mut wrong = Vec::new();
    for (document, text) in documents() {
        for code in code(&text) {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "/_.-".contains(letter);
            let is_path =
                starts.iter().any(|start| code.starts_with(start)) && code.chars().all(plain);
            if is_path && !root().join(code).exists() {
                // A module is named without its suffix.
                if !root().join(format!("{code}.rs")).exists() {
                    wrong.push(format!("{document}: {code}"));
                }
            }
            if let Some((_, rest)) = code.split_once("make -C tests ") {
                let target = rest.split_whitespace().next().unwrap_or_default();
                let known = makefile.contains(&format!("\n{target}:"));
                if !known && !target.contains(['=', '#']) {
                    wrong.push(format!("{document}: make -C tests {target}"));
                }
            }
        }
    }
    assert_eq!(wrong, [""; 0], "{wrong:#?}");
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let letters = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = letters.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// The links of the documents in a checkout or an unpacked tarball that lead nowhere.
pub(crate) fn dead_links(top: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for (document, text) in documents_in(top) {
        let folder = top.join(&document).parent().expect("a folder").to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked = if path.is_empty() { top.join(&document) } else { folder.join(path) };
            let has_anchor = || {
                let linked = fs::read_to_string(&linked).unwrap_or_default();
                anchor.is_empty() || anchors(&linked).contains(anchor)
            };
            if !linked.exists() || !has_anchor() {
                wrong.push(format!("{document}: {target}"));
            }
        }
    }
    wrong
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let wrong = dead_links(&root());
    assert_eq!(wrong, [""; 0], "{wrong:#?}");
}

#[test]
fn a_command_that_selects_no_test_is_found() {
    let groups = groups();
    let command =
        |filter: &str| mistake_of_command(&format!("cargo test --test project {filter}"), &groups);
    assert_eq!(command("documents::a_command_that"), None);
    assert!(command("documents::there_is_no_such").is_some());
    assert!(mistake_of_command("cargo test --test nowhere", &groups).is_some());
    let in_folder =
        |filter: &str| mistake_of_command(&format!("cargo test --test backup {filter}"), &groups);
    assert_eq!(in_folder("source::"), None);
    assert_eq!(in_folder("unruly::nothing_outside"), None);
    assert_eq!(in_folder("source::unruly::nothing_outside"), None);
    assert!(in_folder("history::unruly::nothing_outside").is_some());
    assert!(in_folder("source::nothing_outside").is_some());
}
