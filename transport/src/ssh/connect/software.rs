//! Decides from the name of the host's SSH software how the host serves several channels. Does no I/O.
//!
//! Some servers serve all SFTP channels of a connection in one process, and ProFTPD's mod_sftp mixes up
//! their packets (proftpd issue 1897). OpenSSH and dropbear start a process for each channel.

/// Makes OpenSSH's client log the versions of both sides, in this function of its kex.c, and the reason why
/// it ends a connection, in that of its packet.c. `LogVerbose` requests these messages independently of
/// `LogLevel` (ssh_config(5), since OpenSSH 8.5). With `LogLevel=INFO`, which older versions need for the
/// reason, ssh would also print the host's banner.
pub(crate) const LOG_VERBOSE: &str =
    "LogVerbose=kex.c:kex_exchange_identification():*,packet.c:sshpkt_vfatal():*";

/// The same for the ssh to a jump host, and why the jump host does not connect further.
pub(crate) const LOG_VERBOSE_JUMP: &str = "LogVerbose=kex.c:kex_exchange_identification():*,packet.c:sshpkt_vfatal():*,channels.c:channel_input_open_failure():*";

/// The functions of which the messages give reasons.
const REASONS: [&str; 2] = ["sshpkt_vfatal():", "channel_input_open_failure():"];
const VERSION_FUNCTION: &str = "kex_exchange_identification():";
const VERSION: &str = "remote software version ";

/// Software that starts a process for each channel.
const ONE_PROCESS_EACH: [&str; 2] = ["OpenSSH_", "dropbear_"];

/// The host's software, from ssh's log. The last entry counts: that of a jump host precedes it.
pub(crate) fn version(said: &str) -> Option<&str> {
    let of = |line: &'_ str| line.contains(VERSION_FUNCTION).then_some(());
    let lines = said.lines().filter(|line| of(line).is_some());
    lines.filter_map(|line| Some(line.split_once(VERSION)?.1.trim())).next_back()
}

/// ssh's output without the versions requested by [`LOG_VERBOSE`].
pub(crate) fn without_versions(said: &str) -> String {
    let lines = said.split_inclusive('\n').filter_map(|line| {
        // `packet.c:sshpkt_vfatal():1931 (pid=12793): Unable to negotiate with …`
        let mut reasons = REASONS.iter().filter_map(|function| line.split_once(function));
        if let Some((_, rest)) = reasons.next() {
            return Some(rest.split_once("): ").map_or(rest, |(_, text)| text).to_owned());
        }
        let Some((_, rest)) = line.split_once(VERSION_FUNCTION) else {
            return Some(line.to_owned());
        };
        // `1347 (pid=4751): Local version string SSH-2.0-OpenSSH_9.2p1`
        let text = rest.split_once("): ").map_or(rest, |(_, text)| text);
        let usual = ["Local version string ", "Remote protocol version ", "banner line "];
        let is_usual = usual.iter().any(|start| text.starts_with(start));
        (!is_usual).then(|| format!("kex_exchange_identification: {text}"))
    });
    lines.collect()
}

/// Whether software of this name starts a process for each channel.
pub(crate) fn is_one_process_each(version: &str) -> bool {
    ONE_PROCESS_EACH.iter().any(|name| version.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "debug1: kex.c:kex_exchange_identification():1347 (pid=4757): Local version string SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\
        debug1: kex.c:kex_exchange_identification():1456 (pid=4757): Remote protocol version 2.0, remote software version mod_sftp\r\n";

    #[test]
    fn the_version_is_the_remote_one_and_the_last_one() {
        assert_eq!(version(DEBIAN), Some("mod_sftp"));
        let jump = DEBIAN.replace("mod_sftp", "OpenSSH_9.6");
        assert_eq!(version(&format!("{jump}{DEBIAN}")), Some("mod_sftp"));
        assert_eq!(version("Welcome, remote software version OpenSSH_9.9\n"), None);
        assert_eq!(version(""), None);
    }

    #[test]
    fn the_rest_of_what_ssh_says_is_as_without_asking() {
        assert_eq!(without_versions(DEBIAN), "");
        let closed = "kex.c:kex_exchange_identification():1383 (pid=1): Connection closed by remote host\r\n";
        let rest = "Connection closed by 10.0.0.1 port 22\r\n";
        let said = format!("{DEBIAN}{closed}{rest}");
        let usual = "kex_exchange_identification: Connection closed by remote host\r\n";
        assert_eq!(without_versions(&said), format!("{usual}{rest}"));
        let ended = "packet.c:sshpkt_vfatal():1931 (pid=1): Unable to negotiate with 10.0.0.1\r\n";
        let usual = "Unable to negotiate with 10.0.0.1\r\n";
        assert_eq!(without_versions(&format!("{DEBIAN}{ended}")), usual);
    }
}
