//! A row of the table of settings.

/// One setting, which `Key` names.
#[derive(Debug)]
pub(crate) struct SettingRow<Key> {
    pub(crate) key: Key,
    /// Its name as an environment variable and in the config file.
    pub(crate) name: &'static str,
    /// The placeholder for its value in the help.
    pub(crate) value: &'static str,
    /// The help text, one line.
    pub(crate) help: &'static str,
    /// The value if no layer gives one.
    pub(crate) default: Option<&'static str>,
    /// A value in TOML for the example file; empty means the default.
    pub(crate) example: &'static str,
    /// Whether a `[[job]]` entry may set it.
    pub(crate) per_job: bool,
    /// The type that the config file accepts in addition to a text or a number.
    pub(crate) takes: ValueTypes,
    /// Whether the value is a secret or contains one. It is never shown and has no flag, because every user
    /// of the machine can read command lines.
    pub(crate) secret: bool,
    /// Whether it has a flag. A secret never has one.
    pub(crate) flag: bool,
    /// Whether the value of its flag may begin with a hyphen.
    pub(crate) hyphens: bool,
    /// Whether quotes around the whole value may be meant: they belong to a command or to JSON, or there is
    /// another check for them.
    pub(crate) quotes: bool,
}

/// The types that a value in the config file may have in addition to text and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueTypes {
    Text,
    List,
    Table,
}

impl<Key> SettingRow<Key> {
    /// A row that sets nothing but its key.
    pub(crate) const fn plain(key: Key) -> Self {
        Self {
            key,
            name: "",
            value: "",
            help: "",
            default: None,
            example: "",
            per_job: true,
            takes: ValueTypes::Text,
            secret: false,
            flag: true,
            hyphens: false,
            quotes: false,
        }
    }

    /// The flag, without dashes.
    pub(crate) fn flag(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }

    /// Whether it can be given on the command line.
    pub(crate) fn has_flag(&self) -> bool {
        self.flag && !self.secret
    }

    /// The name of the variable with the path of a file that contains the value.
    pub(crate) fn file_variable(&self) -> String {
        format!("{}_FILE", self.name)
    }
}
