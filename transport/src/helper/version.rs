//! Versions of this program. Pure.

/// A version of this program, as far as it is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version([u64; 3]);

impl Version {
    /// The version of this program.
    pub(crate) fn own() -> Self {
        Self::read(env!("CARGO_PKG_VERSION"))
    }

    /// Reads `1.2.3`, also with something behind it. Anything else is older than every version.
    pub(crate) fn read(text: &str) -> Self {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let numbers: Option<Vec<u64>> = core.split('.').map(|part| part.parse().ok()).collect();
        Self(numbers.and_then(|numbers| numbers.try_into().ok()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let texts = ["nonsense", "0.9.0", "0.10.0", "0.10.1-rc1", "1.0.0"];
        let read: Vec<_> = texts.iter().map(|text| Version::read(text)).collect();
        assert!(read.is_sorted_by(|a, b| a < b), "{read:?}");
        assert_eq!(Version::read("1.2"), Version::read(""));
        assert!(Version::own() > Version::default());
    }
}
