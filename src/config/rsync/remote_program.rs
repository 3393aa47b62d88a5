//! `--rsync-path`: what users of rsync start at the far end, as a command for the helper. Pure.

/// The meaning of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RemoteProgram {
    /// It only says where the host has its rsync.
    Rsync,
    /// Rsync is started by another command, such as `sudo rsync`. This command starts the helper in the same way.
    Command(String),
    /// It does not end in the name of rsync.
    Other,
}

impl RemoteProgram {
    /// Reads a value, which rsync hands to the shell of the host as it is (rsync(1), `--rsync-path`).
    pub(crate) fn read(text: &str) -> Self {
        let text = text.trim();
        let begin = text.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let (before, program) = text.split_at(begin);
        match program.rsplit('/').next() {
            _ if text.contains(['\n', '\r']) => Self::Other,
            Some("rsync") if before.is_empty() => Self::Rsync,
            Some("rsync") => Self::Command(format!("{before}backup_manager")),
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_before_rsync_starts_the_helper() {
        let command = |text: &str| RemoteProgram::Command(text.to_owned());
        for (text, meaning) in [
            ("rsync", RemoteProgram::Rsync),
            (" /opt/bin/rsync ", RemoteProgram::Rsync),
            ("sudo rsync", command("sudo backup_manager")),
            ("sudo -n /usr/bin/rsync", command("sudo -n backup_manager")),
            ("ionice -c3 nice rsync", command("ionice -c3 nice backup_manager")),
            ("mkdir -p /x && rsync", command("mkdir -p /x && backup_manager")),
            ("rsync --fake-super", RemoteProgram::Other),
            ("sudo rsync-3.2", RemoteProgram::Other),
            ("sudo 'rsync'", RemoteProgram::Other),
            ("x\nrsync", RemoteProgram::Other),
            ("x", RemoteProgram::Other),
        ] {
            assert_eq!(RemoteProgram::read(text), meaning, "{text}");
        }
    }
}
