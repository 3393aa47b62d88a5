//! The dependencies: only from crates.io, under licences that `deny.toml` allows, one version of
//! each except those listed there. If installed, `cargo deny` checks the same and known
//! vulnerabilities.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn cargo(args: &[&str]) -> Output {
    Command::new("cargo")
        .args(args)
        .current_dir(HERE)
        .output()
        .expect("cargo runs, as it runs this")
}

fn packages() -> Vec<Value> {
    // The targets of the binaries; crates for other systems are not even downloaded.
    let targets = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];
    let mut args = vec!["metadata", "--locked", "--format-version", "1"];
    args.extend(targets.iter().flat_map(|target| ["--filter-platform", target]));
    let output = cargo(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("a list").clone()
}

/// What `deny.toml` says.
fn policy() -> toml::Table {
    fs::read_to_string(format!("{HERE}/deny.toml")).expect("it is there").parse().expect("TOML")
}

fn texts(value: &toml::Value) -> BTreeSet<String> {
    let texts = value.as_array().expect("a list").iter();
    texts.map(|text| text.as_str().expect("a text").to_owned()).collect()
}

/// Whether an SPDX expression is satisfied: one side of `OR`, both sides of `AND`. `/` is the old
/// form of `OR`.
fn met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.trim();
    // Only fully bracketed expressions and `(A OR B) AND C` occur.
    for (word, all) in [(" AND ", true), (" OR ", false), ("/", false)] {
        let parts = split_outside_brackets(expression, word);
        if parts.len() > 1 {
            let mut each = parts.into_iter().map(|part| met(part, allowed));
            return if all { each.all(|met| met) } else { each.any(|met| met) };
        }
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => met(inner, allowed),
        None => allowed.contains(expression),
    }
}

fn split_outside_brackets<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && at >= start && text[at..].starts_with(word) => {
                parts.push(&text[start..at]);
                start = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[test]
fn all_come_from_crates_io_under_licences_that_are_allowed() {
    let allowed = texts(&policy()["licenses"]["allow"]);
    for package in packages() {
        let (name, source) = (&package["name"], &package["source"]);
        let ours = source.is_null();
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        assert!(ours || source == registry, "{name} comes from {source}");
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(
            met(licence, &allowed),
            "{name} is under '{licence}': add it to deny.toml, or do without"
        );
    }
}

#[test]
fn no_crate_is_there_twice_but_those_that_are_named() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let text = |key: &str| package[key].as_str().expect("a text").to_owned();
        versions.entry(text("name")).or_default().insert(text("version"));
    }
    let twice: BTreeSet<String> = versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, _)| name)
        .collect();
    let skipped = policy()["bans"]["skip"].as_array().expect("a list").clone();
    let skipped: BTreeSet<String> = skipped
        .iter()
        .filter_map(|skip| Some(skip["crate"].as_str()?.split('@').next()?.to_owned()))
        .collect();
    assert_eq!(twice, skipped, "deny.toml has to name them");
}

#[test]
fn cargo_deny_finds_nothing() {
    if !cargo(&["deny", "--version"]).status.success() {
        // The tests above cover most of it, so this does not count as a skipped test.
        eprintln!("cargo-deny is not installed: known vulnerabilities are not looked for");
        return;
    }
    let done = cargo(&["deny", "check", "bans", "licenses", "sources"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let done = cargo(&["deny", "check", "advisories"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if said.contains("failed to fetch") || said.contains("failed to load advisory database") {
        eprintln!("the database of advisories cannot be reached: {said}");
        return;
    }
    assert!(done.status.success(), "{said}");
}

#[test]
fn expressions_of_licences_are_read() {
    let allowed: BTreeSet<String> = ["MIT", "ISC"].map(str::to_owned).into();
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("(GPL-3.0 OR BSD) AND ISC", false),
        ("", false),
    ] {
        assert_eq!(met(expression, &allowed), expected, "{expression}");
    }
}
