//! Names of the configuration beside the settings, and the search for the name that a misspelt one stands for.

/// The variable that holds the path of the config file.
pub(crate) const CONFIG_FILE: &str = "CONFIG_FILE";
/// The variable that holds the folder of the config file, the crontab and pinned host keys.
pub(crate) const CONFIG_DIR: &str = "CONFIG_DIR";
/// That folder where the variable is not set.
pub(crate) const CONFIG_DIR_DEFAULT: &str = "/config";
/// The config file in it, which is read where no other is given.
pub(crate) const CONFIG_FILE_NAME: &str = "config.toml";

/// The file in it with the keys of hosts.
pub(crate) const KNOWN_HOSTS: &str = "known_hosts";

/// The one of `known` that `given` may have been meant to be, and how many edits it is away.
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<(&'a str, usize)> {
    let given = given.to_lowercase();
    known
        .into_iter()
        .map(|name| (name, strsim::damerau_levenshtein(&given, &name.to_lowercase())))
        .min_by_key(|(_, distance)| *distance)
}
