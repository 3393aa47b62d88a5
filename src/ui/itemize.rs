//! The lines of `--itemize-changes`, on stdout in rsync's format.

use std::io::{self, Write};

use engine::monitor::{ItemSink, ItemizedChange};
use serde_json::json;

use crate::term::terminal;

/// Prints the changes of one job as they are found.
pub(crate) struct ItemLines {
    job: String,
    /// Writes one JSON object per line.
    json: bool,
}

impl ItemLines {
    /// Creates a printer for the job called `job`.
    pub(crate) fn new(job: &str, json: bool) -> Self {
        Self { job: job.to_owned(), json }
    }

    fn line(&self, item: &ItemizedChange) -> String {
        if self.json {
            let ItemizedChange { letters, path, leads_to, .. } = item;
            let object = json!({"event": "item", "job": self.job, "changes": letters, "path": path, "leads_to": leads_to});
            return crate::term::harmless::json(&object, false) + "\n";
        }
        let arrow = if item.hard_link { "=>" } else { "->" };
        let to = item.leads_to.as_ref().map(|to| format!(" {arrow} {to}"));
        format!("{} {}{}\n", item.letters, item.path, to.unwrap_or_default())
    }
}

impl ItemSink for ItemLines {
    fn items(&self, items: &[ItemizedChange]) {
        let lines: String = items.iter().map(|item| self.line(item)).collect();
        terminal::suspended(|| {
            let mut stdout = io::stdout().lock();
            // A closed output does not stop a backup.
            let _ = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_rsync() {
        let item = |leads_to: Option<&str>, hard_link| ItemizedChange {
            letters: ">f+++++++++".to_owned(),
            path: "a b".to_owned(),
            leads_to: leads_to.map(str::to_owned),
            hard_link,
        };
        let lines = ItemLines::new("j", false);
        assert_eq!(lines.line(&item(None, false)), ">f+++++++++ a b\n");
        assert_eq!(lines.line(&item(Some("c"), false)), ">f+++++++++ a b -> c\n");
        assert_eq!(lines.line(&item(Some("c"), true)), ">f+++++++++ a b => c\n");
        let lines = ItemLines::new("j", true);
        assert!(lines.line(&item(None, false)).contains("\"changes\":\">f+++++++++\""));
    }
}
