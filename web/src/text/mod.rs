//! The words of the page, in each language.

pub(crate) mod amounts;
mod table;

pub(crate) use self::table::Text;

/// A language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    German,
    French,
    Spanish,
}

impl Language {
    /// Each language with its tag (RFC 5646), in the order of the columns of the table.
    const ALL: [(Self, &'static str); 4] =
        [(Self::English, "en"), (Self::German, "de"), (Self::French, "fr"), (Self::Spanish, "es")];

    /// The language that a browser prefers (RFC 9110, 12.5.4).
    pub(crate) fn preferred(accepted: &str) -> Self {
        let ranges = accepted.split(',').filter_map(|range| {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
            let tag = tag.trim().split('-').next()?.to_ascii_lowercase();
            let (language, _) = Self::ALL.into_iter().find(|(_, known)| *known == tag)?;
            (weight > 0.0).then_some((language, weight))
        });
        // The first of several with the same weight counts.
        let best = ranges.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map_or(Self::English, |(language, _)| language)
    }

    /// Its tag.
    pub(crate) fn tag(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The words of `text`.
    pub(crate) fn say(self, text: Text) -> &'static str {
        text.words()[self as usize]
    }

    /// The words of `text`, with each `{}` replaced by the next of `parts`.
    pub(crate) fn fill(self, text: Text, parts: &[&str]) -> String {
        let mut filled = String::new();
        let mut parts = parts.iter();
        for (at, words) in self.say(text).split("{}").enumerate() {
            if at > 0 {
                filled.push_str(parts.next().unwrap_or(&""));
            }
            filled.push_str(words);
        }
        filled
    }

    /// `one` for 1, `many` with the number for any other.
    pub(crate) fn counted(self, number: u64, one: Text, many: Text) -> String {
        match number {
            1 => self.say(one).to_owned(),
            number => self.fill(many, &[&self.count(number)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_chooses_the_language() {
        for (accepted, language) in [
            ("", Language::English),
            ("pt", Language::English),
            ("de-AT,de;q=0.9,en;q=0.8", Language::German),
            ("en;q=0.5, fr-CH", Language::French),
            ("pt, es;q=0.3", Language::Spanish),
            ("fr;q=0, en", Language::English),
            ("de;q=x", Language::English),
        ] {
            assert_eq!(Language::preferred(accepted), language, "{accepted}");
        }
    }

    #[test]
    fn each_language_has_each_text_with_the_same_number_of_parts() {
        for text in Text::ALL {
            let words = text.words();
            for one in words {
                assert!(!one.is_empty(), "{text:?}");
                assert_eq!(one.matches("{}").count(), words[0].matches("{}").count(), "{text:?}");
            }
        }
    }
}
