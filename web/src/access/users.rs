//! The users file: a line for each user, with the name, a colon and the hash of the password (argon2id).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use rustix::rand::{GetRandomFlags, getrandom};

/// Memory in KiB, passes and lanes (OWASP, Password Storage Cheat Sheet).
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Bytes of the file.
const LARGEST: u64 = 1024 * 1024;
/// A shorter password is found by trying.
const SHORTEST: usize = 8;

/// Why the users file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no such file.
    #[error("{path} does not exist; create it: web --add-user NAME", path = .0.display())]
    Absent(PathBuf),
    /// The system's error.
    #[error("{path}: {1}; check WEB_USERS_FILE, and whether this user may use the file", path = .0.display())]
    File(PathBuf, io::Error),
    /// A line that `web --add-user` does not write.
    #[error("{path}, line {1}: write NAME:HASH, as web --add-user does", path = .0.display())]
    Line(PathBuf, usize),
    /// Nobody could log in.
    #[error("{path} has no user; add one: web --add-user NAME", path = .0.display())]
    Nobody(PathBuf),
    /// A name that the file cannot hold.
    #[error("a name has letters, digits and . _ - @ only")]
    Name,
    /// The password is too short.
    #[error("a password has {SHORTEST} characters or more")]
    Password,
    /// No hash can be made.
    #[error("cannot hash the password: {0}")]
    Hash(String),
}

/// The users and the hashes of their passwords.
#[derive(Default)]
pub(crate) struct Users {
    hashes: BTreeMap<String, String>,
    /// One password is checked at a time, because each check needs memory.
    checking: Mutex<()>,
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, has no user, or a line that is not understood.
    pub(crate) fn load(path: &Path) -> Result<Self, UserError> {
        let users = Self { hashes: read(path)?, checking: Mutex::default() };
        if users.hashes.is_empty() { Err(UserError::Nobody(path.to_owned())) } else { Ok(users) }
    }

    /// The hash of the user's password, if there is such a user.
    pub(crate) fn hash(&self, name: &str) -> Option<&str> {
        self.hashes.get(name).map(String::as_str)
    }

    /// Whether the password is the user's. Takes the same time when there is no such user.
    pub(crate) fn check(&self, name: &str, password: &[u8]) -> bool {
        let _one = self.checking.lock();
        let known = self.hashes.get(name);
        let any = self.hashes.values().next();
        let Some(hash) = known.or(any) else { return false };
        let Ok(hash) = PasswordHash::new(hash) else { return false };
        let right = Argon2::default().verify_password(password, &hash).is_ok();
        right && known.is_some()
    }
}

/// Adds a user to the file, or gives a user another password. Only the owner may read a new file.
///
/// # Errors
/// The name or the password cannot be used, or the file cannot be written.
pub fn add_user(path: &Path, name: &str, password: &str) -> Result<(), UserError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(UserError::Name);
    }
    if password.chars().count() < SHORTEST {
        return Err(UserError::Password);
    }
    let mut hashes = match read(path) {
        Err(UserError::Absent(_)) => BTreeMap::new(),
        hashes => hashes?,
    };
    hashes.insert(name.to_owned(), hashed(password)?);
    let text: String = hashes.iter().map(|(name, hash)| format!("{name}:{hash}\n")).collect();
    let failed = |error| UserError::File(path.to_owned(), error);
    let new = path.with_extension("new");
    // A file that an interrupted command left.
    let _ = std::fs::remove_file(&new);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)
}

fn hashed(password: &str) -> Result<String, UserError> {
    let failed = |error: &dyn std::fmt::Display| UserError::Hash(error.to_string());
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).map_err(|error| failed(&error))?;
    let random = random::<16>().ok_or_else(|| failed(&"there are no random bytes"))?;
    let salt = SaltString::encode_b64(&random).map_err(|error| failed(&error))?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon.hash_password(password.as_bytes(), &salt).map_err(|error| failed(&error))?;
    Ok(hash.to_string())
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, UserError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => UserError::Absent(path.to_owned()),
        _ => UserError::File(path.to_owned(), error),
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST).read_to_string(&mut text))
        .map_err(failed)?;
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(at, line)| match line.split_once(':') {
            Some((name, hash)) if PasswordHash::new(hash).is_ok() => {
                Ok((name.to_owned(), hash.to_owned()))
            }
            _ => Err(UserError::Line(path.to_owned(), at + 1)),
        })
        .collect()
}

/// Random text for a session. `None` if the system has no random bytes.
pub(crate) fn token() -> Option<String> {
    Some(random::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // Up to 256 bytes come at once (getrandom(2)).
    (getrandom(&mut bytes, GetRandomFlags::empty()).ok()? == N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_added_and_checked() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        assert!(matches!(add_user(&path, "a:b", "long enough"), Err(UserError::Name)));
        assert!(matches!(add_user(&path, "ann", "short"), Err(UserError::Password)));
        assert!(matches!(Users::load(&path), Err(UserError::Absent(_))));
        add_user(&path, "ann", "long enough").unwrap();
        add_user(&path, "bob", "another one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let users = Users::load(&path).unwrap();
        assert!(users.check("ann", b"long enough"));
        assert!(!users.check("ann", b"another one"));
        assert!(
            !users.check("eve", b"long enough"),
            "the hash of the first user is not a password for others"
        );
        std::fs::write(&path, "ann:plain\n").unwrap();
        assert!(matches!(Users::load(&path), Err(UserError::Line(_, 1))));
        std::fs::write(&path, "# nobody\n").unwrap();
        assert!(matches!(Users::load(&path), Err(UserError::Nobody(_))));
    }
}
