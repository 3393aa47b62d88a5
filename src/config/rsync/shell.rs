//! Parses `-e`, `--rsh`, and decides which of ssh's options are passed on.

/// The program and its options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shell {
    /// The program, if it is not `ssh`.
    pub(crate) program: Option<String>,
    /// The options that are passed on, in the form of ssh's command line.
    pub(crate) args: Vec<String>,
    /// `-l`.
    pub(crate) user: Option<String>,
    /// `-p`.
    pub(crate) port: Option<u16>,
    /// `-F`.
    pub(crate) config: Option<String>,
}

/// Options of ssh_config(5) that the program sets itself, with their values. ssh would ignore another value.
const OURS: &[(&str, &str)] = &[
    ("batchmode", "yes"),
    ("stricthostkeychecking", "yes"),
    ("updatehostkeys", "no"),
    ("forwardagent", "no"),
    ("forwardx11", "no"),
    ("clearallforwardings", "yes"),
    ("permitlocalcommand", "no"),
    ("remotecommand", "none"),
    ("forkafterauthentication", "no"),
    ("stdinnull", "no"),
    ("requesttty", "no"),
    ("loglevel", "error"),
    ("controlmaster", "yes"),
    ("controlpersist", "no"),
    ("controlpath", ""),
    ("sessiontype", "subsystem"),
    ("ignoreunknown", ""),
];

/// Options that the program's settings would clear.
const FORWARDINGS: &[&str] = &["localforward", "remoteforward", "dynamicforward"];

impl Shell {
    /// Parses the command.
    ///
    /// # Errors
    /// A message with what to write instead.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let words = words(text)?;
        let mut words = words.into_iter();
        let mut shell = Self::default();
        let program = words.next().unwrap_or_default();
        if program.rsplit('/').next() != Some("ssh") {
            return Err(format!(
                "'{program}' cannot carry SFTP as ssh does; write \"ssh\", or a path that ends in /ssh"
            ));
        }
        shell.program = (program != "ssh").then_some(program);
        while let Some(word) = words.next() {
            let Some(cluster) = word.strip_prefix('-').filter(|cluster| !cluster.is_empty()) else {
                return Err(format!(
                    "'{word}' is not an option of ssh; write the host into REMOTE_SRC_HOST, of a restore into --to"
                ));
            };
            for (at, letter) in cluster.char_indices() {
                let rest = &cluster[at + letter.len_utf8()..];
                if "piolFJcmbB".contains(letter) {
                    let value = if rest.is_empty() { words.next() } else { Some(rest.to_owned()) };
                    let value = value.ok_or_else(|| {
                        format!("ssh's '-{letter}' needs a value; write it after")
                    })?;
                    shell.option(letter, value)?;
                    break;
                }
                shell.switch(letter)?;
            }
        }
        Ok(shell)
    }

    fn switch(&mut self, letter: char) -> Result<(), String> {
        match letter {
            '4' | '6' | 'C' | 'K' => self.args.push(format!("-{letter}")),
            // No terminal, no forwarding and quiet output are always set.
            'T' | 'a' | 'k' | 'q' | 'x' => {}
            _ => {
                return Err(format!(
                    "ssh's '-{letter}' is not handed on; remove it, or write it into ~/.ssh/config"
                ));
            }
        }
        Ok(())
    }

    fn option(&mut self, letter: char, value: String) -> Result<(), String> {
        match letter {
            'p' => {
                let port = value.parse().ok().filter(|port| *port > 0);
                self.port =
                    Some(port.ok_or_else(|| format!("'{value}' is not a port; write 1 to 65535"))?);
            }
            'l' => self.user = Some(value),
            'F' => self.config = Some(value),
            'o' => {
                check(&value)?;
                self.args.extend(["-o".to_owned(), value]);
            }
            letter => self.args.extend([format!("-{letter}"), value]),
        }
        Ok(())
    }
}

/// Whether ssh would use an option of ssh_config(5) in addition to ours.
fn check(option: &str) -> Result<(), String> {
    let (key, value) = option.split_once(['=', ' ']).unwrap_or((option, ""));
    let (key, value) = (key.trim().to_ascii_lowercase(), value.trim().to_ascii_lowercase());
    if key == "stricthostkeychecking" && value != "yes" {
        return Err(
            "host keys are always checked; remove StrictHostKeyChecking and connect once by hand with ssh"
                .to_owned(),
        );
    }
    if key == "connecttimeout" {
        return Err("use --contimeout=SECONDS instead of ConnectTimeout".to_owned());
    }
    let fixed = OURS.iter().find(|(ours, _)| *ours == key);
    if FORWARDINGS.contains(&key.as_str()) || fixed.is_some_and(|(_, ours)| *ours != value) {
        return Err(format!("ssh's option '{option}' is not possible here; remove it"));
    }
    Ok(())
}

/// Splits a command at spaces outside of quotes, as rsync does. A doubled quote within quotes is one quote.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, Some(open)) if letter == open => {
                if letters.peek() == Some(&open) {
                    letters.next();
                    word.get_or_insert_default().push(open);
                } else {
                    quote = None;
                }
            }
            (' ' | '\t', None) => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quote in it is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_ssh_are_handed_on() {
        let shell = Shell::read(
            "/usr/bin/ssh -p 2222 -i '/a key' -oUserKnownHostsFile=/k -TxC -l u -F /c -J j -c aes128-gcm@openssh.com",
        )
        .unwrap();
        assert_eq!(shell.program.as_deref(), Some("/usr/bin/ssh"));
        assert_eq!((shell.port, shell.user.as_deref()), (Some(2222), Some("u")));
        assert_eq!(shell.config.as_deref(), Some("/c"));
        let args = [
            "-i",
            "/a key",
            "-o",
            "UserKnownHostsFile=/k",
            "-C",
            "-J",
            "j",
            "-c",
            "aes128-gcm@openssh.com",
        ];
        assert_eq!(shell.args, args);
        assert_eq!(Shell::read("ssh").unwrap(), Shell::default());
    }

    #[test]
    fn an_option_that_cannot_be_passed_to_a_shell_is_refused() {
        for (text, wrong) in [
            ("rsh", "cannot carry SFTP"),
            ("sshpass -p x ssh", "cannot carry SFTP"),
            ("ssh host", "REMOTE_SRC_HOST"),
            ("ssh -p", "needs a value"),
            ("ssh -p x", "not a port"),
            ("ssh -N", "not handed on"),
            ("ssh -o StrictHostKeyChecking=no", "host keys are always checked"),
            ("ssh -o ControlMaster=auto", "not possible here"),
            ("ssh -o 'LocalForward 1 2'", "not possible here"),
            ("ssh -o ConnectTimeout=5", "--contimeout"),
            ("ssh -i 'x", "not closed"),
        ] {
            let error = Shell::read(text).unwrap_err();
            assert!(error.contains(wrong), "{text}: {error}");
        }
        assert!(Shell::read("ssh -o BatchMode=yes -o ServerAliveInterval=5").is_ok());
    }
}
