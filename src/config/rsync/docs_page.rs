//! Generates the documentation page of the options from the parser's table.

use std::fmt::Write;

use crate::config::rsync::row::{Handling, OptionRow, OptionSide};
use crate::config::rsync::{preserve_options, selection_options, transfer_options};

const HEAD: &str = "\
# rsync options

The program does not run rsync, but understands its options: in `RSYNC_SINGLE_PARAMS` (separated by commas), in
`RSYNC_DICT_PARAMS` (a JSON object, or the form with single quotes that Python prints; a list as value repeats
the option, and the order is kept) and after `--` on the command line:

```sh
RSYNC_SINGLE_PARAMS=-aHAX,-x,--relative RSYNC_DICT_PARAMS='{\"--exclude\": [\"*.tmp\", \".cache/\"]}' backup_manager run
backup_manager run -- --exclude='*.tmp' --bwlimit=5m
```

Short options combine (`-aHAX`). A value is written as `--option=value`, `--option value` (two items), `-o value` or
`-ovalue`. `RSYNC_SINGLE_PARAMS` replaces the default switches; the other two places add to them.
`-a` is always on; `--no-...` switches parts of it off.

This page lists every option of rsync 3.5. It is generated from the table that the program itself uses. **yes**: the option does what it does
in rsync. **always**: the program always does this. **no effect**: the option is accepted and changes nothing; a run says so.
**refused**: the option is a mistake, which a run reports before it touches anything. `(no-)`: there is a `--no-` form.
";

/// The page in Markdown.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for (title, rows) in [
        ("What a snapshot keeps, and where", preserve_options::ROWS),
        ("What a snapshot contains, and what counts as changed", selection_options::ROWS),
        ("How data is transferred, and what is printed", transfer_options::ROWS),
        ("Options that rsync does not have", selection_options::OURS),
    ] {
        let _ = write!(page, "\n## {title}\n\n| option | | |\n| --- | --- | --- |\n");
        for row in rows {
            let (word, about) = (word(row.handling), about(row));
            let _ = writeln!(page, "| {} | {word} | {about} |", names(row));
        }
    }
    page
}

fn word(handling: Handling) -> &'static str {
    match handling {
        Handling::Switch(_) | Handling::Value(_) | Handling::Setting(_) => "yes",
        Handling::Always => "always",
        Handling::NoEffect => "no effect",
        Handling::Refused => "refused",
    }
}

/// The names of an option, for example `-x`, `--(no-)one-file-system`.
fn names(row: &OptionRow) -> String {
    let short = row.short.map(|letter| format!("`-{letter}`"));
    let no = if row.negatable { "(no-)" } else { "" };
    let value = row.value.map(|value| format!("={value}")).unwrap_or_default();
    let long = row.names().map(|name| format!("`--{no}{name}{value}`"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    names.join(", ").replace('|', "\\|")
}

fn about(row: &OptionRow) -> String {
    let about = row.about.replace('|', "\\|");
    match row.side {
        OptionSide::Both => about,
        OptionSide::Local(reason) => format!("{about}. Over SFTP: no effect, {reason}"),
        OptionSide::Remote(_) => format!("{about}. Only for remote sources"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rsync-options.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        let write = "backup_manager rsync-options >docs/rsync-options.md";
        assert_eq!(stored, page(), "the table has changed: write the page anew with {write}");
    }
}
