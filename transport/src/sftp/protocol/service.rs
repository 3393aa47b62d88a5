//! SFTP as the service on a channel.

use crate::sftp::protocol::packet::{Offers, hello, read_hello};
use crate::ssh::connect::software::is_one_process_each;
use crate::ssh::framing::Violation;
use crate::ssh::service::{Service, Start};

/// The SFTP subsystem of a host.
pub(crate) struct Sftp;

impl Service for Sftp {
    const PROTOCOL: &'static str = "SFTP";

    type Offers = Offers;

    fn start(&self) -> Start<'_> {
        Start::Subsystem("sftp")
    }

    fn hello(&self, out: &mut Vec<u8>) {
        hello(out);
    }

    fn read_hello(&self, frame: &[u8]) -> Result<Offers, Violation> {
        read_hello(frame)
    }

    /// SSH_FXP_VERSION: a length of less than 64 KiB, the type 2, and a version from 3 to 6.
    fn begins_greeting(bytes: &[u8]) -> bool {
        matches!(bytes, [0, 0, _, _, 2, 0, 0, 0, 3..=6])
    }

    /// The SFTP greeting must also match, because a server may be configured to report the name of other software. If the
    /// name is unknown (an old ssh does not report it), the host must offer an extension that OpenSSH has since 8.5.
    fn keeps_channels_apart(&self, software: Option<&str>, offers: &Offers) -> bool {
        offers.greets_as_openssh && software.map_or(offers.limits, is_one_process_each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_for_each_channel_keeps_them_apart() {
        let openssh = Offers { greets_as_openssh: true, ..Offers::default() };
        let new = Offers { limits: true, ..openssh };
        let other = Offers { limits: true, ..Offers::default() };
        for (version, offers, apart) in [
            (Some("OpenSSH_5.3"), openssh, true),
            (Some("OpenSSH_for_Windows_9.5"), new, true),
            (Some("dropbear_2022.83"), new, true),
            (Some("mod_sftp"), new, false),
            (Some("AsyncSSH_2.14.2"), new, false),
            // ProFTPD with `ServerIdent on "OpenSSH_9.9"`.
            (Some("OpenSSH_9.9"), other, false),
            (None, new, true),
            (None, openssh, false),
            (None, other, false),
        ] {
            assert_eq!(
                Sftp.keeps_channels_apart(version, &offers),
                apart,
                "{version:?} {offers:?}"
            );
        }
    }
}
