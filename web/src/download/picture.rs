//! Pictures that browsers show, by their first bytes. SVG is not one of them: it can contain scripts.

/// The media type of a picture that begins with `start`.
pub(crate) fn is_picture(start: &[u8]) -> Option<&'static str> {
    match start {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_known_by_its_first_bytes() {
        assert_eq!(is_picture(b"\x89PNG\r\n\x1a\n..."), Some("image/png"));
        assert_eq!(is_picture(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(is_picture(b"RIFF\0\0\0\0WEBPVP8 "), Some("image/webp"));
        for other in [&b""[..], b"<svg xmlns=", b"<html>", b"GIF"] {
            assert_eq!(is_picture(other), None);
        }
    }
}
