//! Parses the filter options.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::filter::budget::{Budget, LONGEST_RULE_FILE};
use crate::filter::error::{FilterError, RuleError};
use crate::filter::filters::{FilterInput, FilterOption, Filters, Tag};
use crate::filter::rule::{CACHE_SIGNATURE, ListElement, Origin, Reading, Syntax, WrittenRule};
use crate::filter::rule_list::{RuleReader, cvs};

/// What options refer to outside of their own text.
pub struct Outside<'a> {
    /// Reads a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// The content of `~/.cvsignore`, if the file exists. Called only for `-C`.
    pub cvs_home: &'a dyn Fn() -> Option<Vec<u8>>,
    /// The value of the environment variable `CVSIGNORE`.
    pub cvs_variable: Option<Vec<u8>>,
}

impl Filters {
    /// Parses `options` in order. The `String` beside each option says where it was given; errors
    /// show it.
    ///
    /// # Errors
    /// All errors at once: invalid rules, and files that cannot be read.
    pub fn read(
        options: &[(FilterOption, String)],
        outside: &Outside<'_>,
    ) -> Result<Self, Vec<FilterError>> {
        let (files, home) = (RefCell::new(BTreeMap::new()), RefCell::new(None));
        let read = |path: &Path| {
            let text = (outside.read)(path)?;
            files.borrow_mut().insert(path.to_owned(), text.clone());
            Ok(text)
        };
        let cvs_home = || {
            let text = (outside.cvs_home)();
            home.borrow_mut().clone_from(&text);
            text
        };
        let cvs_variable = outside.cvs_variable.clone();
        let outside = &Outside { read: &read, cvs_home: &cvs_home, cvs_variable };
        let made = || cvs((outside.cvs_home)().as_deref(), outside.cvs_variable.as_deref());
        let of_cvs = std::cell::OnceCell::new();
        let of_cvs = || Arc::clone(of_cvs.get_or_init(made));
        let mut text = |name: &[u8]| {
            let path = Path::new(std::ffi::OsStr::from_bytes(name));
            (outside.read)(path).map_err(RuleError::Unreadable)
        };
        let mut reader = RuleReader::new(&mut text, &of_cvs, None, Budget::OWN);
        let (mut tags, mut errors) = (Vec::new(), Vec::new());
        let (mut rule_files, mut nul, mut last) = (0, false, None);
        for (option, place) in options {
            let place: Arc<str> = Arc::from(place.as_str());
            let origin = Origin { place: Arc::clone(&place), line: None };
            let mut tag = |name: &[u8], signature| {
                let (name, text) = (name.to_owned(), name.to_owned());
                tags.push(Tag {
                    name,
                    signature,
                    reason: WrittenRule { text, origin: origin.clone() },
                });
            };
            let old = |include| Reading { syntax: Syntax::Old { include }, ..Reading::default() };
            let (text, reading): (&[u8], _) = match option {
                FilterOption::Exclude(pattern) => (pattern, old(false)),
                FilterOption::Include(pattern) => (pattern, old(true)),
                FilterOption::Rule(rule) => (rule, Reading::default()),
                FilterOption::RuleFiles => {
                    rule_files += 1;
                    match rule_files {
                        1 => (b": /.rsync-filter", Reading::default()),
                        2 => (b"- .rsync-filter", Reading::default()),
                        _ => continue,
                    }
                }
                FilterOption::ExcludeFrom(path) | FilterOption::IncludeFrom(path) => {
                    let include = matches!(option, FilterOption::IncludeFrom(_));
                    let (name, place) =
                        (path.as_os_str().as_bytes(), crate::entry::escape::shown_path(path));
                    match (outside.read)(path) {
                        Ok(text) => reader.file(&text, old(include), &Arc::from(place)),
                        Err(error) => errors.push(FilterError {
                            origin,
                            rule: name.to_owned(),
                            fault: RuleError::Unreadable(error),
                        }),
                    }
                    continue;
                }
                FilterOption::Cvs => {
                    last = Some(origin);
                    continue;
                }
                FilterOption::Nul => {
                    nul = true;
                    reader.set_nul(nul);
                    continue;
                }
                FilterOption::Caches => {
                    tag(b"CACHEDIR.TAG", Some(CACHE_SIGNATURE));
                    continue;
                }
                FilterOption::IfPresent(name) if crate::entry::check_name(name).is_ok() => {
                    tag(name, None);
                    continue;
                }
                FilterOption::IfPresent(name) => {
                    errors.push(FilterError {
                        origin,
                        rule: name.clone(),
                        fault: RuleError::NotAName,
                    });
                    continue;
                }
            };
            if text.is_empty() {
                errors.push(FilterError { origin, rule: Vec::new(), fault: RuleError::NoPattern });
            } else {
                reader.rule(text, reading, origin);
            }
        }
        // rsync(1), -C: its rules come after all other rules, wherever the option stands.
        if let Some(origin) = last {
            reader.rule(b":C", Reading::default(), origin.clone());
            reader.rule(b"-C", Reading::default(), origin);
        }
        errors.append(&mut reader.errors);
        let items = std::mem::take(&mut reader.items);
        drop(reader);
        let uses_cvs =
            |item: &ListElement| matches!(item, ListElement::Cvs(_) | ListElement::PerFolder(_));
        let cvs = if items.iter().any(uses_cvs) { of_cvs() } else { Arc::from([]) };
        if !errors.is_empty() {
            return Err(errors);
        }
        let given = FilterInput {
            options: options.iter().map(|(option, _)| option.clone()).collect(),
            files: files.take(),
            cvs_home: home.take(),
            cvs_variable: outside.cvs_variable.clone(),
        };
        let length: usize = given.files.values().map(Vec::len).sum();
        let is_short = length as u64 <= LONGEST_RULE_FILE;
        let given = is_short.then_some(given);
        Ok(Self { items, tags, nul, cvs, held: Arc::default(), given })
    }
}
