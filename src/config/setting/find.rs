//! Finds the rows of the table of settings, and its default values.

use crate::config::checks::value::Raw;
use crate::config::mistake::{Mistake, SettingOrigin};
use crate::config::setting::{Key, Layer, SETTINGS, Setting};

impl Layer {
    /// The default values of the table.
    pub(crate) fn defaults(mistakes: &mut Vec<Mistake>) -> Self {
        let mut layer = Self::default();
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                let origin = SettingOrigin::default(setting.name);
                layer.set(setting.key, &Raw::Text(default.into()), origin, mistakes);
            }
        }
        layer
    }
}

/// The variables with secrets, or with paths of files that contain them. The user's commands and ssh do not
/// receive these variables.
pub(crate) fn secret_variables() -> impl Iterator<Item = String> {
    let secret = SETTINGS.iter().filter(|setting| setting.secret);
    secret.flat_map(|setting| [setting.name.to_owned(), setting.file_variable()])
}

/// The setting with this name, in upper or lower case.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
}

/// The setting with this key.
pub(crate) fn get(key: Key) -> &'static Setting {
    &SETTINGS[key as usize]
}
