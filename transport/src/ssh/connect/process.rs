//! Starts the `ssh` processes.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use crate::ssh::connect::address::Address;
use crate::ssh::connect::control_dir::SocketDir;
use crate::ssh::connect::software::LOG_VERBOSE;
use crate::ssh::connect::user_entry;
use crate::ssh::options::{Compression, Options};
use crate::ssh::service::Start;

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

/// The option with the host key files of ssh's settings and one more (ssh_config(5)).
pub(crate) fn host_key_files(files: &[String], more: &Path) -> OsString {
    let mut option = OsString::from("UserKnownHostsFile=");
    if files.is_empty() {
        option.push("~/.ssh/known_hosts ~/.ssh/known_hosts2 ");
    }
    for file in files {
        option.push(format!("\"{file}\" "));
    }
    option.push("\"");
    // ssh expands `%` sequences in the path.
    let bytes = more.as_os_str().as_bytes();
    let doubled = bytes
        .iter()
        .flat_map(|byte| if *byte == b'%' { &b"%%"[..] } else { std::slice::from_ref(byte) });
    option.push(OsStr::from_bytes(&doubled.copied().collect::<Vec<u8>>()));
    option.push("\"");
    option
}

/// The program that starts another one in a session without a terminal (setsid(1)), if this process has a
/// terminal. There a program behind ssh, such as a `ProxyCommand`, could ask a question, and would be stopped
/// for it.
fn setsid() -> Option<&'static Path> {
    let programs = ["/usr/bin/setsid", "/bin/setsid"].map(Path::new);
    let has_terminal = std::fs::File::open("/dev/tty").is_ok();
    programs.into_iter().find(|program| has_terminal && program.exists())
}

/// Whether `program` can be started: setsid(1) does not report it in the way that this process does.
fn is_there(program: &Path) -> bool {
    if program.as_os_str().as_bytes().contains(&b'/') {
        return program.exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

/// Prepares an `ssh` command with English messages, the stand-in account where one is needed, no way to ask
/// a question, and its own process group. Ctrl-C on a terminal then reaches only this program, which ends ssh.
pub(crate) fn started(options: &Options) -> Command {
    let mut ssh = match setsid().filter(|_| is_there(&options.ssh)) {
        // Without a process group of its own, setsid(1) does not start a further process.
        Some(setsid) => {
            let mut ssh = Command::new(setsid);
            ssh.arg(&options.ssh);
            ssh
        }
        None => {
            let mut ssh = Command::new(&options.ssh);
            ssh.process_group(0);
            ssh
        }
    };
    ssh.env("LC_ALL", "C").env("SSH_ASKPASS_REQUIRE", "never");
    for variable in &options.withheld {
        ssh.env_remove(variable);
    }
    ssh.envs(user_entry::stand_in().iter().flat_map(|account| account.variables.clone()));
    if let Some(config) = &options.config {
        ssh.arg("-F").arg(config);
    }
    ssh
}

/// Options for every ssh, that to a jump host too: it asks nothing and leaves nothing behind.
pub(crate) const SAFE: [&str; 9] = [
    // Older versions do not know these options.
    "IgnoreUnknown=LogVerbose,RemoteCommand,UpdateHostKeys,ForkAfterAuthentication,StdinNull,SessionType",
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RequestTTY=no",
    "LogLevel=ERROR",
];

/// Options for the ssh that carries the channels.
const CARRIER: [&str; 6] = [
    "ClearAllForwardings=yes",
    "RemoteCommand=none",
    "ForkAfterAuthentication=no",
    "StdinNull=no",
    "ControlMaster=yes",
    "ControlPersist=no",
];

/// The ssh that makes the connection and carries the first channel. `known_hosts` are the host key files of its
/// settings, `proxy` is the option that leads over a jump host, `start` is what the channel starts.
pub(crate) fn command(
    address: &Address,
    options: &Options,
    control: &SocketDir,
    known_hosts: &[String],
    proxy: Option<&OsString>,
    start: Start<'_>,
) -> Command {
    let mut ssh = started(options);
    // ssh uses the first value of each option, so these precede every configuration file.
    for option in SAFE.iter().chain(&CARRIER) {
        ssh.arg("-o").arg(option);
    }
    ssh.arg("-o").arg(LOG_VERBOSE);
    if let Some(proxy) = proxy {
        ssh.arg("-o").arg(proxy);
    }
    let seconds = patience(options).as_secs().max(1);
    ssh.arg("-o").arg(format!("ConnectTimeout={seconds}"));
    match options.compression {
        Compression::AsConfigured => {}
        Compression::Ssh => drop(ssh.arg("-C")),
        // Compressed content would only cost time.
        Compression::Protocol(_) => drop(ssh.arg("-o").arg("Compression=no")),
    }
    ssh.args(&options.args);
    // After the user's options, so that the user's values take precedence.
    for option in ["ServerAliveInterval=15", "ServerAliveCountMax=3"] {
        ssh.arg("-o").arg(option);
    }
    ssh.arg("-S").arg(control.socket());
    if let Some(more) = &options.known_hosts {
        ssh.arg("-o").arg(host_key_files(known_hosts, more));
    }
    // The configuration may name another type of session.
    match start {
        Start::Subsystem(_) => ssh.arg("-s"),
        Start::Command(_) => ssh.arg("-o").arg("SessionType=default"),
    };
    let mut ssh = with_host(ssh, address);
    let (Start::Subsystem(what) | Start::Command(what)) = start;
    ssh.arg(what);
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

/// Kills the process when it is dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The output or the error output of a command, until the command ends or `limit` has passed.
pub(crate) async fn output(
    mut command: Command,
    errors: bool,
    limit: Duration,
) -> io::Result<String> {
    let (out, err) = match errors {
        true => (Stdio::null(), Stdio::piped()),
        false => (Stdio::piped(), Stdio::null()),
    };
    let mut child = KillOnDrop(command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?);
    let pipe = match errors {
        true => child.0.stderr.take().map(Into::into),
        false => child.0.stdout.take().map(Into::into),
    };
    let said = Default::default();
    if let Some(pipe) = pipe {
        let _ = timeout(limit, listen(Receiver::from_owned_fd(pipe)?, &said)).await;
    }
    Ok(String::from_utf8_lossy(&said.into_inner()).into_owned())
}
