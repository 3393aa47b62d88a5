//! The rules in force in one folder, including its own rule files and those above it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::filter::budget::{Budget, FolderRules};
use crate::filter::error::{FilterError, RuleError};
use crate::filter::filters::Filters;
use crate::filter::pattern::Subject;
use crate::filter::rule::{ListElement, Origin, Paths, PerFolder, WrittenRule};
use crate::filter::rule_list::RuleReader;
use crate::filter::steps::Steps;

/// The rules in force in one folder. Cheap to create where a folder has no rules of its own.
#[derive(Debug)]
pub struct Scope {
    filters: Arc<Filters>,
    /// The path of the folder inside the snapshot, without a slash at either end.
    inside: Vec<u8>,
    /// The full path of the folder on the source; empty for `/`.
    source: Vec<u8>,
    /// For each rule that names per-folder files: the rules that those files contribute here.
    lists: Vec<(Arc<PerFolder>, Arc<FolderRules>)>,
    /// The index of the tag that the folder contains. Everything else in it is excluded.
    tagged: Option<usize>,
}

/// What a folder contains under the name of a rule file or a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Nothing.
    Absent,
    /// The content of a file, possibly cut at a limit.
    Read(Vec<u8>),
    /// An entry that cannot be read as a file, and why.
    Unreadable(String),
}

/// Rule files and tags of one folder, keyed by name.
pub type Texts = BTreeMap<Vec<u8>, Text>;

/// The result of [`Scope::enter`].
#[derive(Debug)]
pub struct EnteredScope {
    /// The rules in force in the folder.
    pub scope: Arc<Scope>,
    /// Errors of the folder's rule files. A file with errors is not used, so what it would exclude
    /// is kept.
    pub errors: Vec<FilterError>,
    /// Names that the rule files name, for this folder or for each folder, and that `texts` did not
    /// contain. The caller enters again with their texts.
    pub wanted: Vec<Vec<u8>>,
    /// The rule files and tags that have an effect, with their content. Of a tag, only its
    /// signature.
    pub used: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A rule that names a per-folder file, and the rules read for it so far.
type Active = (Arc<PerFolder>, Option<Arc<FolderRules>>);

/// Whether an entry is included, and why.
#[derive(Debug, Clone, Copy)]
pub struct FilterVerdict<'a> {
    /// Whether it belongs to the snapshot.
    pub included: bool,
    /// The rule that decided; `None` when no rule matches, which includes the entry.
    pub by: Option<&'a WrittenRule>,
}

impl Filters {
    /// The rules in force above all folders.
    #[must_use]
    pub fn scope(self: &Arc<Self>) -> Arc<Scope> {
        let (inside, source) = (Vec::new(), Vec::new());
        let (filters, lists) = (Arc::clone(self), Vec::new());
        Arc::new(Scope { filters, inside, source, lists, tagged: None })
    }

    /// The folders from which rule files above `source` (absolute; the topmost folder of the
    /// transfer) apply, each with the file name to look for.
    #[must_use]
    pub fn scans_above(&self, source: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let scans = self.scans().filter_map(|(from, name)| {
            let from = clean(&[source, b"/", from], from.first() == Some(&b'/'));
            let above = from.is_empty() || source.starts_with(&[&from[..], b"/"].concat());
            above.then(|| (from, name.to_owned()))
        });
        scans.collect()
    }
}

/// Joins `parts` and removes `.`, `..` and double slashes. The result has no trailing slash and is
/// empty for `/`.
fn clean(parts: &[&[u8]], absolute: bool) -> Vec<u8> {
    let joined =
        if absolute { parts.last().map(|part| part.to_vec()) } else { Some(parts.concat()) };
    let mut names: Vec<&[u8]> = Vec::new();
    let joined = joined.unwrap_or_default();
    for name in joined.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.iter().flat_map(|name| [b"/", *name].concat()).collect()
}

impl Scope {
    /// The names of rule files and tags that have an effect in the folders below.
    #[must_use]
    pub fn rule_files(&self) -> Vec<Vec<u8>> {
        let mut names: Vec<_> = self.active().iter().map(|(merge, _)| merge.name.clone()).collect();
        names.extend(self.filters.tags.iter().map(|tag| tag.name.clone()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Enters a folder. `inside` is its path in the snapshot, `source` its absolute path on the
    /// source. A name without an entry in `texts` counts as absent.
    #[must_use]
    pub fn enter(&self, inside: Vec<u8>, source: Vec<u8>, texts: &Texts) -> EnteredScope {
        let source = if source == b"/" { Vec::new() } else { source };
        let anchor: Arc<[u8]> = Arc::from(&source[..]);
        let (mut lists, mut errors, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        let mut nested_names: Vec<Vec<u8>> = Vec::new();
        let mut todo = self.active();
        let mut placed: Vec<_> = todo.iter().map(|(merge, _)| merge.name.clone()).collect();
        todo.reverse();
        while let Some((merge, inherited)) = todo.pop() {
            let inherited = inherited.filter(|_| !merge.reading.own_only);
            let text = texts.get(&merge.name);
            // A rule file names another one of the same folder, which the caller has not looked for yet.
            if text.is_none() && nested_names.contains(&merge.name) && !wanted.contains(&merge.name)
            {
                wanted.push(merge.name.clone());
            }
            let (list, nested) = match text {
                None | Some(Text::Absent) => (inherited.unwrap_or_default(), Vec::new()),
                Some(text) => {
                    let place = [&source[..], b"/", &merge.name].concat();
                    let place: Arc<str> = Arc::from(crate::entry::escape::shown(&place));
                    let (wanted, errors) = (&mut wanted, &mut errors);
                    let mut reading = RuleFileReader { texts, wanted, errors, placed: &placed };
                    let own = reading.list(&self.filters, &merge, text, &anchor, &place);
                    let nested = per_folder(&own.items);
                    match reading.with(own, inherited.as_ref(), &self.filters, &place) {
                        Some(list) => (list, nested),
                        None => (inherited.unwrap_or_default(), Vec::new()),
                    }
                }
            };
            lists.push((merge, list));
            let names = || nested.iter().map(|merge| merge.name.clone());
            nested_names.extend(names());
            placed.extend(names());
            todo.extend(nested.into_iter().rev().map(|merge| (merge, None)));
        }
        let tagged = self.filters.tags.iter().position(|tag| match texts.get(&tag.name) {
            None | Some(Text::Absent) => false,
            Some(Text::Read(text)) => tag.signature.is_none_or(|start| text.starts_with(start)),
            Some(Text::Unreadable(_)) => tag.signature.is_none(),
        });
        let filters = Arc::clone(&self.filters);
        let scope = Arc::new(Scope { filters, inside, source, lists, tagged });
        let used = scope.used(texts);
        EnteredScope { scope, errors, wanted, used }
    }

    /// The full path of the folder on the source; empty for `/`.
    #[must_use]
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// The part of `texts` that has an effect.
    fn used(&self, texts: &Texts) -> Vec<(Vec<u8>, Vec<u8>)> {
        let tag = |name: &[u8]| self.filters.tags.iter().find(|tag| tag.name == name);
        let has_rules = |name: &[u8]| self.lists.iter().any(|(merge, _)| merge.name == name);
        let used = texts.iter().filter_map(|(name, text)| match (text, tag(name)) {
            (Text::Absent, _) => None,
            (Text::Read(text), Some(tag)) if !has_rules(name) => {
                let signature = tag.signature.map_or(0, <[u8]>::len);
                Some((name.clone(), text[..signature.min(text.len())].to_vec()))
            }
            (Text::Read(text), _) => Some((name.clone(), text.clone())),
            (Text::Unreadable(_), Some(tag)) if tag.signature.is_none() => {
                Some((name.clone(), Vec::new()))
            }
            (Text::Unreadable(_), _) => None,
        });
        used.collect()
    }

    /// The rules that name per-folder files, in order, with what was read for them so far.
    fn active(&self) -> Vec<Active> {
        let mut active = Vec::new();
        let mut todo = per_folder(&self.filters.items);
        todo.reverse();
        while let Some(merge) = todo.pop() {
            let list = self.list(&merge).cloned();
            let nested = list.as_deref().map(|list| per_folder(&list.items)).unwrap_or_default();
            todo.extend(nested.into_iter().rev());
            active.push((merge, list));
        }
        active
    }

    fn list(&self, merge: &Arc<PerFolder>) -> Option<&Arc<FolderRules>> {
        self.lists.iter().find(|(other, _)| Arc::ptr_eq(merge, other)).map(|(_, list)| list)
    }

    /// Decides about entries directly in this folder.
    #[must_use]
    pub fn judging(&self) -> Judging<'_> {
        let start = |path: &[u8]| match path {
            [] => b"/".to_vec(),
            path if path.starts_with(b"/") => [path, b"/"].concat(),
            path => [b"/", path, b"/"].concat(),
        };
        let (inside, source) = (start(&self.inside), start(&self.source));
        let lengths = (inside.len(), source.len());
        Judging { scope: self, inside, source, lengths }
    }

    fn decide<'a>(
        &'a self,
        items: &'a [ListElement],
        paths: Paths<'_>,
    ) -> Option<FilterVerdict<'a>> {
        items.iter().find_map(|item| match item {
            ListElement::Rule(rule) => {
                let holds = rule.hides && !rule.attributes && rule.holds_for(paths);
                holds.then(|| FilterVerdict { included: rule.include, by: Some(&rule.reason) })
            }
            ListElement::PerFolder(merge) => self.decide(&self.list(merge)?.items, paths),
            ListElement::Cvs(items) => self.decide(items, paths),
        })
    }
}

/// Decides about the entries of one folder, one by one.
#[derive(Debug)]
pub struct Judging<'a> {
    scope: &'a Scope,
    inside: Vec<u8>,
    source: Vec<u8>,
    lengths: (usize, usize),
}

impl<'a> Judging<'a> {
    /// Whether the entry `name` is included.
    pub fn judge(&mut self, name: &[u8], is_folder: bool) -> FilterVerdict<'a> {
        let filters = &self.scope.filters;
        if let Some(tag) = self.scope.tagged.and_then(|tag| filters.tags.get(tag)) {
            return FilterVerdict { included: tag.name == name, by: Some(&tag.reason) };
        }
        for (path, length) in
            [(&mut self.inside, self.lengths.0), (&mut self.source, self.lengths.1)]
        {
            path.truncate(length);
            path.extend_from_slice(name);
            if is_folder {
                path.push(b'/');
            }
        }
        let steps = Steps::new();
        let subject = |path| Subject::new(path, is_folder, &steps);
        let paths = Paths { inside: subject(&self.inside), source: subject(&self.source) };
        let verdict = self.scope.decide(&filters.items, paths);
        verdict.unwrap_or(FilterVerdict { included: true, by: None })
    }
}

fn per_folder(items: &[ListElement]) -> Vec<Arc<PerFolder>> {
    let merges = items.iter().filter_map(|item| match item {
        ListElement::PerFolder(merge) => Some(Arc::clone(merge)),
        _ => None,
    });
    merges.collect()
}

/// Reads the rule files of one folder.
struct RuleFileReader<'a> {
    texts: &'a Texts,
    wanted: &'a mut Vec<Vec<u8>>,
    errors: &'a mut Vec<FilterError>,
    placed: &'a [Vec<u8>],
}

/// The rules in a folder's own rule file.
#[derive(Default)]
struct OwnRules {
    items: Vec<ListElement>,
    cleared: bool,
}

impl RuleFileReader<'_> {
    /// Parses `text`. Returns no rules when it has an error.
    fn list(
        &mut self,
        filters: &Filters,
        merge: &PerFolder,
        text: &Text,
        anchor: &Arc<[u8]>,
        place: &Arc<str>,
    ) -> OwnRules {
        let text = match text {
            Text::Absent => return OwnRules::default(),
            Text::Read(text) => text,
            Text::Unreadable(why) => {
                self.unused(place, RuleError::Unused(why.clone()));
                return OwnRules::default();
            }
        };
        let (texts, mut missing) = (self.texts, Vec::new());
        let mut beside = |name: &[u8]| match texts.get(name) {
            _ if name.contains(&b'/') => Err(RuleError::NotBeside),
            Some(Text::Read(text)) => Ok(text.clone()),
            Some(Text::Unreadable(why)) => Err(RuleError::Unused(why.clone())),
            Some(Text::Absent) => Err(RuleError::NotBeside),
            None => {
                missing.push(name.to_owned());
                Ok(Vec::new())
            }
        };
        let cvs = || Arc::clone(&filters.cvs);
        let anchor = Some(Arc::clone(anchor));
        let mut reader = RuleReader::new(&mut beside, &cvs, anchor, Budget::FOLDER);
        reader.set_nul(filters.nul);
        reader.set_folder(&merge.name, self.placed);
        reader.file(text, merge.reading, place);
        let RuleReader { items, errors, cleared, .. } = reader;
        self.wanted.append(&mut missing);
        if errors.is_empty() {
            return OwnRules { items, cleared };
        }
        self.errors.extend(errors);
        OwnRules::default()
    }

    /// Puts the folder's own rules before the inherited ones. Reports an error and returns `None`
    /// when they exceed a limit.
    fn with(
        &mut self,
        own: OwnRules,
        inherited: Option<&Arc<FolderRules>>,
        filters: &Filters,
        place: &Arc<str>,
    ) -> Option<Arc<FolderRules>> {
        let above = inherited.filter(|_| !own.cleared);
        if own.items.is_empty()
            && let Some(above) = above
        {
            return Some(Arc::clone(above));
        }
        let above = above.map_or(&[][..], |above| &above.items);
        let fits = own.items.len() + above.len() <= Budget::FOLDER.rules;
        let held = if fits { FolderRules::new(own.items, above, &filters.held) } else { None };
        if held.is_none() {
            self.unused(place, RuleError::TooMuch("rules"));
        }
        held.map(Arc::new)
    }

    fn unused(&mut self, place: &Arc<str>, fault: RuleError) {
        let origin = Origin { place: Arc::clone(place), line: None };
        self.errors.push(FilterError { origin, rule: Vec::new(), fault });
    }
}
