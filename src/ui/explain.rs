//! Formats why a path is included or excluded.

use std::fmt::Write;
use std::path::Path;

use engine::inspect::{Explanation, Judged, PathEnd};

use crate::config::mistake::shown_path;

/// The explanation for `path`: one line with the result, and one for each step that led to it.
pub(crate) fn explanation(path: &Path, explanation: &Explanation) -> String {
    let verdict = if explanation.included() { "in" } else { "out" };
    let mut text = format!("{}: {verdict}\n", shown_path(path));
    for step in &explanation.steps {
        let Judged { path, included, rule } = step;
        let what = match (included, rule) {
            (true, None) => "in, no rule says anything of it".to_owned(),
            (false, None) => "out".to_owned(),
            (true, Some(rule)) => format!("in by {rule}"),
            (false, Some(rule)) => format!("out by {rule}"),
        };
        let _ = writeln!(text, "  {}: {what}", shown_path(path));
    }
    let _ = match &explanation.ended {
        None => Ok(()),
        Some(PathEnd::OutsideOfAllRoots) => writeln!(text, "  it lies in no source of this job"),
        Some(PathEnd::Missing) => writeln!(
            text,
            "  it does not exist; judged as a file, or with a '/' at its end as a folder"
        ),
        Some(PathEnd::NoFolder) => {
            writeln!(text, "  that is no folder: nothing can lie below it")
        }
        Some(PathEnd::Unreadable(error)) => {
            writeln!(text, "  what lies below was not seen: {error}")
        }
    };
    for error in &explanation.errors {
        let _ = writeln!(text, "  not used as rules: {error}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_the_rule_that_decided() {
        let step = |path: &str, included, rule: Option<&str>| Judged {
            path: path.into(),
            included,
            rule: rule.map(ToOwned::to_owned),
        };
        let answer = Explanation {
            steps: vec![
                step("/home", true, None),
                step("/home/cache", false, Some("'cache/' (/etc/rules, line 3)")),
            ],
            ended: None,
            errors: Vec::new(),
        };
        let expected = "/home/cache/x: out\n  /home: in, no rule says anything of it\n  /home/cache: out by 'cache/' (/etc/rules, line 3)\n";
        assert_eq!(explanation(Path::new("/home/cache/x"), &answer), expected);
    }
}
