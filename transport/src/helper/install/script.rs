//! What the shell of the host runs, and what it says. Pure.
//!
//! The script is one line in single quotes, which every login shell reads alike. It needs a POSIX shell and `uname`,
//! `mkdir`, `chmod`, `cat`, `mv` and `rm`; `df` is used where it is there. All it says are frames of one length, which
//! printf(1) can make.
//!
//! - Every name it uses is one component in a folder of which `pwd -P` shows that no symlink led there.
//! - The shell's option `noclobber` creates the temporary file with `O_EXCL` (sh(1), `set -C`).
//! - `read` takes no byte behind the line (POSIX, read), so `cat` gets the program from its first byte on.
//! - Whether the home folder lets programs start is tried with a file that holds a shell command: execve(2) fails on a
//!   file system that is mounted `noexec`, before the shell reads the file itself.
//! - The copy prints its own hash: a copy that does so runs on this machine, and is what was sent.

use crate::ssh::framing::Violation;

/// The bytes of a message, without the length and padded with spaces.
pub(crate) const MESSAGE: usize = 256;

/// What the near end sends first. A far end that is something else, such as `serve` behind a forced command or an SFTP
/// server, ends upon these eight bytes.
pub(crate) const HELLO: &[u8; 8] = b"INSTALL\n";

const SCRIPT: &str = "\
LC_ALL=C; export LC_ALL; CDPATH=; umask 077; set -C; n=@NEW@; \
say() { printf \"\\000\\000\\001\\000%-256.256s\" \"$*\"; }; \
bye() { say \"$@\"; exit 0; }; \
IFS= read -r o || exit 0; \
say hello \"$(uname -sm)\"; \
[ -n \"$HOME\" ] && cd \"$HOME\" && h=$(pwd -P) || bye home \"$HOME\"; \
[ \"$h\" = / ] && h=; \
for d in .cache .cache/backup_manager; do \
[ -h $d ] && bye link $d; \
[ -d $d ] || e=$(mkdir $d 2>&1) || [ -d $d ] || bye write \"$e\"; \
done; \
cd $d && [ \"$(pwd -P)\" = \"$h/$d\" ] || bye link $d; \
e=$(chmod 700 . 2>&1) || bye write \"$e\"; \
trap \"rm -f $n\" 0; trap \"exit 1\" 1 2 13 15; \
e=$({ printf \"exit 7\" >$n; } 2>&1); [ -s $n ] || bye write \"$e\"; \
e=$(chmod 700 $n 2>&1); e=$e$(./$n 2>&1 </dev/null); r=$?; rm -f $n; \
[ $r = 7 ] || bye start \"$e\" \"(exit status $r)\"; \
for f in backup_manager-* .new-*; do [ -f \"$f\" ] && say file \"$f\"; done; \
df -Pk . 2>/dev/null | { read -r a; read -r a b c f a && say free \"$f\"; }; \
say ready; \
IFS= read -r o || exit 0; set -- $o; [ $# -ge 2 ] || exit 0; f=$1 w=$2; shift 2; \
[ -h $f ] && rm -f ./$f; [ -d $f ] && bye write \"$f is a folder\"; \
if [ -f $f ] && [ \"$(./$f own-hash 2>&1 </dev/null)\" = $w ]; then say done; else \
say send; \
e=$(cat 2>&1 >$n) || bye write \"$e\"; \
chmod 700 $n; g=$(./$n own-hash 2>&1 </dev/null); r=$?; \
[ \"$g\" = $w ] || bye answer \"$g\" \"(exit status $r)\"; \
e=$(mv -f $n ./$f 2>&1) || bye write \"$e\"; \
say done; \
fi; \
for o; do rm -f \"./$o\"; done";

/// The command line for the login shell. `temporary` is a plain file name.
pub(crate) fn line(temporary: &str) -> String {
    format!("sh -c '{}'", SCRIPT.replace("@NEW@", temporary))
}

/// The second line that the near end sends: the name of the copy, its hash, and what is removed after it works.
pub(crate) fn order(name: &str, hash: &str, superfluous: &[String]) -> String {
    let words = [name, hash].into_iter().chain(superfluous.iter().map(String::as_str));
    words.collect::<Vec<_>>().join(" ") + "\n"
}

/// What the script says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// Its first words: what `uname -sm` prints.
    Hello(String),
    /// A file in the folder.
    File(String),
    /// The free KiB.
    Free(u64),
    /// It waits for the order.
    Ready,
    /// It waits for the program.
    Send,
    /// The copy is there and works.
    Done,
    NoHome(String),
    Link(String),
    Unwritable(String),
    NoExec(String),
    WrongAnswer(String),
}

impl Said {
    /// Reads a frame without its length.
    ///
    /// # Errors
    /// The frame is no message of the script.
    pub(crate) fn read(frame: &[u8]) -> Result<Self, Violation> {
        let text = String::from_utf8_lossy(frame);
        let text = text.trim();
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim().to_owned();
        if frame.len() != MESSAGE {
            return Err(Violation("it is no script of this program"));
        }
        Ok(match word {
            "hello" => Self::Hello(rest),
            "file" => Self::File(rest),
            // Without the number the space is not known.
            "free" => Self::Free(rest.parse().unwrap_or(u64::MAX)),
            "ready" => Self::Ready,
            "send" => Self::Send,
            "done" => Self::Done,
            "home" => Self::NoHome(rest),
            "link" => Self::Link(rest),
            "write" => Self::Unwritable(rest),
            "start" => Self::NoExec(rest),
            "answer" => Self::WrongAnswer(rest),
            _ => return Err(Violation("it is no script of this program")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_login_shell_reads_the_line_alike() {
        let line = line(".new-1-0123456789abcdef");
        assert_eq!(line.matches('\'').count(), 2);
        // csh(1) expands `!` also in quotes, and a line break ends the text there.
        assert!(!line.contains(['!', '\n', '`']));
        // fish(1) reads `\\` in single quotes as one.
        assert!(!line.contains("\\\\"));
        assert!(!line.contains("@NEW@"));
    }

    #[test]
    fn a_frame_of_another_length_or_with_other_words_is_a_violation() {
        let frame = |text: &str| format!("{text:<MESSAGE$}").into_bytes();
        assert_eq!(
            Said::read(&frame("hello Linux x86_64")),
            Ok(Said::Hello("Linux x86_64".into()))
        );
        assert_eq!(Said::read(&frame("free 12")), Ok(Said::Free(12)));
        assert_eq!(Said::read(&frame("free x")), Ok(Said::Free(u64::MAX)));
        assert_eq!(Said::read(&frame("link .cache")), Ok(Said::Link(".cache".into())));
        for wrong in [&b"hello"[..], &frame("what"), &frame(""), &[0; MESSAGE]] {
            assert!(Said::read(wrong).is_err());
        }
    }
}
