//! What a job wants of its source.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use engine::Filters;
use engine::fs::XattrSelection;

use crate::local::{Follow, depths};

/// What a job wants of its source.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub(crate) selection: XattrSelection,
    pub(crate) filters: Arc<Filters>,
    pub(crate) follow: Follow,
    pub(crate) depths: HashMap<PathBuf, usize>,
    pub(crate) whole_files: bool,
}

impl Asked {
    /// `selection`: the attributes to report. `filters` drop some of them. Symlinks are replaced as `follow` says;
    /// `roots` are the source roots and their paths inside a snapshot.
    #[must_use]
    pub fn new(
        selection: XattrSelection,
        filters: Arc<Filters>,
        follow: Follow,
        roots: Vec<(PathBuf, Vec<u8>)>,
    ) -> Self {
        Self { selection, filters, follow, depths: depths(roots), whole_files: false }
    }

    /// What a copy asks of snapshots: everything.
    #[must_use]
    pub fn of_snapshots() -> Self {
        let selection = XattrSelection { xattrs: true, acls: true };
        Self { selection, ..Self::default() }
    }

    /// Whether changed files are transferred whole, not as their differences from the base.
    #[must_use]
    pub fn whole_files(self, whole_files: bool) -> Self {
        Self { whole_files, ..self }
    }

    /// Whether an attribute that the far end sent belongs to the snapshot.
    pub(crate) fn keeps(&self, name: &[u8]) -> bool {
        let is_acl = name.starts_with(b"system.");
        self.selection.takes(name) && (is_acl || self.filters.keeps_attribute(name))
    }
}
