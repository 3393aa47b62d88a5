//! Parses files of rules into lists.

use std::sync::Arc;

use crate::filter::budget::Budget;
use crate::filter::error::{FilterError, RuleError};
use crate::filter::parse::{Parsed, PatternRule, parse};
use crate::filter::pattern::Pattern;
use crate::filter::rule::{
    ListElement, MatchedPath, Origin, PerFolder, Reading, Rule, Sides, Syntax, WrittenRule,
};

/// Maximum depth to which files of rules may merge one another.
const DEPTH: usize = 20;

/// Returns the content of a file that a rule merges.
pub(crate) type TextOf<'a> = dyn FnMut(&[u8]) -> Result<Vec<u8>, RuleError> + 'a;

/// Parses rules and collects them in a list.
pub(crate) struct RuleReader<'a> {
    /// The rules so far.
    pub(crate) items: Vec<ListElement>,
    /// The errors so far.
    pub(crate) errors: Vec<FilterError>,
    /// A `!` was read: the list does not inherit rules.
    pub(crate) cleared: bool,
    /// Returns the content of a file that a rule merges.
    text: &'a mut TextOf<'a>,
    /// The rules of CVS.
    cvs: &'a dyn Fn() -> Arc<[ListElement]>,
    /// The folder whose rule file is being read, as a path on the source.
    anchor: Option<Arc<[u8]>>,
    /// `--from0`: a NUL byte ends each rule.
    nul: bool,
    /// Names of per-folder rule files that already have a position. A second `dir-merge` of the
    /// same name is ignored.
    placed: Vec<Vec<u8>>,
    /// The files being read; each merges the next one.
    open: Vec<Vec<u8>>,
    /// What may still be read.
    budget: Budget,
    ended: bool,
}

impl<'a> RuleReader<'a> {
    pub(crate) fn new(
        text: &'a mut TextOf<'a>,
        cvs: &'a dyn Fn() -> Arc<[ListElement]>,
        anchor: Option<Arc<[u8]>>,
        budget: Budget,
    ) -> Self {
        let (items, errors) = (Vec::new(), Vec::new());
        let (placed, open, cleared, nul, ended) = (Vec::new(), Vec::new(), false, false, false);
        Self { items, errors, cleared, text, cvs, anchor, nul, placed, open, budget, ended }
    }

    /// Starts the rule file `name`. Per-folder files of the `placed` names already have a position.
    pub(crate) fn set_folder(&mut self, name: &[u8], placed: &[Vec<u8>]) {
        self.open.push(name.to_owned());
        self.budget.names = self.budget.names.saturating_sub(placed.len());
        self.placed = placed.to_vec();
    }

    /// Sets whether a NUL byte or a line end ends the following rules.
    pub(crate) fn set_nul(&mut self, nul: bool) {
        self.nul = nul;
    }

    /// Parses the rules of the file at `place`.
    pub(crate) fn file(&mut self, text: &[u8], reading: Reading, place: &Arc<str>) {
        let origin = Origin { place: Arc::clone(place), line: None };
        if self.open.len() > DEPTH {
            return self.wrong(origin, b"", RuleError::TooDeep(DEPTH));
        }
        if !spend(&mut self.budget.bytes, text.len()) {
            return self.too_much(origin, "bytes of rules");
        }
        let nul = self.nul;
        let ends_line = |byte: &u8| if nul { *byte == 0 } else { matches!(byte, b'\n' | b'\r') };
        let mut line = 1;
        for rules in text.split(ends_line) {
            if self.ended {
                return;
            }
            let origin = || Origin { place: Arc::clone(place), line: Some(line) };
            if reading.words {
                let space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
                for word in rules.split(space).filter(|word| !word.is_empty()) {
                    self.rule(word, reading, origin());
                }
            } else if !matches!(rules, [] | [b'#' | b';', ..]) {
                self.rule(rules, reading, origin());
            }
            // CR LF counts as one line end in line numbers.
            let end = rules.as_ptr() as usize - text.as_ptr() as usize + rules.len();
            line += usize::from(!matches!(text.get(end..end + 2), Some(b"\r\n")));
        }
    }

    /// Parses one rule.
    pub(crate) fn rule(&mut self, text: &[u8], reading: Reading, origin: Origin) {
        if self.ended {
            return;
        }
        if !spend(&mut self.budget.rules, 1) {
            return self.too_much(origin, "rules");
        }
        match parse(text, reading) {
            Ok(Parsed::Clear) => {
                self.items.clear();
                self.cleared = true;
            }
            // `-Cr`, and `-C` in a file whose rules are all for the receiver (rsync(1), "r" modifier).
            Ok(Parsed::Cvs(sides)) if !sides.hides() => {}
            Ok(Parsed::Cvs(_)) => self.items.push(ListElement::Cvs((self.cvs)())),
            Ok(Parsed::Pattern(parsed)) => self.pattern(&parsed, text, origin),
            Ok(Parsed::Merge { per_folder, excludes_itself, reading, name }) => {
                let end = name.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
                let name = &name[..end];
                let (folder, file) = match name.iter().rposition(|byte| *byte == b'/') {
                    Some(at) => (Some(&name[..=at]), &name[at + 1..]),
                    None => (None, name),
                };
                if file.is_empty() {
                    return self.wrong(origin, text, RuleError::NoPattern);
                }
                if excludes_itself {
                    self.pattern(&exclude(file), text, origin.clone());
                }
                // In a rule file of the source, rsync drops a `dir-merge` for the receiver when it sends.
                // One among the options it keeps, because the receiver gets these (rsync 3.2.7, 3.5.0).
                if per_folder && self.anchor.is_some() && !reading.sides.hides() {
                    return;
                }
                if per_folder && (self.placed.iter().any(|name| name == file) || self.places(file))
                {
                    return;
                }
                if per_folder {
                    if !spend(&mut self.budget.names, 1) {
                        return self.too_much(origin, "names of rule files");
                    }
                    let (name, scan_from) = (file.to_owned(), folder.map(ToOwned::to_owned));
                    let item = PerFolder { name, scan_from, reading };
                    self.items.push(ListElement::PerFolder(Arc::new(item)));
                    return;
                }
                if self.open.iter().any(|open| open == name) {
                    return self.wrong(origin, text, RuleError::Cycle);
                }
                if !spend(&mut self.budget.files, 1) {
                    return self.too_much(origin, "merged files");
                }
                match (self.text)(name) {
                    Ok(rules) => {
                        let folder =
                            self.anchor.as_ref().map(|folder| [folder, &b"/"[..]].concat());
                        let path = [&folder.unwrap_or_default(), name].concat();
                        let place = Arc::from(crate::entry::escape::shown(&path));
                        self.open.push(name.to_owned());
                        self.file(&rules, reading, &place);
                        self.open.pop();
                    }
                    Err(fault) => self.wrong(origin, text, fault),
                }
            }
            Err(fault) => self.wrong(origin, text, fault),
        }
    }

    fn places(&self, file: &[u8]) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item, ListElement::PerFolder(merge) if merge.name == file))
    }

    fn pattern(&mut self, parsed: &PatternRule<'_>, text: &[u8], origin: Origin) {
        let frame = match (&self.anchor, parsed.absolute) {
            (_, true) => MatchedPath::Source,
            (Some(anchor), false) if Pattern::is_anchored(parsed.pattern) => {
                MatchedPath::Below(Arc::clone(anchor))
            }
            _ => MatchedPath::Transfer,
        };
        self.items.push(ListElement::Rule(Arc::new(Rule {
            include: parsed.include,
            negated: parsed.negated,
            hides: parsed.sides.hides(),
            attributes: parsed.attributes,
            pattern: Pattern::new(parsed.pattern, parsed.absolute),
            frame,
            reason: WrittenRule { text: text.to_owned(), origin },
        })));
    }

    fn wrong(&mut self, origin: Origin, rule: &[u8], fault: RuleError) {
        self.errors.push(FilterError { origin, rule: rule.to_owned(), fault });
        self.ended |= self.errors.len() >= self.budget.mistakes;
    }

    /// Reports that a limit is exceeded, and stops reading.
    fn too_much(&mut self, origin: Origin, what: &'static str) {
        self.wrong(origin, b"", RuleError::TooMuch(what));
        self.ended = true;
    }
}

/// Subtracts `wanted` from `left`. Returns whether enough was left.
fn spend(left: &mut usize, wanted: usize) -> bool {
    let enough = *left >= wanted;
    *left = left.saturating_sub(wanted);
    enough
}

/// A plain rule that excludes the name `pattern`.
fn exclude(pattern: &[u8]) -> PatternRule<'_> {
    let (negated, absolute, attributes) = (false, false, false);
    PatternRule { include: false, negated, absolute, attributes, sides: Sides::default(), pattern }
}

/// Patterns that CVS ignores (rsync(1), `--cvs-exclude`).
const CVS: &str = "RCS SCCS CVS CVS.adm RCSLOG cvslog.* tags TAGS .make.state .nse_depinfo *~ #* .#* ,* _$* *$ \
    *.old *.bak *.BAK *.orig *.rej .del-* *.a *.olb *.o *.obj *.so *.exe *.Z *.elc *.ln core .svn/ .git/ .hg/ .bzr/";

/// The rules of CVS: the built-in ones, those of `~/.cvsignore` and those of the variable
/// `CVSIGNORE`.
pub(crate) fn cvs(home: Option<&[u8]>, variable: Option<&[u8]>) -> Arc<[ListElement]> {
    let reading = Reading { syntax: Syntax::Cvs, words: true, ..Reading::default() };
    let mut no_text = |_: &[u8]| Err(RuleError::NotBeside);
    let no_cvs = || Arc::from([]);
    let mut reader = RuleReader::new(&mut no_text, &no_cvs, None, Budget::OWN);
    let parts = [
        (Some(CVS.as_bytes()), "the rules of CVS"),
        (home, "~/.cvsignore"),
        (variable, "the variable CVSIGNORE"),
    ];
    for (text, place) in parts {
        reader.file(text.unwrap_or_default(), reading, &Arc::from(place));
    }
    Arc::from(reader.items)
}
