//! What changed below a source root since the base, and why such changes are suspicious: values that a report stores.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entry::human::{count, counted};

/// How many signs make a run suspicious (`CHANGE_BRAKE`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChangeBrake {
    /// The brake does not judge.
    Off,
    /// Two signs.
    #[default]
    On,
    /// One sign.
    Strict,
}

/// The age of a file, in seconds, from which a change of its content is unusual: 30 days.
pub(crate) const LONG: i64 = 30 * 24 * 3600;

/// What changed below a source root since the base. Folders do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootChanges {
    /// Files whose content differs from the base's file at the same path.
    pub changed: u64,
    /// Those of them that were older than 30 days in the base.
    pub changed_old: u64,
    /// Files at paths that the base does not have.
    pub new: u64,
    /// Files of the base whose paths the source no longer has.
    pub gone: u64,
    /// Files among the new and changed ones that have the content of a gone file.
    pub renamed: u64,
    /// New and changed files whose first bytes were examined.
    pub sampled: u64,
    /// Examined files that look random, while the base's file of that name does not.
    pub turned_random: u64,
    /// Examined files that look random, and for which the base has no file.
    pub new_random: u64,
    /// Gone files that looked random in the base, as estimated by some of them. Counted only where new files look random.
    pub gone_random: u64,
    /// The highest number of new and changed files that were modified within ten minutes, after the base.
    pub burst: u64,
    /// When these ten minutes began. RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_began: Option<String>,
    /// The extensions with the most new files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<ExtensionChanges>,
    /// Paths on the source of some changed files, escaped. Those that look random come first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

impl RootChanges {
    /// Files of the base whose content is at no path of the source any more.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.changed + self.gone_for_good()
    }

    /// Files that look random and took the place of files of the base.
    #[must_use]
    pub fn scrambled(&self) -> u64 {
        let gone = self.gone_for_good().saturating_sub(self.gone_random);
        self.turned_random + self.new_random.min(gone)
    }

    /// The part of the burst that can have replaced files of the base.
    #[must_use]
    pub fn replaced_in_burst(&self) -> u64 {
        self.burst.min(self.lost())
    }

    fn gone_for_good(&self) -> u64 {
        self.gone.saturating_sub(self.renamed)
    }
}

/// The new and gone files with one extension.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExtensionChanges {
    /// The extension, without the dot.
    pub extension: String,
    /// New files with it, without renamed ones that had it before.
    pub new: u64,
    /// Gone files with it.
    pub gone: u64,
}

/// A sign of a mass change that may be unwanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "sign", rename_all = "snake_case")]
pub enum Sign {
    /// Many files changed or vanished.
    Share {
        /// How many.
        files: u64,
        /// The number that most runs before did not exceed.
        usual: u64,
    },
    /// Many files changed that had not changed for 30 days. It counts as one sign with [`Sign::Share`].
    Old {
        /// How many.
        files: u64,
        /// The number that most runs before did not exceed.
        usual: u64,
    },
    /// Many new files have an extension that is new too.
    Extension {
        /// How many.
        files: u64,
        /// The extension, without the dot.
        extension: String,
    },
    /// Files that did not look random before look random now.
    Content {
        /// How many.
        files: u64,
        /// The number that most runs before did not exceed.
        usual: u64,
    },
    /// Many files changed within ten minutes.
    Burst {
        /// How many.
        files: u64,
        /// When. RFC 3339, UTC.
        began: Option<String>,
    },
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = |number: u64| counted(number, "file", "files");
        match self {
            Self::Share { files: lost, usual } => {
                write!(
                    f,
                    "{} changed or vanished (usually at most {})",
                    files(*lost),
                    count(*usual)
                )
            }
            Self::Old { files: old, usual } => write!(
                f,
                "{} changed that had not changed for 30 days (usually at most {})",
                files(*old),
                count(*usual)
            ),
            Self::Extension { files: new, extension } => {
                write!(
                    f,
                    "{} with the new extension .{extension}",
                    counted(*new, "new file", "new files")
                )
            }
            Self::Content { files: random, usual } => write!(
                f,
                "{} became unreadable, as if encrypted (usually at most {})",
                files(*random),
                count(*usual)
            ),
            Self::Burst { files: changed, .. } => {
                write!(f, "{} changed within ten minutes", files(*changed))
            }
        }
    }
}

/// A mass change below a source root that may be unwanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Suspicion {
    /// The root's path on the source, escaped.
    pub path: String,
    /// Files below the root in the base.
    pub files: u64,
    /// The signs that coincide.
    pub signs: Vec<Sign>,
    /// Since when. RFC 3339, UTC.
    pub since: String,
    /// How many runs saw it: 1, or more for a slow change.
    pub runs: u64,
    /// The newest snapshot from before the change.
    pub good: Option<String>,
    /// Paths on the source of some of the files, escaped.
    pub examples: Vec<String>,
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, files, signs, runs, .. } = self;
        write!(f, "{path}, of {}: ", counted(*files, "file", "files"))?;
        for (number, sign) in signs.iter().enumerate() {
            write!(f, "{}{sign}", if number == 0 { "" } else { "; " })?;
        }
        match runs {
            0 | 1 => Ok(()),
            runs => write!(f, "; in the last {runs} runs"),
        }
    }
}

/// That pruning is frozen because of a mass change, until the hold of a snapshot is released.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Freeze {
    /// The held snapshot: the newest one from before the change.
    pub held: String,
    /// Since when the change goes on. RFC 3339, UTC; empty when that is not known.
    pub since: String,
    /// The snapshot in which a run noticed it.
    pub noticed: String,
    /// The change, in one line.
    pub what: String,
    /// Paths on the source of some of the files, escaped.
    pub examples: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_renamed_is_not_lost_and_new_files_alone_replace_nothing() {
        let changes = RootChanges {
            changed: 5,
            new: 100,
            gone: 40,
            renamed: 30,
            turned_random: 2,
            new_random: 90,
            burst: 105,
            ..RootChanges::default()
        };
        assert_eq!((changes.lost(), changes.scrambled()), (15, 12));
        // An encrypted archive that was packed anew looked random before.
        let packed = RootChanges { gone_random: 7, ..changes.clone() };
        assert_eq!((packed.lost(), packed.scrambled()), (15, 5));
        assert_eq!(changes.replaced_in_burst(), 15);
    }

    #[test]
    fn a_suspicion_is_one_line_with_numbers() {
        let share = Sign::Share { files: 1200, usual: 7 };
        let extension = Sign::Extension { files: 1, extension: "locked".to_owned() };
        let suspicion = Suspicion {
            path: "/home".to_owned(),
            files: 1500,
            signs: vec![share, extension],
            runs: 3,
            ..Suspicion::default()
        };
        let line = "/home, of 1,500 files: 1,200 files changed or vanished (usually at most 7); 1 new file with the new extension .locked; in the last 3 runs";
        assert_eq!(suspicion.to_string(), line);
    }
}
