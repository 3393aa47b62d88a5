//! Keeps waiting subfolders in a file when they take too much memory: a folder may have millions of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::backup::walk::folder::subfolders::Subfolders;
use crate::threads::lock::lock;
use crate::threads::share_of;

/// The most memory of waiting subfolders, bytes. Those that are added beyond it go to the file.
const MEMORY: usize = 16 << 20;

/// Subfolders that wait, in memory or in the file.
#[derive(Debug)]
pub(crate) enum Waits {
    Here(Subfolders),
    Away { at: u64, length: usize },
}

/// The memory of all waiting subfolders, and the file for the others.
#[derive(Debug, Default)]
pub(crate) struct Overflow {
    memory: AtomicUsize,
    /// `None` if it cannot be made. All subfolders then stay in memory.
    file: OnceLock<Option<File>>,
    used: Mutex<Used>,
}

/// The used part of the file.
#[derive(Debug, Default)]
struct Used {
    end: u64,
    /// How many times subfolders were written and not read back.
    waiting: usize,
}

impl Overflow {
    /// Keeps some subfolders. Those that were kept last are usually taken first. `make` makes the file.
    pub(crate) fn keep(&self, some: Subfolders, make: impl FnOnce() -> Option<File>) -> Waits {
        let bytes = some.bytes();
        let is_much = self.memory.fetch_add(bytes, Ordering::Relaxed) + bytes > share_of(MEMORY);
        if is_much
            && let Some(encoded) = some.encode()
            && let Some(file) = self.file.get_or_init(make)
        {
            let mut used = lock(&self.used);
            // On a full disk they stay in memory.
            if file.write_all_at(&encoded, used.end).is_ok() {
                let at = used.end;
                used.end += encoded.len() as u64;
                used.waiting += 1;
                self.memory.fetch_sub(bytes, Ordering::Relaxed);
                return Waits::Away { at, length: encoded.len() };
            }
        }
        Waits::Here(some)
    }

    /// Keeps in memory what is left of subfolders that were taken: they are taken again next.
    pub(crate) fn keep_here(&self, rest: Subfolders) -> Waits {
        self.memory.fetch_add(rest.bytes(), Ordering::Relaxed);
        Waits::Here(rest)
    }

    /// Returns subfolders that were kept.
    ///
    /// # Errors
    /// Those of `pread(2)`.
    pub(crate) fn take(&self, kept: Waits) -> io::Result<Subfolders> {
        match kept {
            Waits::Here(some) => {
                self.memory.fetch_sub(some.bytes(), Ordering::Relaxed);
                Ok(some)
            }
            Waits::Away { at, length } => {
                let mut encoded = vec![0; length];
                let file = self.file.get().and_then(Option::as_ref);
                file.ok_or(io::ErrorKind::NotFound)?.read_exact_at(&mut encoded, at)?;
                let mut used = lock(&self.used);
                used.waiting -= 1;
                if used.waiting == 0 {
                    used.end = 0;
                } else if used.end == at + length as u64 {
                    used.end = at;
                }
                drop(used);
                Subfolders::decode(&encoded).ok_or_else(|| io::ErrorKind::InvalidData.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::walk::state::setting::CountedArea;
    use crate::entry::{Entry, Extra, FileId, Kind, Meta, Time};

    fn some(number: u32) -> Subfolders {
        let mut some = Subfolders::default();
        for index in 0..400 {
            let meta = Meta {
                mode: 0o750,
                uid: number,
                gid: u32::MAX,
                mtime: Time { secs: -7, nanos: 9 },
                id: (index > 0).then_some(FileId { dev: 3, ino: u64::MAX }),
                ..Meta::of(Kind::Folder)
            };
            let mut name = format!("{number} {index} ").into_bytes();
            name.resize(255, 0xfe);
            let extra = Extra {
                xattrs: vec![(b"user.a".to_vec(), vec![0, 1])],
                xattrs_unread: true,
                ..Extra::default()
            };
            let extra = (index % 3 == 0).then(|| Box::new(extra));
            let entry = Entry { name: std::ffi::CString::new(name).unwrap(), meta, extra };
            let area = (index % 2 == 0).then_some(index);
            some.push((&entry).into(), CountedArea { area, left_out: index % 5 == 0 }, None);
        }
        some
    }

    fn all(mut some: Subfolders) -> Vec<(Entry, CountedArea)> {
        std::iter::from_fn(|| some.pop()).map(|it| (it.entry, it.beyond)).collect()
    }

    #[test]
    fn what_does_not_fit_into_memory_comes_back_from_the_file() {
        let overflow = Overflow::default();
        let make = || tempfile::tempfile().ok();
        let kept: Vec<_> = (0..300).map(|number| overflow.keep(some(number), make)).collect();
        let away = kept.iter().filter(|kept| matches!(kept, Waits::Away { .. })).count();
        assert!((100..300).contains(&away), "{away}");
        assert!(overflow.memory.load(Ordering::Relaxed) <= MEMORY);
        for (number, kept) in (0..300).zip(kept).rev() {
            assert_eq!(all(overflow.take(kept).unwrap()), all(some(number)), "{number}");
        }
        assert_eq!(overflow.memory.load(Ordering::Relaxed), 0);
        assert_eq!(lock(&overflow.used).end, 0, "the file is used again");
    }

    #[test]
    fn without_a_file_they_stay_in_memory() {
        let overflow = Overflow::default();
        let kept: Vec<_> = (0..300).map(|number| overflow.keep(some(number), || None)).collect();
        for (number, kept) in (0..).zip(kept) {
            assert_eq!(all(overflow.take(kept).unwrap()), all(some(number)), "{number}");
        }
    }
}
