//! Names and paths, which are bytes, in URLs (RFC 3986), and back.

/// Appends `bytes` with everything escaped but unreserved characters and those in `also`.
fn escape(url: &mut String, bytes: &[u8], also: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || also.contains(byte) {
            url.push(char::from(*byte));
        } else {
            url.push('%');
            url.push(char::from(DIGITS[usize::from(byte >> 4)]));
            url.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// Text as one component, or as a value of a query.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    escape(&mut text, bytes, b"");
    text
}

/// The bytes that `text` stands for. `None` if an escape is not complete.
pub(crate) fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest = after;
            }
            (b'%', _) => return None,
            (byte, _) => bytes.push(*byte),
        }
    }
    Some(bytes)
}

/// A URL of the page, which is built from left to right.
#[derive(Debug, Clone)]
pub(crate) struct Link(String);

impl Link {
    /// The page `name`; `base` is the path of the page itself.
    pub(crate) fn to(base: &str, name: &str) -> Self {
        Self(format!("{base}/{name}"))
    }

    /// Adds a component.
    pub(crate) fn component(mut self, name: &[u8]) -> Self {
        self.0.push('/');
        escape(&mut self.0, name, b"");
        self
    }

    /// Adds a path inside a snapshot.
    pub(crate) fn path(mut self, inside: &[u8]) -> Self {
        self.0.push('/');
        escape(&mut self.0, inside, b"/");
        self
    }

    /// Adds a value to the query.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        escape(&mut self.0, value.as_bytes(), b"");
        self
    }
}

impl maud::Render for Link {
    fn render_to(&self, buffer: &mut String) {
        self.0.render_to(buffer);
    }
}

/// The values of a query or of a form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(Vec<u8>, Vec<u8>)>);

impl Query {
    /// Reads `application/x-www-form-urlencoded` (URL standard, 5.1). Skips what is not complete.
    pub(crate) fn read(text: &[u8]) -> Self {
        let part = |text: &[u8]| {
            let spaces: Vec<u8> =
                text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            unescaped(&spaces)
        };
        let pairs = text.split(|byte| *byte == b'&').filter_map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            Some((part(halves.next()?)?, part(halves.next().unwrap_or_default())?))
        });
        Self(pairs.collect())
    }

    /// The value of `name`; `None` if it is missing or empty.
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name.as_bytes())?;
        (!value.is_empty()).then_some(value)
    }

    /// The value of `name` as text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes(name)?).ok()
    }

    /// Whether `name` has a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.bytes(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_comes_back_from_a_url() {
        let all: Vec<u8> = (0..=255).collect();
        let text = escaped(&all);
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#&\"'<>".contains(&byte)));
        assert_eq!(unescaped(text.as_bytes()), Some(all));
        for text in ["%", "%1", "%zz", "a%"] {
            assert_eq!(unescaped(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_link_is_built_from_left_to_right() {
        let link = Link::to("/x", "browse")
            .component(b"a/b")
            .path(b"home/\xff?")
            .with("at", "p.1")
            .with("page", "2");
        assert_eq!(link.0, "/x/browse/a%2Fb/home/%FF%3F?at=p.1&page=2");
    }

    #[test]
    fn the_values_of_a_query_are_bytes() {
        let query = Query::read(b"a=1+2&b=%ff&c=&d&a=3&e=%");
        assert_eq!(query.text("a"), Some("1 2"));
        assert_eq!((query.bytes("b"), query.text("b")), (Some(&b"\xff"[..]), None));
        assert!(!query.has("c") && !query.has("d") && !query.has("e"));
    }
}
