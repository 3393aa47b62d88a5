//! The address of a remote host: `host`, `user@host`, `host:port`, `[v6]:port`, or a host name from ssh's
//! configuration.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The address to connect to. Its parts are safe to pass to `ssh` as arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

/// Why a text is not a valid address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// The host is missing, or an `@` has no user before it.
    #[error("the {0} is empty")]
    Empty(Part),
    /// `ssh` would take it for an option.
    #[error("the {0} starts with '-'")]
    Dash(Part),
    /// It contains a character that no name has, and that a shell command in ssh's configuration could
    /// interpret.
    #[error("the {0} holds a character that is not allowed: {1:?}")]
    Character(Part, char),
    /// The port is not a number from 1 to 65535.
    #[error("the port is no number from 1 to 65535")]
    Port,
    /// A URL such as `ssh://host`, which some programs accept.
    #[error("it is a URL")]
    Url,
    /// `host:/path`, which `scp` and `rsync` accept.
    #[error("it ends with a path")]
    Path,
    /// The closing bracket is missing, or there is text between the bracket and the colon.
    #[error("write an IPv6 address as [ADDRESS] or [ADDRESS]:PORT")]
    Brackets,
    /// Two sources name different users or ports.
    #[error("another {0} is given elsewhere")]
    Twice(&'static str),
}

/// A part of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Before the `@`.
    User,
    /// After it.
    Host,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Host => "host",
        })
    }
}

impl Address {
    /// The user, if given; otherwise ssh's configuration decides.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Adds a user and a port that were configured separately.
    ///
    /// # Errors
    /// If the address already has a different user or port, or the user is invalid.
    pub fn with(&self, user: Option<&str>, port: Option<u16>) -> Result<Self, BadAddress> {
        let mut address = self.clone();
        if let Some(user) = user {
            check(Part::User, user, "'`\";&<>|(){}")?;
            if address.user.get_or_insert_with(|| user.to_owned()) != user {
                return Err(BadAddress::Twice("user"));
            }
        }
        if let Some(port) = port
            && *address.port.get_or_insert(port) != port
        {
            return Err(BadAddress::Twice("port"));
        }
        Ok(address)
    }

    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if given; otherwise ssh's configuration decides.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if text.contains("://") {
            return Err(BadAddress::Url);
        }
        // Split at the last `@`, as ssh does: `user@domain@host`.
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, text),
        };
        if [":/", ":~", ":."].iter().any(|path| place.contains(path)) {
            return Err(BadAddress::Path);
        }
        let (host, port) = split_port(place)?;
        if let Some(user) = user {
            // Windows domain and machine names contain a backslash and a dollar sign. A colon would start a
            // password, and a slash would be part of a URL; no account name has either (passwd(5)).
            check(Part::User, user, "'`\";&<>|(){}:/")?;
        }
        check(Part::Host, host, "'`\"$\\;&<>|(){}[]/@")?;
        let port = match port {
            Some(port) => Some(number(port)?),
            None => None,
        };
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

fn split_port(place: &str) -> Result<(&str, Option<&str>), BadAddress> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(BadAddress::Brackets)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(BadAddress::Brackets),
        };
    }
    // Without the zone, `%eth0`.
    let bare = place.split('%').next().unwrap_or(place);
    if bare.parse::<Ipv6Addr>().is_ok() {
        return Ok((place, None));
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(BadAddress::Brackets),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

fn number(text: &str) -> Result<u16, BadAddress> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(BadAddress::Port),
    }
}

/// Makes the checks that ssh makes since 9.6 for values from a command line (CVE-2023-51385).
fn check(part: Part, text: &str, forbidden: &str) -> Result<(), BadAddress> {
    if text.is_empty() {
        return Err(BadAddress::Empty(part));
    }
    if text.starts_with('-') {
        return Err(BadAddress::Dash(part));
    }
    let bad = |c: &char| c.is_control() || c.is_whitespace() || forbidden.contains(*c);
    match text.chars().find(bad) {
        Some(c) => Err(BadAddress::Character(part, c)),
        None => Ok(()),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.host.contains(':'), self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
            (true, None) => write!(f, "[{}]", self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
            (false, None) => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> Result<(Option<String>, String, Option<u16>), BadAddress> {
        let address: Address = text.parse()?;
        Ok((address.user, address.host, address.port))
    }

    #[test]
    fn addresses_are_taken_apart() {
        let cases = [
            ("nas", None, "nas", None),
            ("me@nas.example", Some("me"), "nas.example", None),
            ("me@nas:2222", Some("me"), "nas", Some(2222)),
            ("10.0.0.1:22", None, "10.0.0.1", Some(22)),
            ("[fe80::1%eth0]:2222", None, "fe80::1%eth0", Some(2222)),
            ("me@[::1]", Some("me"), "::1", None),
            ("::1", None, "::1", None),
            ("fe80::1%eth0", None, "fe80::1%eth0", None),
            ("me@corp.example@nas", Some("me@corp.example"), "nas", None),
            ("CORP\\me$@nas", Some("CORP\\me$"), "nas", None),
            ("my_alias", None, "my_alias", None),
        ];
        for (text, user, host, port) in cases {
            let expected = (user.map(str::to_owned), host.to_owned(), port);
            assert_eq!(parts(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_address_is_refused() {
        use BadAddress::Brackets;
        use BadAddress::Character;
        use BadAddress::Dash;
        use BadAddress::Empty;
        use BadAddress::Path;
        use BadAddress::Port;
        use BadAddress::Url;
        let cases = [
            ("", Empty(Part::Host)),
            ("@nas", Empty(Part::User)),
            ("me@", Empty(Part::Host)),
            (":22", Empty(Part::Host)),
            ("[]:22", Empty(Part::Host)),
            ("-oProxyCommand=reboot", Dash(Part::Host)),
            ("-l@nas", Dash(Part::User)),
            ("me@-nas", Dash(Part::Host)),
            ("[-nas]", Dash(Part::Host)),
            ("n as", Character(Part::Host, ' ')),
            ("nas\n", Character(Part::Host, '\n')),
            ("m\u{85}e@nas", Character(Part::User, '\u{85}')),
            ("$(reboot)", Character(Part::Host, '$')),
            ("`x`@nas", Character(Part::User, '`')),
            ("nas/folder", Character(Part::Host, '/')),
            ("ssh://me@nas:22", Url),
            ("sftp://nas", Url),
            ("me/you@nas", Character(Part::User, '/')),
            ("me:secret@nas", Character(Part::User, ':')),
            ("me@nas:/srv/data", Path),
            ("me@nas:22:/srv/data", Path),
            ("[::1]:~/data", Path),
            ("nas:../data", Path),
            ("nas:", Port),
            ("nas:0", Port),
            ("nas:+22", Port),
            ("nas:65536", Port),
            ("nas:ssh", Port),
            ("[::1", Brackets),
            ("[::1]22", Brackets),
            ("a:b:c", Brackets),
        ];
        for (text, expected) in cases {
            assert_eq!(parts(text), Err(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_address_is_safe_as_an_argument_and_reads_back(text in "\\PC{0,20}|[-a@:\\[\\]%0-9\\n ]{0,20}") {
            if let Ok(address) = text.parse::<Address>() {
                for part in [address.user().unwrap_or("x"), address.host()] {
                    prop_assert!(!part.is_empty() && !part.starts_with('-'));
                    prop_assert!(!part.contains(|c: char| c.is_control() || c.is_whitespace()));
                }
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
