//! The way to a host over jump hosts (`ProxyJump`).
//!
//! For a jump host, ssh starts a second ssh and hands it none of the options of its command line. That one
//! would ask questions and try passwords. So this program replaces `ProxyJump` by a `ProxyCommand` that starts
//! the second ssh with the same options. Scripts in the private folder hold these commands, and files there
//! receive what each ssh says, so that a message can name the jump host.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::ssh::connect::address::Address;
use crate::ssh::connect::connect_error::ConnectError;
use crate::ssh::connect::connect_error::classify::said;
use crate::ssh::connect::control_dir::SocketDir;
use crate::ssh::connect::process::{SAFE, SAID, host_key_files, patience};
use crate::ssh::connect::settings::Settings;
use crate::ssh::connect::software::{LOG_VERBOSE_JUMP, without_versions};
use crate::ssh::options::Options;

/// Maximum number of jump hosts, in case their configuration leads in a circle.
const HOPS_MAX: usize = 8;

/// How many seconds earlier than the whole connection a jump host times out, so that it is named.
const EARLIER: u64 = 2;

/// The way to a host: ssh's settings for it, and the jump hosts.
pub(crate) struct Route {
    pub(crate) settings: Settings,
    /// The option that leads over the last jump host.
    pub(crate) proxy: Option<OsString>,
    pub(crate) hops: Vec<Hop>,
}

/// A jump host.
pub(crate) struct Hop {
    pub(crate) address: Address,
    pub(crate) settings: Settings,
    /// The option that leads over the jump host before this one.
    pub(crate) proxy: Option<OsString>,
    said: PathBuf,
}

impl Route {
    /// Finds the way to a host, and writes its scripts into `dir`.
    pub(crate) async fn find(
        address: &Address,
        options: &Options,
        dir: &SocketDir,
    ) -> io::Result<Self> {
        let settings = Settings::of(address, options, &options.args).await;
        let mut hosts = Vec::new();
        for host in &settings.jumps {
            hosts.push((host.clone(), Settings::of(host, options, &[]).await));
        }
        // The first jump host may be behind others.
        while let Some((_, first)) = hosts.first()
            && !first.jumps.is_empty()
            && hosts.len() < HOPS_MAX
        {
            for (at, host) in first.jumps.clone().into_iter().enumerate() {
                let settings = Settings::of(&host, options, &[]).await;
                hosts.insert(at, (host, settings));
            }
        }
        let mut route = Self { settings, proxy: None, hops: Vec::new() };
        for (number, (address, settings)) in hosts.into_iter().enumerate() {
            let (script, said) = dir.jump(number);
            let proxy = route.proxy.take();
            let hop = Hop { address, settings, proxy, said };
            fs::write(&script, hop.script(options))?;
            let mut proxy = OsString::from("ProxyCommand=sh ");
            proxy.push(quoted(script.as_os_str()));
            proxy.push(" %h %p");
            route.proxy = Some(proxy);
            route.hops.push(hop);
        }
        Ok(route)
    }

    /// Why a jump host let nothing through, if one did not. Returns its number too.
    pub(crate) fn fault(&self, options: &Options) -> Option<(usize, ConnectError)> {
        self.hops.iter().enumerate().find_map(|(number, hop)| {
            let words = hop.words();
            let host = hop.address.to_string();
            // ssh(1) -W: `channel 0: open failed: connect failed: …`, `stdio forwarding failed`.
            let fault = match &words {
                words if words.trim().is_empty() => return None,
                words if words.contains("stdio forwarding failed") => {
                    ConnectError::JumpForward { host, said: said(words) }
                }
                words => {
                    let fault =
                        ConnectError::from_ssh(words.as_bytes(), &hop.address, patience(options));
                    let fault = Box::new(fault.or_unusable_key(&hop.settings));
                    ConnectError::Jump { host, fault }
                }
            };
            Some((number, fault))
        })
    }
}

impl Hop {
    /// What the ssh that connects to it said.
    fn words(&self) -> String {
        let mut words = fs::read(&self.said).unwrap_or_default();
        words.truncate(SAID);
        without_versions(&String::from_utf8_lossy(&words))
    }

    /// The script that connects to the jump host, and from there to the host and port in its arguments.
    fn script(&self, options: &Options) -> Vec<u8> {
        let mut words: Vec<OsString> = vec![options.ssh.clone().into()];
        if let Some(config) = &options.config {
            words.extend(["-F".into(), config.into()]);
        }
        let mut set = |option: OsString| words.extend(["-o".into(), option]);
        SAFE.iter().for_each(|option| set(option.into()));
        set(LOG_VERBOSE_JUMP.into());
        let seconds = patience(options).as_secs().saturating_sub(EARLIER).max(1);
        set(format!("ConnectTimeout={seconds}").into());
        for option in ["ServerAliveInterval=15", "ServerAliveCountMax=3"] {
            set(option.into());
        }
        if let Some(more) = &options.known_hosts {
            set(host_key_files(&self.settings.known_hosts, more));
        }
        if let Some(proxy) = &self.proxy {
            set(proxy.clone());
        }
        if let Some(port) = self.address.port() {
            words.extend(["-p".into(), port.to_string().into()]);
        }
        if let Some(user) = self.address.user() {
            words.extend(["-l".into(), user.into()]);
        }
        let quoted_words = words.iter().map(|word| quoted(word).into_vec());
        let mut script = b"exec ".to_vec();
        script.extend(quoted_words.collect::<Vec<_>>().join(&b' '));
        script.extend_from_slice(b" -W \"[$1]:$2\" -- ");
        script.extend(quoted(OsStr::new(self.address.host())).into_vec());
        script.extend_from_slice(b" 2>>");
        script.extend(quoted(self.said.as_os_str()).into_vec());
        script.push(b'\n');
        script
    }
}

/// A word for sh(1).
fn quoted(word: &OsStr) -> OsString {
    let mut quoted = vec![b'\''];
    for byte in word.as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    OsString::from_vec(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_script_has_the_options_of_the_program_and_survives_quotes() {
        let hop = Hop {
            address: "me@gate:2222".parse().unwrap(),
            settings: Settings::default(),
            proxy: Some("ProxyCommand=sh 'a' %h %p".into()),
            said: Path::new("/tmp/it's").join("s.said0"),
        };
        let options = Options { config: Some("/my config".into()), ..Options::default() };
        let script = String::from_utf8(hop.script(&options)).unwrap();
        assert!(script.starts_with("exec 'ssh' '-F' '/my config' '-o' "), "{script}");
        for part in [
            "'-o' 'BatchMode=yes'",
            "'-o' 'StrictHostKeyChecking=yes'",
            r"'-o' 'ProxyCommand=sh '\''a'\'' %h %p'",
            r#"'-p' '2222' '-l' 'me' -W "[$1]:$2" -- 'gate' 2>>'/tmp/it'\''s/s.said0'"#,
        ] {
            assert!(script.contains(part), "{part} in {script}");
        }
    }
}
