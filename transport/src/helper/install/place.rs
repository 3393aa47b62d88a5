//! Asks the shell of a host where it has the helper.

use std::rc::Rc;

use crate::helper::install::binaries::Binaries;
use crate::helper::install::script::{HELLO, MESSAGE};
use crate::ssh::connect::connection::Connection;
use crate::ssh::event_loop::Quit;
use crate::ssh::framing::Violation;
use crate::ssh::service::{Service, Start};
use crate::ssh::{Address, Options};

/// Where a host has the helper, for a line that starts it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelperPlace {
    /// The program, as the shell of the user understands it.
    Program(String),
    /// Neither the `PATH` of the user nor the folder for helpers has one.
    Missing,
    /// The host does not tell, such as for a key with a forced command.
    Unknown,
}

/// Asks the shell of a host, over a connection of its own, where the helper is that it starts for `RemoteHelper::Auto` or,
/// if `install`, for `RemoteHelper::Install`. `stopped` is polled several times a second; when it returns true, the connection ends.
pub fn look_for_helper_place(
    address: &Address,
    options: &Options,
    install: bool,
    stopped: impl Fn() -> bool + Send + 'static,
) -> HelperPlace {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return HelperPlace::Unknown };
    let service = Rc::new(Question::new(install));
    let options = options.compressed_by_ssh();
    let asked = async {
        let quit = Quit::new(stopped);
        tokio::select! {
            opened = Connection::open(address, &options, &service, true) => {
                let (connection, channel, _) = opened.ok()?;
                connection.close().await;
                Some(channel.offers)
            }
            () = quit.wanted() => None,
        }
    };
    let answer = tokio::task::LocalSet::new().block_on(&runtime, asked);
    // The remaining tasks only wait, so they can be dropped.
    runtime.shutdown_background();
    answer.map_or(HelperPlace::Unknown, HelperPlace::from)
}

/// The line for the login shell.
pub(crate) struct Question(String);

impl Question {
    /// See [`look_for_helper_place`].
    pub(crate) fn new(install: bool) -> Self {
        let names = if install { Binaries::find().names().collect() } else { Vec::new() };
        Self(line(&names))
    }
}

/// The answer of the shell, padded with spaces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place([u8; MESSAGE]);

impl From<Place> for HelperPlace {
    fn from(Place(text): Place) -> Self {
        place(&String::from_utf8_lossy(&text))
    }
}

impl Service for Question {
    const PROTOCOL: &'static str = "question";

    type Offers = Place;

    fn start(&self) -> Start<'_> {
        Start::Command(&self.0)
    }

    fn hello(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(HELLO);
    }

    fn read_hello(&self, frame: &[u8]) -> Result<Place, Violation> {
        frame.try_into().map(Place).map_err(|_| Violation("it is no answer of a shell"))
    }

    fn begins_greeting(bytes: &[u8]) -> bool {
        matches!(bytes, [0, 0, 1, 0, b'p', b'l', b'a', b'c', b'e'])
    }

    fn keeps_channels_apart(&self, _: Option<&str>, _: &Place) -> bool {
        false
    }
}

/// The line that says where the helper is. It looks in the order in which a source starts one.
fn line(names: &[String]) -> String {
    let copies: String = names.iter().map(|name| format!("\"$d/{name}\" ")).collect();
    format!(
        "sh -c 'd=$HOME/.cache/backup_manager; b=backup_manager; p=; for f in {copies}; do \
         [ -x \"$f\" ] && p=${{f##*/}} && break; done; [ $p ] || if command -v $b >/dev/null; then p=PATH; else \
         for f in \"$d\"/$b-* \"$d/$b\"; do [ -x \"$f\" ] && p=${{f##*/}}; done; fi; \
         printf \"\\000\\000\\001\\000%-256.256s\" \"place $p\"'"
    )
}

/// Reads what the shell says. Whatever the host answers, the place is a plain path.
fn place(said: &str) -> HelperPlace {
    let Some(name) = said.strip_prefix("place ") else { return HelperPlace::Unknown };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._+-".contains(letter);
    match name.trim_end_matches(' ') {
        "" => HelperPlace::Missing,
        "PATH" => HelperPlace::Program("backup_manager".to_owned()),
        name if name.starts_with("backup_manager") && name.chars().all(plain) => {
            HelperPlace::Program(format!("~/.cache/backup_manager/{name}"))
        }
        _ => HelperPlace::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_a_plain_path_whatever_the_host_says() {
        let at = |path: &str| HelperPlace::Program(path.to_owned());
        assert_eq!(place("place PATH   "), at("backup_manager"));
        assert_eq!(
            place("place backup_manager-1.2.3-0f "),
            at("~/.cache/backup_manager/backup_manager-1.2.3-0f")
        );
        assert_eq!(place("place   "), HelperPlace::Missing);
        for strange in
            ["", "place backup_manager$(id)", "place ../x", "place backup_manager/../x", "PATH"]
        {
            assert_eq!(place(strange), HelperPlace::Unknown, "{strange}");
        }
        // csh(1) expands `!` also in quotes, and fish(1) reads `\\` in single quotes as one.
        let line = line(&["backup_manager-1.2.3-0f".to_owned()]);
        assert!(line.matches('\'').count() == 2 && !line.contains(['!', '\n']), "{line}");
        assert!(!line.contains("\\\\"), "{line}");
    }
}
