//! What to say about a mass change that froze the pruning, and the commands that end that. Does no I/O.

use engine::snapshot::Freeze;

use crate::term::local_time;
use crate::term::shell::word;

/// The commands for a change that was not wanted, and for one that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commands {
    pub(crate) restore: String,
    pub(crate) release: String,
}

/// The commands for the freeze of a history in `backups_dir`. `None` when no snapshot could be held.
pub(crate) fn commands(freeze: &Freeze, backups_dir: &[u8]) -> Option<Commands> {
    let (held, dir) = (&freeze.held, word(backups_dir));
    (!held.is_empty()).then(|| Commands {
        restore: format!("backup_manager restore {held} --to ./restored --backups-dir {dir}"),
        release: format!("backup_manager release {held} --backups-dir {dir}"),
    })
}

/// The freeze as one sentence, with since when and what to do.
pub(crate) fn sentence(freeze: &Freeze, backups_dir: &[u8]) -> String {
    let Freeze { held, since, noticed, what, .. } = freeze;
    let since = match since.is_empty() {
        true => String::new(),
        false => format!(" since {}", local_time::of_rfc3339(since)),
    };
    let noticed = match noticed.is_empty() {
        true => String::new(),
        false => format!(", noticed in {noticed}"),
    };
    let change = format!("a mass change that may be unwanted{since}{noticed}: {what}");
    match commands(freeze, backups_dir) {
        None => format!("{change}; no snapshot is removed"),
        Some(Commands { restore, release }) => format!(
            "{change}; no snapshot is removed and {held} is held until it is released; if the change was not wanted: {restore}; if it was: {release}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_says_since_when_and_what_to_do() {
        let freeze = Freeze {
            held: "p.07-12-2023_13-32-58".to_owned(),
            since: "2023-12-08T13:00:00Z".to_owned(),
            noticed: "p.08-12-2023_13-32-58".to_owned(),
            what: "/home, of 99 files: 80 files changed or vanished".to_owned(),
            examples: Vec::new(),
        };
        let since = local_time::of_rfc3339("2023-12-08T13:00:00Z");
        assert_eq!(
            sentence(&freeze, b"/my backups"),
            format!(
                "a mass change that may be unwanted since {since}, noticed in p.08-12-2023_13-32-58: /home, of 99 files: 80 files changed or vanished; no snapshot is removed and p.07-12-2023_13-32-58 is held until it is released; if the change was not wanted: backup_manager restore p.07-12-2023_13-32-58 --to ./restored --backups-dir '/my backups'; if it was: backup_manager release p.07-12-2023_13-32-58 --backups-dir '/my backups'"
            )
        );
        let unheld = Freeze { what: "x".to_owned(), ..Freeze::default() };
        assert_eq!(
            sentence(&unheld, b"/b"),
            "a mass change that may be unwanted: x; no snapshot is removed"
        );
    }
}
