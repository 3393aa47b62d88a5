//! What of its sources a run left out, and by which rules, as its report keeps it: a restore that removes
//! what a snapshot does not hold has to know what that run never looked at.

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

/// The most text that a report keeps of rules, lists and rule files, bytes. Where there is more, it keeps
/// nothing of them, and so does not tell what was left out.
const MOST_TEXT: usize = 1 << 20;

/// What a run left out, and by which rules. Texts are escaped as [`crate::entry::escape::Shown`] does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent switch of rsync's")]
pub struct Coverage {
    /// The options that filter, in their order.
    pub filters: Vec<GivenFilter>,
    /// The files that they name: path as it was given, and content.
    pub files: Vec<(String, String)>,
    /// The content of `~/.cvsignore`, for `-C`.
    pub cvs_home: Option<String>,
    /// The variable `CVSIGNORE`, for `-C`.
    pub cvs_variable: Option<String>,
    /// The rule files and tags that were found in folders of the sources, and above them.
    pub rule_files: Vec<RuleFile>,
    /// What `--files-from` listed.
    pub files_from: Option<GivenList>,
    /// Symlinks were taken.
    pub symlinks: bool,
    /// Device nodes were taken.
    pub devices: bool,
    /// Fifos and sockets were taken.
    pub specials: bool,
    /// `--safe-links`
    pub safe_links: bool,
    /// `--max-size`, bytes.
    pub max_size: Option<u64>,
    /// `--min-size`, bytes.
    pub min_size: Option<u64>,
    /// `-m`
    pub prune_empty: bool,
    /// Folders that the run did not go into, by their paths on the source: other file systems (`-x`) and
    /// the backups folder.
    pub not_entered: Vec<String>,
}

/// An option that filters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenFilter {
    /// Its name in `rsync(1)`.
    pub option: String,
    /// Its value; empty when it has none.
    pub value: String,
}

/// A rule file or tag of one folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFile {
    /// The folder's path on the source; empty for `/`.
    pub folder: String,
    /// The file's name.
    pub name: String,
    /// Its content; of a tag as much as makes it one.
    pub text: String,
}

/// The list of `--files-from`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenList {
    /// Its content.
    pub list: String,
    /// Its lines end in NUL bytes.
    pub nul: bool,
    /// Folders are taken with all below them.
    pub recursive: bool,
}

/// The rule files and tags that a walk has met.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    files: BTreeMap<(Vec<u8>, Vec<u8>), Vec<u8>>,
    bytes: usize,
}

impl Noted {
    /// Notes what counted in `folder`, by name.
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
    /// What a run of `job` leaves out that has met the rule files `noted`; `None` when that is too much
    /// to be kept.
    pub(crate) fn of(job: &Job, noted: &Noted) -> Option<Self> {
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

    /// The filters of that run; `None` when they cannot be read back.
    pub(crate) fn read_filters(&self) -> Option<Arc<Filters>> {
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

    /// What `--files-from` took; `None` when it cannot be read back.
    pub(crate) fn read_selection(&self) -> Option<Option<Selection>> {
        let Some(given) = &self.files_from else { return Some(None) };
        let list = unshown(&given.list)?;
        Selection::read(&list, given.nul, given.recursive).ok().map(Some)
    }

    /// Which kinds and sizes of entries were taken.
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
