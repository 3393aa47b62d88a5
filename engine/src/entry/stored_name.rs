//! The names under which a snapshot stores entries whose own names the destination refuses or changes. Pure.

use std::ffi::{CStr, CString};

use serde::{Deserialize, Serialize};

use crate::entry::c_name;

/// The beginning of each such name.
const PREFIX: &str = "backup_manager.name.";

/// The name under which a snapshot stores the entry `name`: ASCII, 84 bytes, always the same for the same name.
pub(crate) fn stored_name(name: &CStr) -> CString {
    let hash = blake3::hash(name.to_bytes()).to_hex();
    c_name(format!("{PREFIX}{hash}")).expect("hexadecimal digits contain no NUL")
}

/// Whether `name` begins like a stored name. An entry of the source with such a name is stored under another one, so that
/// it cannot have the stored name of another entry. The comparison ignores case, because some file systems do.
pub(crate) fn is_reserved(name: &CStr) -> bool {
    let start = name.to_bytes().get(..PREFIX.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

/// The kinds of names that a destination stores as other names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChangedNames {
    /// Names that are not UTF-8 (SeaweedFS).
    pub(crate) not_utf8: bool,
    /// Names that end with a dot (the kernel's FAT and exFAT remove it).
    pub(crate) final_dot: bool,
    /// Names that end with a space.
    pub(crate) final_space: bool,
}

impl ChangedNames {
    /// Whether there are any.
    pub(crate) fn any(self) -> bool {
        self.not_utf8 || self.final_dot || self.final_space
    }

    /// Whether the destination stores `name` as another name.
    pub(crate) fn include(self, name: &CStr) -> bool {
        let ends = |byte| name.to_bytes().last() == Some(&byte);
        self.not_utf8 && name.to_str().is_err()
            || self.final_dot && ends(b'.')
            || self.final_space && ends(b' ')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_stored_name_fits_every_file_system_and_is_reserved(
            name in prop::collection::vec(1_u8.., 1..256),
            other in prop::collection::vec(1_u8.., 1..256),
        ) {
            let (name, other) = (CString::new(name).unwrap(), CString::new(other).unwrap());
            let stored = stored_name(&name);
            prop_assert_eq!(stored.to_bytes().len(), 84);
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte);
            prop_assert!(stored.to_bytes().iter().copied().all(plain));
            prop_assert!(is_reserved(&stored) && stored != name);
            prop_assert_eq!(stored_name(&other) == stored, other == name);
        }
    }

    #[test]
    fn only_names_that_begin_like_a_stored_name_are_reserved() {
        for (name, reserved) in [
            (c"backup_manager.name.x", true),
            (c"Backup_Manager.NAME.x", true),
            (c"backup_manager.name.", true),
            (c"backup_manager.name", false),
            (c"a.backup_manager.name.x", false),
            (c"x", false),
        ] {
            assert_eq!(is_reserved(name), reserved, "{name:?}");
        }
    }
}
