//! Where a restore goes: parses `--to`, and how the machine that it names is reached.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use engine::entry::escape::shown;
use transport::ssh::connect::address::Address;

use crate::config::host_dir;
use crate::config::rsync::shell::Shell;
use crate::exit::Exit;
use crate::snapshots::restore_host::Line;
use crate::term::print::fail;

/// The options for a folder on another machine.
#[derive(Debug, clap::Args)]
pub(super) struct LineArgs {
    /// Port of that machine's sshd, unless ssh's configuration has it
    #[arg(long, value_name = "PORT", requires = "to")]
    ssh_port: Option<u16>,
    /// Reach that machine with these options of ssh, as with rsync's -e: 'ssh -i KEYFILE'
    #[arg(short = 'e', long, value_name = "COMMAND", requires = "to")]
    rsh: Option<String>,
    /// Compress what goes to that machine
    #[arg(short = 'z', long, requires = "to")]
    compress: bool,
}

/// The target of a restore.
pub(super) enum TargetArgs {
    /// A folder of this machine, and how it was given.
    Folder(PathBuf, OsString),
    Host(Address, Vec<u8>, Line),
    InPlace,
}

/// Parses the value of `--to`.
///
/// # Errors
/// The exit code; the mistake is already printed.
pub(super) fn target(to: OsString, line: LineArgs) -> Result<TargetArgs, Exit> {
    parse(to, line).map_err(|mistake| {
        fail(&mistake);
        Exit::Usage
    })
}

fn parse(to: OsString, line: LineArgs) -> Result<TargetArgs, String> {
    let bytes = to.as_bytes();
    if bytes.is_empty() {
        return Err("--to is empty; name a folder".to_owned());
    }
    if bytes == b"-" {
        return Err(
            "--to -: a restore writes into a folder; name one, or ./- for a folder of that name"
                .to_owned(),
        );
    }
    if bytes.starts_with(b"~") {
        let to = shown(bytes);
        return Err(format!(
            "--to {to}: only a shell knows '~'; write the full path (or ./{to} for that name)"
        ));
    }
    if let Some((host, dir)) = host_dir::split(bytes) {
        return on_host((host, dir), bytes, line);
    }
    if let Some((host, dir)) = without_colon(bytes) {
        let (to, host, dir) = (shown(bytes), shown(host), shown(dir));
        return Err(format!(
            "--to {to}: a folder of another machine has a colon behind the host; write --to {host}:{}, or ./{to} for a folder here",
            if dir.is_empty() { "DIR" } else { &dir }
        ));
    }
    let of_hosts = [
        ("--ssh-port", line.ssh_port.is_some()),
        ("--rsh", line.rsh.is_some()),
        ("--compress", line.compress),
    ];
    if let Some((option, _)) = of_hosts.iter().find(|(_, given)| *given) {
        return Err(format!(
            "{option} is for a folder on another machine; write --to user@host:DIR"
        ));
    }
    let here = std::env::current_dir().unwrap_or_default();
    Ok(TargetArgs::Folder(here.join(PathBuf::from(&to)), to))
}

fn on_host(
    (host, dir): (&[u8], &[u8]),
    to: &[u8],
    LineArgs { ssh_port, rsh, compress }: LineArgs,
) -> Result<TargetArgs, String> {
    let to = shown(to);
    if let Some((port, rest)) = host_dir::port_before(dir) {
        let (host, port, rest) = (shown(host), shown(port), shown(rest));
        return Err(format!(
            "--to {to}: the port has an option of its own; write --to {host}:{rest} --ssh-port {port}, or {host}:./{port}:{rest} for a folder of that name"
        ));
    }
    if dir.starts_with(b"~") && !dir.starts_with(b"~/") && dir != b"~" {
        let (host, dir) = (shown(host), shown(dir));
        return Err(format!(
            "--to {to}: ~/ is the home of the user who logs in, and no other home is known; write the full path, or {host}:./{dir} for a folder of that name"
        ));
    }
    let shell = rsh.map(|rsh| Shell::read(&rsh).map_err(|wrong| format!("--rsh: {wrong}")));
    let shell = shell.transpose()?;
    let address = host_dir::address(host, ssh_port).map_err(|error| {
        format!(
            "--to {to}: {error}; write user@host:DIR or user@[v6]:DIR, or ./{to} for a folder here"
        )
    })?;
    let (user, port) =
        shell.as_ref().map_or((None, None), |shell| (shell.user.as_deref(), shell.port));
    let address = address.with(user, port).map_err(|error| format!("--rsh: {error}"))?;
    Ok(TargetArgs::Host(address, dir.to_vec(), Line { shell, compress }))
}

/// The account and the path of `user@host` or `user@host/path`, unless there is a folder of that name. A restore to
/// `user@host` alone may have made one by mistake.
fn without_colon(to: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = to.iter().position(|byte| *byte == b'/').unwrap_or(to.len());
    let (first, rest) = to.split_at(slash);
    let at = first.iter().position(|byte| *byte == b'@')?;
    let is_account = at > 0 && at + 1 < first.len() && !first.starts_with(b".");
    let is_folder = !rest.is_empty() && Path::new(std::ffi::OsStr::from_bytes(first)).is_dir();
    (is_account && !is_folder).then_some((first, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_without_a_colon_is_no_folder() {
        for (to, expected) in [
            ("bob@nas", Some(("bob@nas", ""))),
            ("bob@nas/srv/x", Some(("bob@nas", "/srv/x"))),
            ("nas", None),
            ("./bob@nas", None),
            ("/srv/bob@nas", None),
            ("mail/bob@nas", None),
            ("@home", None),
            ("home@", None),
        ] {
            let found = without_colon(to.as_bytes());
            let expected = expected.map(|(host, dir)| (host.as_bytes(), dir.as_bytes()));
            assert_eq!(found, expected, "{to}");
        }
    }
}
