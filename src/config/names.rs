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

/// The name in `known` that `given` may be a misspelling of: the nearest one that is at most `most` edits away.
///
/// Every command compares every variable of the environment with every setting, so most pairs have to be refused without
/// computing the distance: an edit changes the length by at most one character, and exchanges at most one character for another.
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
    most: usize,
) -> Option<&'a str> {
    let given = given.to_lowercase();
    let length = given.chars().count();
    let near = |name: &'a str| {
        let lower = name.to_lowercase();
        let possible =
            lower.chars().count().abs_diff(length) <= most && exchanged(&given, &lower) <= 2 * most;
        let distance = possible.then(|| strsim::damerau_levenshtein(&given, &lower))?;
        (distance <= most).then_some((name, distance))
    };
    let nearest = known.into_iter().filter_map(near).min_by_key(|(_, distance)| *distance);
    nearest.map(|(name, _)| name)
}

/// The name in `known` that `given` may be a misspelling of, where nothing but these names is possible.
pub(crate) fn meant<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest(given, known, given.len().saturating_sub(1).min(3))
}

/// How many characters of either text the other one lacks, in any order. Some that differ count as equal.
fn exchanged(one: &str, other: &str) -> usize {
    let mut surplus = [0_isize; 32];
    one.chars().for_each(|character| surplus[character as usize % 32] += 1);
    other.chars().for_each(|character| surplus[character as usize % 32] -= 1);
    surplus.iter().map(|count| count.unsigned_abs()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// The quick refusal never loses a name that is near.
        #[test]
        fn the_nearest_name_is_found(given in "[a-cA-C_é]{0,8}", known in proptest::collection::vec("[a-cA-C_é]{0,8}", 0..6)) {
            for most in 0..4 {
                let distance = |name: &str| strsim::damerau_levenshtein(&given.to_lowercase(), &name.to_lowercase());
                let expected = known.iter().map(|name| distance(name)).min().filter(|distance| *distance <= most);
                let found = nearest(&given, known.iter().map(String::as_str), most);
                proptest::prop_assert_eq!(found.map(distance), expected);
            }
        }
    }
}
