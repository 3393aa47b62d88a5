//! Reads the text below the help of a command: notes, examples and exit codes. The manual pages show the same text.

/// The parts of the text below a command's help.
///
/// Each paragraph is one line, which clap wraps. A command is indented by two columns and its explanation by six. A
/// command that goes on ends with a backslash.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HelpText {
    pub(crate) notes: Vec<String>,
    pub(crate) examples: Vec<Example>,
    /// The exit codes with a meaning of their own, as written ("129, 130, 143" is one entry).
    pub(crate) exit_codes: Vec<(String, String)>,
}

/// A command that a user can type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Example {
    /// Its lines.
    pub(crate) command: Vec<String>,
    pub(crate) explanation: String,
}

impl HelpText {
    pub(crate) fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let shown = line.trim_start();
            let indent = line.len() - shown.len();
            match (indent, parsed.examples.last_mut()) {
                (0, _) if line == "Examples:" => {}
                (0, _) => match line.strip_prefix("Exit codes: ") {
                    Some(codes) => parsed.exit_codes = exit_codes(codes),
                    None => parsed.notes.push(line.to_owned()),
                },
                (_, Some(example)) if example.goes_on() => example.command.push(shown.to_owned()),
                (6, Some(example)) => shown.clone_into(&mut example.explanation),
                _ => parsed
                    .examples
                    .push(Example { command: vec![shown.to_owned()], explanation: String::new() }),
            }
        }
        parsed
    }
}

impl Example {
    fn goes_on(&self) -> bool {
        self.command.last().is_some_and(|line| line.ends_with('\\'))
    }
}

/// Splits `0 done; 1 failed.` into the codes and their meanings.
fn exit_codes(text: &str) -> Vec<(String, String)> {
    let entry = |entry: &str| {
        let end = entry.find(|c: char| !c.is_ascii_digit() && !", ".contains(c))?;
        let (codes, meaning) = entry.split_at(end);
        Some((codes.trim().to_owned(), meaning.to_owned()))
    };
    text.trim_end_matches('.').split("; ").filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_examples_and_exit_codes_are_told_apart() {
        let text = "One note.\n\nAnother note.\n\nExamples:\n  run -n\n      Look\n  docker run \\\n      image\n\n\
                    Exit codes: 0 done; 129, 130 stopped.";
        let example = |command: &[&str], explanation: &str| Example {
            command: command.iter().map(|&line| line.to_owned()).collect(),
            explanation: explanation.to_owned(),
        };
        let expected = HelpText {
            notes: vec!["One note.".to_owned(), "Another note.".to_owned()],
            examples: vec![example(&["run -n"], "Look"), example(&["docker run \\", "image"], "")],
            exit_codes: vec![
                ("0".to_owned(), "done".to_owned()),
                ("129, 130".to_owned(), "stopped".to_owned()),
            ],
        };
        assert_eq!(HelpText::parse(text), expected);
    }
}
