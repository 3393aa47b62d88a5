//! Which of several sources or snapshots a path belongs to, for the progress display. Pure.

/// The parts of a task that are worked on one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// What a part is.
    pub(crate) noun: &'static str,
    /// The path of each part, in order, escaped for display.
    pub(crate) paths: Vec<String>,
}

impl Parts {
    /// `source 2 of 3` for a path in the second of three sources. Empty if there is only one, or if the path lies in
    /// none.
    pub(crate) fn of(&self, path: &str) -> String {
        let Self { noun, paths } = self;
        let holds = |root: &String| {
            let rest = path.strip_prefix(root.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let inside = paths.iter().enumerate().filter(|(_, root)| holds(root));
        // A source may lie in another one.
        match inside.max_by_key(|(_, root)| root.len()) {
            Some((number, _)) if paths.len() > 1 => {
                format!("{noun} {} of {}", number + 1, paths.len())
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_the_innermost_source() {
        let of = |paths: &[&str], path: &str| {
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            Parts { noun: "source", paths }.of(path)
        };
        let three = ["/", "/home", "/home/u/photos"];
        assert_eq!(of(&three, "/home/u/photos/2023"), "source 3 of 3");
        assert_eq!(of(&three, "/home/u"), "source 2 of 3");
        assert_eq!(of(&three, "/homes"), "source 1 of 3");
        assert_eq!(of(&["/a", "/b"], "/c"), "");
        assert_eq!(of(&["/a"], "/a/b"), "");
    }
}
