//! A text that must not be shown: a password, a token, or a URL that contains one.

use std::fmt;

/// A secret. `Debug` hides it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret text, for the service that needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Removes the `secrets` from `text`, because answers of other programs may repeat them.
pub(crate) fn redacted(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let secret = secret.reveal();
        // The path of a URL may contain the secret.
        let path = secret.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        for part in [Some(secret), path.map(|(_, path)| path)].into_iter().flatten() {
            if part.len() > 3 {
                text = text.replace(part, "[hidden]");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        let (url, password) = (Secret::new("https://h.example/T0/B1?x"), Secret::new("hunter22"));
        assert_eq!(format!("{url:?} {password:?}"), "[hidden] [hidden]");
        let text = "https://h.example/T0/B1?x: /T0/B1?x says: hunter22 is wrong";
        assert_eq!(redacted(text, &[url, password]), "[hidden]: /[hidden] says: [hidden] is wrong");
        assert_eq!(redacted("a b", &[Secret::new(""), Secret::new("b")]), "a b");
    }
}
