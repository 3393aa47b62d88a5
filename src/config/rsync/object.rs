//! Parses ordered objects of names and values, from JSON or from Python's notation.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Names and values in the order in which they were written. A name may occur several times.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Dict(pub(crate) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Dict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Dict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dict, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Dict(entries))
            }
        }

        from.deserialize_map(InOrder)
    }
}

impl Dict {
    /// Parses JSON, or else a Python literal: single quotes, `None`, `True`, `False`, tuples.
    ///
    /// # Errors
    /// The error of the JSON parser.
    pub(crate) fn read(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).or_else(|error| {
            let json = as_json(text)
                .ok_or(())
                .and_then(|json| serde_json::from_str(&json).map_err(|_| ()));
            json.map_err(|()| error)
        })
    }
}

/// Converts a Python literal to JSON; `None` if it is not one.
fn as_json(text: &str) -> Option<String> {
    let mut json = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' | '"' => {
                let text = literal(letter, &mut letters)?;
                json.push_str(&Value::String(text).to_string());
            }
            '(' => json.push('['),
            ')' | ']' | '}' => {
                // Python allows a trailing comma.
                let kept = json.trim_end().len();
                if json[..kept].ends_with(',') {
                    json.truncate(kept - 1);
                }
                json.push(if letter == ')' { ']' } else { letter });
            }
            letter if letter.is_ascii_alphabetic() => {
                let mut word = String::from(letter);
                while let Some(more) = letters.next_if(char::is_ascii_alphabetic) {
                    word.push(more);
                }
                json.push_str(match word.as_str() {
                    "None" => "null",
                    "True" => "true",
                    "False" => "false",
                    _ => return None,
                });
            }
            letter => json.push(letter),
        }
    }
    Some(json)
}

/// The content of a Python string, up to the closing quote.
fn literal(quote: char, letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut text = String::new();
    loop {
        match letters.next()? {
            letter if letter == quote => return Some(text),
            '\\' => match letters.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                '\n' => {}
                'x' => text.push(escaped(2, letters)?),
                'u' => text.push(escaped(4, letters)?),
                letter @ ('\\' | '\'' | '"') => text.push(letter),
                // Python leaves unknown escape sequences unchanged.
                other => text.extend(['\\', other]),
            },
            letter => text.push(letter),
        }
    }
}

fn escaped(digits: usize, letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let hex: String = letters.take(digits).collect();
    let digits = hex.len() == digits && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    char::from_u32(u32::from_str_radix(&hex, 16).ok().filter(|_| digits)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_order_and_its_repetitions() {
        let dict =
            Dict::read(r#"{"--include": "*.c", "--exclude": ["*", "b"], "--include": null}"#);
        let names: Vec<String> = dict.unwrap().0.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["--include", "--exclude", "--include"]);
    }

    #[test]
    fn an_object_as_python_prints_it_is_read_too() {
        let dict = Dict::read(
            r#"{'--exclude': ['*.tmp', "it's", 'a\'b\\c\d\x41'], '--x': None, '-H': True, '--t': ('a', 'b',),}"#,
        );
        let expected = serde_json::json!({
            "--exclude": ["*.tmp", "it's", "a'b\\c\\dA"], "--x": null, "-H": true, "--t": ["a", "b"],
        });
        for (name, value) in dict.unwrap().0 {
            assert_eq!(value, expected[&name], "{name}");
        }
    }

    #[test]
    fn text_in_neither_form_is_a_mistake_of_json() {
        for text in ["{", "{'a': b}", "{'a", "[]", "'x'", "{'a': '\\x4'}", "{'a': 'b'} x"] {
            assert!(Dict::read(text).is_err(), "{text}");
        }
    }
}
