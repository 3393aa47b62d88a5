//! Reads files of rules into lists.

use std::sync::Arc;

use super::fault::{Fault, FilterError};
use super::pattern::Pattern;
use super::rule::{Frame, Item, Origin, PerFolder, Reading, Reason, Rule, Sides, Syntax};
use super::syntax::{Parsed, Told, parse};

/// How deep files of rules may name one another.
const DEPTH: usize = 20;

/// The content of a file that a rule names.
pub(super) type TextOf<'a> = dyn FnMut(&[u8]) -> Result<Vec<u8>, Fault> + 'a;

/// A list of rules that is being read.
pub(super) struct Reader<'a> {
    /// The rules so far.
    pub(super) items: Vec<Item>,
    /// What is wrong.
    pub(super) errors: Vec<FilterError>,
    /// A `!` was read: what would be inherited is not.
    pub(super) cleared: bool,
    /// The content of a file that a rule names.
    text: &'a mut TextOf<'a>,
    /// The rules of CVS.
    cvs: &'a dyn Fn() -> Arc<[Item]>,
    /// The folder whose rule file is read, by its path on the source.
    anchor: Option<Arc<[u8]>>,
    /// `--from0`: rules end with a NUL byte.
    nul: bool,
    /// Names of folders' rule files that have their place already: a second one is ignored.
    placed: Vec<Vec<u8>>,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        text: &'a mut TextOf<'a>,
        cvs: &'a dyn Fn() -> Arc<[Item]>,
        anchor: Option<Arc<[u8]>>,
        nul: bool,
    ) -> Self {
        let (items, errors) = (Vec::new(), Vec::new());
        let placed = Vec::new();
        Self { items, errors, cleared: false, text, cvs, anchor, nul, placed, depth: 0 }
    }

    /// Rule files of these `names` have their place already.
    pub(super) fn set_placed(&mut self, names: Vec<Vec<u8>>) {
        self.placed = names;
    }

    /// From here on rules end with a NUL byte, or with a line.
    pub(super) fn set_nul(&mut self, nul: bool) {
        self.nul = nul;
    }

    /// Reads the rules of the file at `place`.
    pub(super) fn file(&mut self, text: &[u8], reading: Reading, place: &Arc<str>) {
        if self.depth == DEPTH {
            let origin = Origin { place: Arc::clone(place), line: None };
            return self.wrong(origin, b"", Fault::TooDeep(DEPTH));
        }
        self.depth += 1;
        let nul = self.nul;
        let ends_line = |byte: &u8| if nul { *byte == 0 } else { matches!(byte, b'\n' | b'\r') };
        let mut line = 1;
        for rules in text.split(ends_line) {
            let origin = || Origin { place: Arc::clone(place), line: Some(line) };
            if reading.words {
                let space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
                for word in rules.split(space).filter(|word| !word.is_empty()) {
                    self.rule(word, reading, origin());
                }
            } else if !matches!(rules, [] | [b'#' | b';', ..]) {
                self.rule(rules, reading, origin());
            }
            // A line may end in CR and LF, which is one line to people.
            let end = rules.as_ptr() as usize - text.as_ptr() as usize + rules.len();
            line += usize::from(!matches!(text.get(end..end + 2), Some(b"\r\n")));
        }
        self.depth -= 1;
    }

    /// Reads one rule.
    pub(super) fn rule(&mut self, text: &[u8], reading: Reading, origin: Origin) {
        match parse(text, reading) {
            Ok(Parsed::Clear) => {
                self.items.clear();
                self.cleared = true;
            }
            Ok(Parsed::Cvs) => self.items.push(Item::Cvs((self.cvs)())),
            Ok(Parsed::Pattern(told)) => self.pattern(&told, text, origin),
            Ok(Parsed::Merge { per_folder, excludes_itself, reading, name }) => {
                let end = name.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
                let name = &name[..end];
                let (folder, file) = match name.iter().rposition(|byte| *byte == b'/') {
                    Some(at) => (Some(&name[..=at]), &name[at + 1..]),
                    None => (None, name),
                };
                if file.is_empty() {
                    return self.wrong(origin, text, Fault::NoPattern);
                }
                if excludes_itself {
                    self.pattern(&exclude(file), text, origin.clone());
                }
                if per_folder && (self.placed.iter().any(|name| name == file) || self.places(file))
                {
                    return;
                }
                if per_folder {
                    let (name, scan_from) = (file.to_owned(), folder.map(ToOwned::to_owned));
                    let item = PerFolder { name, scan_from, reading };
                    self.items.push(Item::PerFolder(Arc::new(item)));
                    return;
                }
                match (self.text)(name) {
                    Ok(rules) => {
                        let place = Arc::from(crate::bytes::shown(name));
                        self.file(&rules, reading, &place);
                    }
                    Err(fault) => self.wrong(origin, text, fault),
                }
            }
            Err(fault) => self.wrong(origin, text, fault),
        }
    }

    fn places(&self, file: &[u8]) -> bool {
        self.items.iter().any(|item| matches!(item, Item::PerFolder(merge) if merge.name == file))
    }

    fn pattern(&mut self, told: &Told<'_>, text: &[u8], origin: Origin) {
        let frame = match (&self.anchor, told.absolute) {
            (_, true) => Frame::Source,
            (Some(anchor), false) if Pattern::is_anchored(told.pattern) => {
                Frame::Below(Arc::clone(anchor))
            }
            _ => Frame::Transfer,
        };
        self.items.push(Item::Rule(Arc::new(Rule {
            include: told.include,
            negated: told.negated,
            hides: told.sides.hides(),
            attributes: told.attributes,
            pattern: Pattern::new(told.pattern, told.absolute),
            frame,
            reason: Reason { text: text.to_owned(), origin },
        })));
    }

    fn wrong(&mut self, origin: Origin, rule: &[u8], fault: Fault) {
        self.errors.push(FilterError { origin, rule: rule.to_owned(), fault });
    }
}

/// A plain rule that excludes what is called `pattern`.
fn exclude(pattern: &[u8]) -> Told<'_> {
    let (negated, absolute, attributes) = (false, false, false);
    Told { include: false, negated, absolute, attributes, sides: Sides::default(), pattern }
}

/// Words that CVS ignores (rsync(1), `--cvs-exclude`).
const CVS: &str = "RCS SCCS CVS CVS.adm RCSLOG cvslog.* tags TAGS .make.state .nse_depinfo *~ #* .#* ,* _$* *$ \
    *.old *.bak *.BAK *.orig *.rej .del-* *.a *.olb *.o *.obj *.so *.exe *.Z *.elc *.ln core .svn/ .git/ .hg/ .bzr/";

/// The rules of CVS: its own, those of `~/.cvsignore` and those of the variable `CVSIGNORE`.
pub(super) fn cvs(home: Option<&[u8]>, variable: Option<&[u8]>) -> Arc<[Item]> {
    let reading = Reading { syntax: Syntax::Cvs, words: true, ..Reading::default() };
    let mut no_text = |_: &[u8]| Err(Fault::NotBeside);
    let no_cvs = || Arc::from([]);
    let mut reader = Reader::new(&mut no_text, &no_cvs, None, false);
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
