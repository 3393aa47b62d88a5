//! Records what a run left out of its sources, and by which rules. A restore with `--delete` removes what a
//! snapshot does not contain, so it must know what the run did not read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::entry::escape::{shown, unshown};
use crate::entry::preserve::Preserve;
use crate::filter::filters::{FilterOption, Filters};
use crate::filter::options::Outside;
use crate::job::Job;
use crate::source::files_from::Selection;

/// The maximum size of the rules, lists and rule files in a report, bytes. When they are larger, the report
/// omits all of them, and a restore cannot determine what the run left out.
const MOST_TEXT: usize = 1 << 20;

/// What a run left out, and by which rules. Texts are escaped as [`crate::entry::escape::Shown`] does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent switch of rsync's")]
pub struct Coverage {
    /// The filter options, in their order.
    pub filters: Vec<GivenFilter>,
    /// The files that the options name: the path as given, and the content.
    pub files: Vec<(String, String)>,
    /// The content of `~/.cvsignore`, for `-C`.
    pub cvs_home: Option<String>,
    /// The variable `CVSIGNORE`, for `-C`.
    pub cvs_variable: Option<String>,
    /// The rule files and tags found in folders of the sources, and above them.
    pub rule_files: Vec<RuleFile>,
    /// The list of `--files-from`.
    pub files_from: Option<GivenList>,
    /// The run backed up symlinks.
    pub symlinks: bool,
    /// The run backed up device nodes.
    pub devices: bool,
    /// The run backed up fifos and sockets.
    pub specials: bool,
    /// `--safe-links`
    pub safe_links: bool,
    /// `--max-size`, bytes.
    pub max_size: Option<u64>,
    /// `--min-size`, bytes.
    pub min_size: Option<u64>,
    /// `-m`
    pub prune_empty: bool,
    /// Folders that the run did not enter, by their paths on the source: other file systems (`-x`) and the
    /// backups folder.
    pub not_entered: Vec<String>,
}

/// A filter option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenFilter {
    /// The name of the option in `rsync(1)`.
    pub option: String,
    /// The value of the option; empty when it has none.
    pub value: String,
}

/// A rule file or tag of one folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFile {
    /// The folder's path on the source; empty for `/`.
    pub folder: String,
    /// The file's name.
    pub name: String,
    /// The file's content. For a tag, only the part that identifies it as a tag.
    pub text: String,
}

/// The list of `--files-from`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenList {
    /// The content of the list.
    pub list: String,
    /// NUL bytes end the lines.
    pub nul: bool,
    /// A listed folder includes everything below it.
    pub recursive: bool,
}

/// The rule files and tags that a walk found.
#[derive(Debug, Default)]
pub(crate) struct FoundRules {
    files: BTreeMap<(Vec<u8>, Vec<u8>), Vec<u8>>,
    bytes: usize,
}

impl FoundRules {
    /// Records the rule files and tags that applied in `folder`, by name.
    pub(crate) fn add(&mut self, folder: &[u8], used: Vec<(Vec<u8>, Vec<u8>)>) {
        for (name, text) in used {
            if self.bytes > MOST_TEXT {
                return;
            }
            self.bytes += folder.len() + name.len() + text.len();
            self.files.insert((folder.to_vec(), name), text);
        }
    }
}

impl Coverage {
    /// What a run of `job` leaves out, where it found the rule files `noted`. `None` when the texts are too
    /// large to store.
    pub(crate) fn of(job: &Job, noted: &FoundRules) -> Option<Self> {
        let given = job.filters.given()?;
        let list = match &job.selection {
            None => None,
            Some(selection) => Some(selection.given()?),
        };
        let texts = given.files.values().map(Vec::len).sum::<usize>() + noted.bytes;
        let lists = list.map_or(0, |(list, ..)| list.len());
        if texts + lists > MOST_TEXT {
            return None;
        }
        let file = |((folder, name), text): (&(Vec<u8>, Vec<u8>), &Vec<u8>)| RuleFile {
            folder: shown(folder),
            name: shown(name),
            text: shown(text),
        };
        let keep = &job.keep;
        Some(Self {
            filters: given.options.iter().map(given_filter).collect(),
            files: given
                .files
                .iter()
                .map(|(path, text)| (shown(path.as_os_str().as_bytes()), shown(text)))
                .collect(),
            cvs_home: given.cvs_home.as_deref().map(shown),
            cvs_variable: given.cvs_variable.as_deref().map(shown),
            rule_files: noted.files.iter().map(file).collect(),
            files_from: list.map(|(list, nul, recursive)| GivenList {
                list: shown(list),
                nul,
                recursive,
            }),
            symlinks: keep.symlinks,
            devices: keep.devices,
            specials: keep.specials,
            safe_links: keep.safe_links,
            max_size: keep.max_size,
            min_size: keep.min_size,
            prune_empty: job.prune_empty,
            not_entered: Vec::new(),
        })
    }

    /// The filters of that run; `None` when they cannot be parsed.
    #[must_use]
    pub fn read_filters(&self) -> Option<Arc<Filters>> {
        let options = self.filters.iter().map(option).collect::<Option<Vec<_>>>()?;
        let options: Vec<_> = options.into_iter().map(|option| (option, String::new())).collect();
        let files = self.files.iter().map(|(path, text)| {
            Some((PathBuf::from(OsString::from_vec(unshown(path)?)), unshown(text)?))
        });
        let files = files.collect::<Option<BTreeMap<_, _>>>()?;
        let text = |text: &Option<String>| match text {
            None => Some(None),
            Some(text) => unshown(text).map(Some),
        };
        let (home, cvs_variable) = (text(&self.cvs_home)?, text(&self.cvs_variable)?);
        let read = |path: &Path| {
            files.get(path).cloned().ok_or_else(|| std::io::ErrorKind::NotFound.into())
        };
        let outside = Outside { read: &read, cvs_home: &|| home.clone(), cvs_variable };
        Filters::read(&options, &outside).ok().map(Arc::new)
    }

    /// The selection of `--files-from`; `None` when it cannot be parsed.
    #[must_use]
    pub fn read_selection(&self) -> Option<Option<Selection>> {
        let Some(given) = &self.files_from else { return Some(None) };
        let list = unshown(&given.list)?;
        Selection::read(&list, given.nul, given.recursive).ok().map(Some)
    }

    /// The kinds and sizes of entries that the run backed up.
    pub(crate) fn keep(&self) -> Preserve {
        Preserve {
            symlinks: self.symlinks,
            devices: self.devices,
            specials: self.specials,
            safe_links: self.safe_links,
            max_size: self.max_size,
            min_size: self.min_size,
            ..Preserve::default()
        }
    }
}

fn given_filter(option: &FilterOption) -> GivenFilter {
    let (option, value): (_, &[u8]) = match option {
        FilterOption::Exclude(value) => ("exclude", value),
        FilterOption::Include(value) => ("include", value),
        FilterOption::Rule(value) => ("filter", value),
        FilterOption::ExcludeFrom(path) => ("exclude-from", path.as_os_str().as_bytes()),
        FilterOption::IncludeFrom(path) => ("include-from", path.as_os_str().as_bytes()),
        FilterOption::RuleFiles => ("F", b""),
        FilterOption::Cvs => ("cvs-exclude", b""),
        FilterOption::Nul => ("from0", b""),
        FilterOption::Caches => ("exclude-caches", b""),
        FilterOption::IfPresent(value) => ("exclude-if-present", value),
    };
    GivenFilter { option: option.to_owned(), value: shown(value) }
}

fn option(given: &GivenFilter) -> Option<FilterOption> {
    let value = unshown(&given.value)?;
    let path = |value| PathBuf::from(OsString::from_vec(value));
    Some(match given.option.as_str() {
        "exclude" => FilterOption::Exclude(value),
        "include" => FilterOption::Include(value),
        "filter" => FilterOption::Rule(value),
        "exclude-from" => FilterOption::ExcludeFrom(path(value)),
        "include-from" => FilterOption::IncludeFrom(path(value)),
        "F" => FilterOption::RuleFiles,
        "cvs-exclude" => FilterOption::Cvs,
        "from0" => FilterOption::Nul,
        "exclude-caches" => FilterOption::Caches,
        "exclude-if-present" => FilterOption::IfPresent(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_that_filters_comes_back_from_a_report() {
        let all = [
            FilterOption::Exclude(b"*.\xff".to_vec()),
            FilterOption::Include(b"\\*".to_vec()),
            FilterOption::Rule(b"- *.tmp".to_vec()),
            FilterOption::ExcludeFrom("a".into()),
            FilterOption::IncludeFrom("b".into()),
            FilterOption::RuleFiles,
            FilterOption::Cvs,
            FilterOption::Nul,
            FilterOption::Caches,
            FilterOption::IfPresent(b".nobackup".to_vec()),
        ];
        for given in all {
            assert_eq!(option(&given_filter(&given)), Some(given));
        }
        let unknown = GivenFilter { option: "later".to_owned(), value: String::new() };
        assert_eq!(option(&unknown), None);
    }

    #[test]
    fn a_report_that_knows_nothing_of_kinds_took_none_of_them() {
        let old: Coverage = serde_json::from_str("{}").unwrap();
        assert!(!old.keep().symlinks && !old.keep().devices && !old.keep().specials);
    }
}
