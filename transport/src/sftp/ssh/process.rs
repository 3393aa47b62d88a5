//! Starts the `ssh` processes.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;

use crate::sftp::options::Options;
use crate::sftp::ssh::address::Address;
use crate::sftp::ssh::control_dir::SocketDir;
use crate::sftp::ssh::software::LOG_VERBOSE;
use crate::sftp::ssh::user_entry;

/// Maximum bytes kept of ssh's error output.
pub(crate) const SAID: usize = 16 * 1024;

/// How long to wait for a connection. The rest of the time limit is for ending ssh.
pub(crate) fn patience(options: &Options) -> Duration {
    options.connect_timeout * 9 / 10
}

/// Keeps ssh's messages. Reads until ssh closes the pipe, so that ssh never blocks on it.
pub(crate) async fn listen(err: Receiver, into: &RefCell<Vec<u8>>) {
    let mut buffer = [0; 1024];
    while err.readable().await.is_ok() {
        match err.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                let mut into = into.borrow_mut();
                let room = SAID.saturating_sub(into.len());
                into.extend_from_slice(&buffer[..count.min(room)]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// The option with ssh's default host key files and one more (ssh_config(5)).
pub(crate) fn host_key_files(more: &Path) -> OsString {
    let mut option = OsString::from("UserKnownHostsFile=~/.ssh/known_hosts ~/.ssh/known_hosts2 \"");
    // ssh expands `%` sequences in the path.
    let bytes = more.as_os_str().as_bytes();
    let doubled = bytes
        .iter()
        .flat_map(|byte| if *byte == b'%' { &b"%%"[..] } else { std::slice::from_ref(byte) });
    option.push(OsStr::from_bytes(&doubled.copied().collect::<Vec<u8>>()));
    option.push("\"");
    option
}

/// Prepares an `ssh` command with English messages, the stand-in account where one is needed, and its own
/// process group. Ctrl-C on a terminal then reaches only this program, which ends ssh.
pub(crate) fn started(options: &Options) -> Command {
    let mut ssh = Command::new(&options.ssh);
    ssh.env("LC_ALL", "C").process_group(0);
    for variable in &options.withheld {
        ssh.env_remove(variable);
    }
    ssh.envs(user_entry::stand_in().iter().flat_map(|account| account.variables.clone()));
    if let Some(config) = &options.config {
        ssh.arg("-F").arg(config);
    }
    ssh
}

pub(crate) fn command(address: &Address, options: &Options, control: &SocketDir) -> Command {
    let mut ssh = started(options);
    // ssh uses the first value of each option, so these precede every configuration file.
    for option in [
        // Older versions do not know these options.
        "IgnoreUnknown=LogVerbose,RemoteCommand,UpdateHostKeys,ForkAfterAuthentication,StdinNull,SessionType",
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "ForwardAgent=no",
        "ForwardX11=no",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "RemoteCommand=none",
        "ForkAfterAuthentication=no",
        "StdinNull=no",
        "RequestTTY=no",
        "LogLevel=ERROR",
        LOG_VERBOSE,
        "ControlMaster=yes",
        "ControlPersist=no",
    ] {
        ssh.arg("-o").arg(option);
    }
    let seconds = patience(options).as_secs().max(1);
    ssh.arg("-o").arg(format!("ConnectTimeout={seconds}"));
    if options.compress {
        ssh.arg("-C");
    }
    ssh.args(&options.args);
    // After the user's options, so that the user's values take precedence.
    for option in ["ServerAliveInterval=15", "ServerAliveCountMax=3"] {
        ssh.arg("-o").arg(option);
    }
    ssh.arg("-S").arg(control.socket());
    if let Some(known_hosts) = &options.known_hosts {
        ssh.arg("-o").arg(host_key_files(known_hosts));
    }
    ssh.arg("-s");
    let mut ssh = with_host(ssh, address);
    ssh.arg("sftp");
    ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    ssh
}

/// Appends the host's address.
pub(crate) fn with_host(mut ssh: Command, address: &Address) -> Command {
    if let Some(port) = address.port() {
        ssh.arg("-p").arg(port.to_string());
    }
    if let Some(user) = address.user() {
        ssh.arg("-l").arg(user);
    }
    ssh.arg("--").arg(address.host());
    ssh
}
