//! ssh's settings for a host: what its configuration files and the options of the job amount to (`ssh -G`,
//! ssh(1)).

use std::time::Duration;

use crate::ssh::connect::address::Address;
use crate::ssh::connect::process::{output, started, with_host};
use crate::ssh::options::Options;

/// How long ssh may take to report its settings. `Match exec` may run a program.
const PATIENCE: Duration = Duration::from_secs(5);

/// The settings that this program has to know. They are empty if ssh is too old to report them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The hosts of `ProxyJump`, in the order in which they are passed.
    pub(crate) jumps: Vec<Address>,
    /// The files of `UserKnownHostsFile`.
    pub(crate) known_hosts: Vec<String>,
    /// The files of `IdentityFile`, whether they exist or not.
    pub(crate) identity_files: Vec<String>,
    /// The value of `IdentityAgent`.
    pub(crate) agent: Option<String>,
}

impl Settings {
    /// Asks ssh. `args` are the options of the job.
    pub(crate) async fn of(address: &Address, options: &Options, args: &[String]) -> Self {
        let mut ssh = started(options);
        ssh.args(args).arg("-G");
        let said = output(with_host(ssh, address), false, PATIENCE).await;
        Self::parse(&said.unwrap_or_default())
    }

    fn parse(said: &str) -> Self {
        let mut settings = Self::default();
        for line in said.lines() {
            let Some((name, value)) = line.split_once(' ') else { continue };
            match name {
                "proxyjump" => settings.jumps = jumps(value),
                "userknownhostsfile" => {
                    let files = value.split(' ').filter(|file| *file != "none");
                    settings.known_hosts = files.map(str::to_owned).collect();
                }
                "identityfile" => settings.identity_files.push(value.to_owned()),
                "identityagent" => settings.agent = Some(value.to_owned()),
                _ => {}
            }
        }
        settings
    }
}

/// The hosts of `ProxyJump`. If one has a form that this program does not know, ssh alone handles them.
fn jumps(value: &str) -> Vec<Address> {
    if value == "none" {
        return Vec::new();
    }
    let hosts = value.split(',').map(|host| host.strip_prefix("ssh://").unwrap_or(host).parse());
    hosts.collect::<Result<_, _>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_found_among_the_others() {
        let said = "user root\nport 22\nidentityfile ~/.ssh/a\nidentityfile /b c\n\
                    userknownhostsfile /u/known /u/known2\nproxyjump me@gate:2222,inner\nidentityagent none\n";
        let settings = Settings::parse(said);
        let jumps: Vec<String> = settings.jumps.iter().map(ToString::to_string).collect();
        assert_eq!(jumps, ["me@gate:2222", "inner"]);
        assert_eq!(settings.known_hosts, ["/u/known", "/u/known2"]);
        assert_eq!(settings.identity_files, ["~/.ssh/a", "/b c"]);
        assert_eq!(settings.agent.as_deref(), Some("none"));
        assert_eq!(
            Settings::parse("userknownhostsfile none\nproxyjump none\n"),
            Settings::default()
        );
        assert_eq!(Settings::parse("proxyjump $(reboot)\n"), Settings::default());
    }
}
