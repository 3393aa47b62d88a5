//! The names in the folder for helpers on a host, and which of them a new copy makes superfluous. Pure.

use crate::helper::version::Version;

/// How long an upload can take, seconds. Temporary files that began earlier were left behind.
const UPLOAD_MAX: u64 = 24 * 3600;

/// The digits of the hash in a name.
const DIGITS: usize = 16;

/// The name of the copy of a program.
pub(crate) fn file_name(version: &str, hash: &str) -> String {
    format!("backup_manager-{version}-{}", &hash[..DIGITS.min(hash.len())])
}

/// The name of a file while it is being written. `now` is when the upload begins, seconds since 1970.
pub(crate) fn temporary_name(now: u64, random: u64) -> String {
    format!(".new-{now}-{random:016x}")
}

/// The version in a name that [`file_name`] made.
fn version(name: &str) -> Option<Version> {
    let (version, hash) = name.strip_prefix("backup_manager-")?.rsplit_once('-')?;
    let is_hash = hash.len() == DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_plain =
        version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
    (is_hash && is_plain).then(|| Version::read(version))
}

/// When the file with this temporary name began.
fn began(name: &str) -> Option<u64> {
    let (began, random) = name.strip_prefix(".new-")?.split_once('-')?;
    let is_random = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    began.parse().ok().filter(|_| is_random)
}

/// Whether a file is removed after a copy `new` of the version `own` works: other copies that are not newer than it,
/// and what interrupted uploads left. A newer one belongs to a newer backup machine.
pub(crate) fn is_superfluous(name: &str, new: &str, own: Version, now: u64) -> bool {
    let is_old = version(name).is_some_and(|version| version <= own);
    let is_left = began(name).is_some_and(|began| began + UPLOAD_MAX < now);
    name != new && (is_old || is_left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_copies_and_what_uploads_left_are_superfluous() {
        let now = 1_000_000;
        let new = file_name("1.2.0", &"0123456789abcdef".repeat(4));
        assert_eq!(new, "backup_manager-1.2.0-0123456789abcdef");
        let temporary = temporary_name(now - 90_000, 7);
        for (name, is_superfluous_now) in [
            (new.as_str(), false),
            ("backup_manager-1.1.0-0123456789abcdef", true),
            ("backup_manager-1.2.0-ffffffffffffffff", true),
            ("backup_manager-1.3.0-0123456789abcdef", false),
            ("backup_manager", false),
            ("backup_manager-1.1.0", false),
            ("backup_manager-$(x)-0123456789abcdef", false),
            (temporary.as_str(), true),
            (&temporary_name(now - 10, 7), false),
            (".new-1-../../x", false),
        ] {
            let found = is_superfluous(name, &new, Version::read("1.2.0"), now);
            assert_eq!(found, is_superfluous_now, "{name}");
        }
    }
}
