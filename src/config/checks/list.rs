//! Parses and writes comma-separated lists: `\,` is a comma inside an item, and white space around items is trimmed.

/// Splits a list. A backslash has a special meaning only right before a comma: `\,` is a comma and `\\` a
/// backslash. A list of only white space has no items.
pub(crate) fn split(list: &[u8]) -> Vec<Vec<u8>> {
    if list.trim_ascii().is_empty() {
        return Vec::new();
    }
    let mut items = vec![Vec::new()];
    let mut backslashes = 0;
    for byte in list {
        let item = match items.last_mut() {
            Some(item) => item,
            None => continue,
        };
        match byte {
            b'\\' => backslashes += 1,
            b',' => {
                item.extend(std::iter::repeat_n(b'\\', backslashes / 2));
                if backslashes % 2 == 1 {
                    item.push(b',');
                } else {
                    items.push(Vec::new());
                }
                backslashes = 0;
            }
            byte => {
                item.extend(std::iter::repeat_n(b'\\', backslashes));
                item.push(*byte);
                backslashes = 0;
            }
        }
    }
    if let Some(item) = items.last_mut() {
        item.extend(std::iter::repeat_n(b'\\', backslashes));
    }
    items.iter().map(|item| item.trim_ascii().to_vec()).collect()
}

/// Writes a list that [`split`] reads back.
pub(crate) fn join(items: &[Vec<u8>]) -> Vec<u8> {
    let mut list = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let last = index + 1 == items.len();
        let mut backslashes = 0;
        for byte in item {
            if *byte == b',' {
                list.extend(std::iter::repeat_n(b'\\', backslashes + 1));
            }
            backslashes = if *byte == b'\\' { backslashes + 1 } else { 0 };
            list.push(*byte);
        }
        if !last {
            list.extend(std::iter::repeat_n(b'\\', backslashes));
            list.push(b',');
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_backslash_before_a_comma_is_special() {
        for (list, items) in [
            ("", &[][..]),
            ("  \n", &[]),
            ("/a", &["/a"]),
            ("/a,/b", &["/a", "/b"]),
            (" /a ,\t/b c\n", &["/a", "/b c"]),
            (r"/a\,b,/c", &["/a,b", "/c"]),
            (r"/a\\,b", &[r"/a\", "b"]),
            (r"/a\\\,b", &[r"/a\,b"]),
            (r"/a\b\", &[r"/a\b\"]),
            ("/a,,/b,", &["/a", "", "/b", ""]),
        ] {
            let items: Vec<Vec<u8>> = items.iter().map(|item| item.as_bytes().to_vec()).collect();
            assert_eq!(split(list.as_bytes()), items, "{list:?}");
        }
    }

    proptest! {
        #[test]
        fn every_list_can_be_written(items in proptest::collection::vec("[a-c/\\\\, ]{0,6}x?[\\\\,]{0,3}", 1..5)) {
            let items: Vec<Vec<u8>> = items.iter().map(|item| item.trim().as_bytes().to_vec()).collect();
            prop_assume!(!join(&items).trim_ascii().is_empty());
            prop_assert_eq!(split(&join(&items)), items);
        }
    }
}
