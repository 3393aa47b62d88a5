//! Names in the configuration that are not settings, and the search for the correct name of a misspelt one.

/// The variable that holds the path of the config file.
pub(crate) const CONFIG_FILE: &str = "CONFIG_FILE";
/// The variable that holds the folder of the config file, the crontab and pinned host keys.
pub(crate) const CONFIG_DIR: &str = "CONFIG_DIR";
/// The default of that folder.
pub(crate) const CONFIG_DIR_DEFAULT: &str = "/config";
/// The name of the config file in it, which is read unless another file is given.
pub(crate) const CONFIG_FILE_NAME: &str = "config.toml";

/// The name of the file in it with host keys.
pub(crate) const KNOWN_HOSTS: &str = "known_hosts";

/// The name in `known` that `given` may be a misspelling of, and its edit distance.
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
