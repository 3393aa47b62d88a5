//! The layers of the code: what each folder may import stands in ARCHITECTURE.md, and no files import each other in a cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates with layers, and the folders of their modules.
const CRATES: [(&str, &str); 5] = [
    ("engine", "engine/src"),
    ("transport", "transport/src"),
    ("web", "web/src"),
    ("src", "src"),
    ("fixtures", "fixtures/src"),
];

/// Module path (`fs::dir`; empty for the crate root) -> the modules that its code names.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn each_folder_imports_only_what_architecture_md_allows_it() {
    let allowed = allowed();
    for (name, folder) in CRATES {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, targets) in imports(&root().join(folder)) {
            let from = layer(&module, &allowed[name]);
            let targets = targets.iter().map(|target| layer(target, &allowed[name]));
            let targets = targets.filter(|to| *to != from);
            found.entry(from.clone()).or_default().extend(targets);
        }
        // The crate's root and a folder whose parts are layers of their own hold only `mod` and `pub use`.
        found.retain(|from, _| !from.is_empty() && !has_parts(from, &allowed[name]));
        assert_eq!(allowed.get(name), Some(&found), "the layers of {name} in ARCHITECTURE.md");
    }
}

#[test]
fn no_files_import_each_other_in_a_cycle() {
    for (name, folder) in CRATES {
        let imports = imports(&root().join(folder));
        assert_eq!(cycle(&imports), None, "in {name}");
    }
}

#[test]
fn no_folders_import_each_other_in_a_cycle() {
    for (name, layers) in allowed() {
        assert_eq!(cycle(&layers), None, "in {name}");
    }
}

#[test]
fn a_cycle_is_found() {
    let imports = |pairs: &[(&str, &str)]| {
        let mut imports = Imports::new();
        for (from, to) in pairs {
            imports.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        imports
    };
    assert_eq!(cycle(&imports(&[("a", "b"), ("a", "c"), ("b", "c")])), None);
    assert!(cycle(&imports(&[("a", "b"), ("b", "c"), ("c", "a")])).is_some());
}

#[test]
fn every_form_of_an_import_is_read() {
    let modules = ["", "a", "a::b", "c", "d", "e::f"].map(str::to_owned).into();
    let text = "use crate::a::{b::X, Y};\npub use self::f::Z;\n// crate::d::Z\nfn f() { super::c::g() }\n#[cfg(test)]\nmod tests { use crate::d; }";
    let found = named(text, "e", &modules);
    assert_eq!(found, ["a", "a::b", "c", "e::f"].map(str::to_owned).into());
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The row of a module: the longest one that it lies in. Else its folder, or the file at the top.
fn layer(module: &str, rows: &BTreeMap<String, BTreeSet<String>>) -> String {
    let path = module.replace("::", "/");
    let lies_in = |row: &&String| path == **row || path.starts_with(&format!("{row}/"));
    let row = rows.keys().filter(lies_in).max_by_key(|row| row.len());
    let first = || module.split("::").next().unwrap_or_default().to_owned();
    row.cloned().unwrap_or_else(first)
}

/// Whether rows of the table are parts of this folder.
fn has_parts(folder: &str, rows: &BTreeMap<String, BTreeSet<String>>) -> bool {
    rows.keys().any(|row| row.starts_with(&format!("{folder}/")))
}

/// The tables of ARCHITECTURE.md: crate -> layer -> the layers that it may import.
fn allowed() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut crates: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    let mut name = None;
    for line in text.lines() {
        if let Some(layers_of) = line.strip_prefix("```layers ") {
            name = Some(layers_of.trim().to_owned());
        } else if line.starts_with("```") {
            name = None;
        } else if let Some(name) = &name
            && let Some((layer, below)) = line.split_once("->")
        {
            let below = below.split_whitespace().map(str::to_owned).collect();
            crates.entry(name.clone()).or_default().insert(layer.trim().to_owned(), below);
        }
    }
    crates
}

fn imports(folder: &Path) -> Imports {
    let mut files = Vec::new();
    collect(folder, &mut files);
    let module = |path: &Path| {
        let path = path.strip_prefix(folder).expect("below the folder").with_extension("");
        let mut names: Vec<_> =
            path.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        names.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
        names.join("::")
    };
    let modules: BTreeSet<_> = files.iter().map(|path| module(path)).collect();
    let tests = |name: &str| name.ends_with("tests") || name.ends_with("bench");
    let code = files.iter().map(|path| (module(path), path)).filter(|(name, _)| !tests(name));
    code.map(|(name, path)| {
        let text = fs::read_to_string(path).expect("a source file");
        let targets = named(&text, &name, &modules);
        (name, targets)
    })
    .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The other modules that `text`, the file of `module`, names outside tests and comments.
fn named(text: &str, module: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    for keyword in ["crate", "self", "super"] {
        let keyword = format!("{keyword}::");
        let starts = code.match_indices(&keyword).map(|(at, _)| at);
        let whole = |at: &usize| {
            let before = code[..*at].chars().next_back();
            !before.is_some_and(|before| before.is_alphanumeric() || "_:$".contains(before))
        };
        for at in starts.filter(whole) {
            let mut paths = Vec::new();
            expand(&code[at..], String::new(), &mut paths);
            for path in paths {
                let target = target(&path, module, modules);
                found.extend(target.filter(|target| target != module && !target.is_empty()));
            }
        }
    }
    found
}

/// The paths of a `use` tree, or of a path in code, at the start of `text`. Returns the length of
/// the text.
fn expand(text: &str, before: String, paths: &mut Vec<String>) -> usize {
    let mut path = before;
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        path.push_str(&rest[..word]);
        at += word;
        if !text[at..].starts_with("::") {
            break;
        }
        at += 2;
        path.push_str("::");
        if text[at..].starts_with('{') {
            at += 1;
            loop {
                at += text[at..].find(|c: char| !c.is_whitespace() && c != ',').unwrap_or(0);
                if text[at..].starts_with('}') || text[at..].is_empty() {
                    return at + 1;
                }
                let taken = expand(&text[at..], path.clone(), paths);
                at += taken + text[at + taken..].find([',', '}']).unwrap_or(0);
            }
        }
    }
    paths.push(path);
    at
}

/// The module that `path` in `module` refers to.
fn target(path: &str, module: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut names: Vec<&str> = module.split("::").filter(|name| !name.is_empty()).collect();
    for name in path.split("::").filter(|name| !name.is_empty()) {
        match name {
            "crate" => names.clear(),
            "super" => drop(names.pop()),
            "self" => {}
            name => names.push(name),
        }
    }
    while !names.is_empty() && !modules.contains(&names.join("::")) {
        names.pop();
    }
    (!names.is_empty()).then(|| names.join("::"))
}

/// A cycle in `imports`, if there is one.
fn cycle(imports: &Imports) -> Option<Vec<String>> {
    fn visit<'a>(
        at: &'a str,
        imports: &'a Imports,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(begin) = way.iter().position(|name| *name == at) {
            return Some(way[begin..].iter().map(|name| (*name).to_owned()).collect());
        }
        if done.contains(at) {
            return None;
        }
        way.push(at);
        for next in imports.get(at).into_iter().flatten() {
            if let Some(cycle) = visit(next, imports, way, done) {
                return Some(cycle);
            }
        }
        way.pop();
        done.insert(at);
        None
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|start| visit(start, imports, &mut Vec::new(), &mut done))
}
