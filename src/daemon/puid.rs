//! `PUID` and `PGID`: the user that the program switches to when root starts it. They belong to the container
//! image. They are read only from the environment, because they apply before anything else is read.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, io};

use rustix::process::geteuid;

/// A user and its only group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The user that this process must switch to; `None` if it need not switch.
///
/// # Errors
/// What is wrong with `PUID` or `PGID`.
pub(crate) fn to_become() -> Result<Option<Identity>, String> {
    let value = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let asked = asked(value("PUID").as_deref(), value("PGID").as_deref())?;
    // Only root can switch to another user, and root need not switch to root.
    Ok(asked.filter(|asked| geteuid().is_root() && asked.uid != 0))
}

fn asked(puid: Option<&str>, pgid: Option<&str>) -> Result<Option<Identity>, String> {
    let number = |name: &str, value: Option<&str>| match value.map(str::trim) {
        None | Some("") => Ok(None),
        Some(value) => match value.parse::<u32>() {
            // The largest number means "no change" to system calls (chown(2)).
            Ok(number) if number != u32::MAX => Ok(Some(number)),
            _ => Err(format!(
                "environment: {name}: '{value}' is not a number of a user or group; write what `id` shows, for example {name}=1000"
            )),
        },
    };
    match (number("PUID", puid)?, number("PGID", pgid)?) {
        (Some(uid), gid) => Ok(Some(Identity { uid, gid: gid.unwrap_or(uid) })),
        (None, None) => Ok(None),
        (None, Some(_)) => {
            Err("environment: PGID: PUID is not set; set both, or neither".to_owned())
        }
    }
}

/// Executes this program again in the same process, as `identity` and with no other group. The kernel then
/// drops all capabilities. Returns only on failure.
pub(crate) fn become_other(identity: Identity) -> io::Error {
    let mut command = Command::new("/proc/self/exe");
    command.args(env::args_os().skip(1)).uid(identity.uid).gid(identity.gid);
    if let Some(name) = env::args_os().next() {
        command.arg0(name);
    }
    command.exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_and_anything_else_is_named() {
        let is = |uid, gid| Ok(Some(Identity { uid, gid }));
        for (puid, pgid, expected) in [
            (None, None, Ok(None)),
            (Some(""), Some(""), Ok(None)),
            (Some("1000"), None, is(1000, 1000)),
            (Some(" 1000 "), Some("100"), is(1000, 100)),
            (Some("0"), Some("0"), is(0, 0)),
        ] {
            assert_eq!(asked(puid, pgid), expected);
        }
        for (puid, pgid) in [
            (Some("user"), None),
            (Some("-1"), None),
            (Some("4294967295"), None),
            (Some("1000"), Some("users")),
            (None, Some("100")),
        ] {
            assert!(asked(puid, pgid).is_err(), "{puid:?} {pgid:?}");
        }
    }
}
