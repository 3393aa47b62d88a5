//! Any bytes in a rule or a file of rules are either accepted or rejected with a printable message,
//! and names are judged by the accepted rules.

use std::io;
use std::sync::Arc;

use engine::filter::Outside;
use engine::filter::{Text, Texts};
use engine::{FilterOption, Filters};
use proptest::prelude::*;

/// Pieces of valid and invalid rules.
const PIECES: [&str; 32] = [
    "- ",
    "+ ",
    "-/",
    "+,x ",
    "P ",
    "H ",
    "R ",
    "S ",
    "r ",
    "! ",
    "!",
    ": ",
    ":n- ",
    ". ",
    ".e ",
    ":C",
    "-C",
    "merge ",
    "dir-merge ",
    "exclude ",
    "include,s ",
    "clear",
    "*",
    "**",
    "***",
    "?",
    "[",
    "[!a-",
    "[[:alpha:]]",
    "\\",
    "/",
    "name",
];

fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => Just(b"\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..5),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn option() -> impl Strategy<Value = FilterOption> {
    let given = (text(), 0..10).prop_map(|(text, kind)| match kind {
        0 => FilterOption::Exclude(text),
        1 => FilterOption::Include(text),
        2 => FilterOption::ExcludeFrom("rules".into()),
        3 => FilterOption::IncludeFrom("rules".into()),
        4 => FilterOption::RuleFiles,
        5 => FilterOption::Cvs,
        6 => FilterOption::Nul,
        7 => FilterOption::IfPresent(text),
        _ => FilterOption::Rule(text),
    });
    given.boxed()
}

proptest! {
    #[test]
    fn any_rules_are_accepted_or_reported(
        options in prop::collection::vec(option(), 0..6), file in text(), name in text(), folder in any::<bool>(),
    ) {
        let options: Vec<_> = options.into_iter().map(|option| (option, "an option".to_owned())).collect();
        let read = |_: &std::path::Path| -> io::Result<Vec<u8>> { Ok(file.clone()) };
        let home = || Some(file.clone());
        let outside = Outside { read: &read, cvs_home: &home, cvs_variable: Some(name.clone()) };
        match Filters::read(&options, &outside) {
            Ok(filters) => {
                let scope = Arc::new(filters).scope();
                let mut texts = Texts::new();
                let mut wanted = scope.rule_files();
                // Files that merge each other beyond the depth limit.
                for _ in 0..50 {
                    texts.extend(wanted.drain(..).map(|name| (name, Text::Read(file.clone()))));
                    let entered = scope.enter(b"inside".to_vec(), b"/source".to_vec(), &texts);
                    for error in &entered.errors {
                        prop_assert!(!error.to_string().contains(char::is_control), "{error}");
                    }
                    let _ = entered.scope.judging().judge(&name, folder);
                    wanted = entered.wanted;
                    if wanted.is_empty() {
                        break;
                    }
                }
                prop_assert!(wanted.is_empty(), "it ends: {wanted:?}");
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in errors {
                    prop_assert!(!error.to_string().contains(char::is_control), "{error}");
                }
            }
        }
    }
}

/// A pattern that makes a backtracking matcher try every combination.
#[test]
fn no_pattern_takes_for_ever() {
    let stars = b"*a".repeat(40);
    let options = [(FilterOption::Exclude([&stars[..], b"b"].concat()), "an option".to_owned())];
    let outside = Outside {
        read: &|_| Err(io::ErrorKind::NotFound.into()),
        cvs_home: &|| None,
        cvs_variable: None,
    };
    let filters = Filters::read(&options, &outside).expect("a pattern");
    let scope = Arc::new(filters).scope();
    assert!(scope.judging().judge(&[b'a'; 255], false).included);
}
