//! Compares random parts of a file with a file of the base that probably has the same content, instead of fetching the
//! whole file. Only a file of which a part differs is fetched.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use engine::SourceError;
use engine::entry::Meta;
use engine::source::{BaseFile, ContentProof, ContentSink, OfBase, Wanted};

use crate::sftp::read::command::Part;
use crate::sftp::read::file::identity::same_version;

/// The number of parts of a file that are compared.
const SAMPLES: u64 = 3;

/// The length of each, bytes.
const LENGTH: u64 = 64 << 10;

/// Fetches files for a sink.
pub(crate) type Fetch = Arc<dyn Fn(Vec<Part>, Box<dyn ContentSink>) + Send + Sync>;

/// The parts to fetch for `files`, and the sink that receives them. `fetch` fetches further parts, and the files of which a
/// part differs. The parts of a file are fetched one after the other: a line that breaks again and again still
/// carries one more each time.
pub(crate) fn sampled(
    files: Vec<Wanted>,
    sink: Box<dyn ContentSink>,
    fetch: Fetch,
) -> (Vec<Part>, Box<dyn ContentSink>) {
    // A smaller file is fetched whole, and its hash is compared.
    let is_sampled = |wanted: &Wanted| wanted.entry.meta.size > SAMPLES * LENGTH;
    let is_same = |wanted: &Wanted| matches!(wanted.base, Some(OfBase::Same(_)));
    if !files.iter().any(|wanted| is_same(wanted) && is_sampled(wanted)) {
        return (files.into_iter().map(Part::whole).collect(), sink);
    }
    let wholes = |(index, wanted)| Awaited { index, wanted, compared: None, again: false };
    let awaited = files.into_iter().enumerate().map(wholes).map(|mut file| {
        if let Some(OfBase::Same(base)) = &file.wanted.base
            && is_sampled(&file.wanted)
        {
            file.compared = Some(Compared { base: Arc::clone(base), left: SAMPLES, at: 0, end: 0 });
        }
        file
    });
    next(awaited, sink, fetch)
}

/// The next parts of the files that are awaited, and their sink.
fn next(
    awaited: impl Iterator<Item = Awaited>,
    sink: Box<dyn ContentSink>,
    fetch: Fetch,
) -> (Vec<Part>, Box<dyn ContentSink>) {
    let (parts, files) = awaited.map(Awaited::ask).unzip();
    (parts, Box::new(Samples { sink, files, fetch }))
}

/// A random number below `limit`.
fn random_below(limit: u64, seed: u64) -> u64 {
    RandomState::new().hash_one(seed) % limit.max(1)
}

/// A file of which more is awaited.
struct Awaited {
    /// The index in the request of the engine.
    index: usize,
    wanted: Wanted,
    /// `None` for a file that is fetched whole.
    compared: Option<Compared>,
    /// More of it has to be fetched.
    again: bool,
}

/// A file that is compared.
struct Compared {
    base: Arc<dyn BaseFile>,
    /// The parts without an end.
    left: u64,
    /// How far the current part arrived, and its end. Behind the end when it differs.
    at: u64,
    end: u64,
}

impl Awaited {
    /// Asks for the file, or for a part of it.
    fn ask(mut self) -> (Part, Self) {
        self.again = false;
        let Some(compared) = &mut self.compared else {
            return (Part::whole(self.wanted.clone()), self);
        };
        let from = random_below(self.wanted.entry.meta.size - LENGTH + 1, compared.left);
        (compared.at, compared.end) = (from, from + LENGTH);
        let wanted = Wanted { from, ..self.wanted.clone() };
        (Part { wanted, length: Some(LENGTH) }, self)
    }
}

impl Compared {
    /// Compares the next bytes with those of the base.
    fn compare(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let mut of_base = vec![0; bytes.len()];
        // A file of the base that cannot be read is not equal.
        let read = self.base.open().and_then(|file| file.read_exact_at(&mut of_base, self.at));
        if self.at <= self.end && read.is_ok() && of_base == bytes {
            self.at += bytes.len() as u64;
            return ControlFlow::Continue(());
        }
        self.at = u64::MAX;
        ControlFlow::Break(())
    }
}

/// Passes whole files on, and compares parts.
struct Samples {
    sink: Box<dyn ContentSink>,
    /// What each part of the request belongs to.
    files: Vec<Awaited>,
    fetch: Fetch,
}

impl ContentSink for Samples {
    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        let Awaited { index, compared, .. } = &mut self.files[index];
        match compared {
            Some(compared) => {
                self.sink.compared(*index, bytes.len());
                compared.compare(bytes)
            }
            None => self.sink.data(*index, bytes),
        }
    }

    fn hole(&mut self, index: usize, length: u64) -> ControlFlow<()> {
        let Awaited { index, compared, .. } = &mut self.files[index];
        match compared {
            // A part is not longer than the length that was requested.
            Some(compared) => {
                compared.compare(&vec![0; usize::try_from(length.min(LENGTH)).unwrap_or_default()])
            }
            None => self.sink.hole(*index, length),
        }
    }

    fn of_base(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.data(index, bytes)
    }

    /// SFTP has no hashes.
    fn hashed(&mut self, _: usize, _: [u8; 32]) {}

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn file_end(&mut self, index: usize, after: Result<Meta, SourceError>) {
        let file = &mut self.files[index];
        let listed = &file.wanted.entry.meta;
        let is_listed = after.as_ref().is_ok_and(|after| same_version(listed, after));
        if let Some(compared) = file.compared.as_mut().filter(|_| is_listed) {
            compared.left -= 1;
            let (is_last, is_equal) = (compared.left == 0, compared.at == compared.end);
            if !is_equal {
                // It differs, or bytes did not arrive: the file is fetched whole.
                (file.compared, file.wanted.base) = (None, None);
            }
            if !is_equal || !is_last {
                file.again = true;
                return;
            }
            self.sink.same(file.index, ContentProof::Samples);
        }
        self.sink.file_end(file.index, after);
    }

    fn end(self: Box<Self>) {
        let Self { sink, mut files, fetch } = *self;
        files.retain(|file| file.again);
        if files.is_empty() {
            return sink.end();
        }
        let (parts, sink) = next(files.into_iter(), sink, Arc::clone(&fetch));
        fetch(parts, sink);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs::File;
    use std::io::Write;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use engine::entry::{Entry, Kind};
    use engine::threads::lock;

    use super::*;

    const SIZE: u64 = 1 << 20;

    /// Records what it receives.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl ContentSink for Seen {
        fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
            lock(&self.0).push(format!("{index} data {}", bytes.len()));
            ControlFlow::Continue(())
        }

        fn hole(&mut self, index: usize, length: u64) -> ControlFlow<()> {
            lock(&self.0).push(format!("{index} hole {length}"));
            ControlFlow::Continue(())
        }

        fn of_base(&mut self, _: usize, _: &[u8]) -> ControlFlow<()> {
            ControlFlow::Break(())
        }

        fn compared(&mut self, index: usize, bytes: usize) {
            lock(&self.0).push(format!("{index} compared {bytes}"));
        }

        fn hashed(&mut self, _: usize, _: [u8; 32]) {}

        fn same(&mut self, index: usize, proof: ContentProof) {
            lock(&self.0).push(format!("{index} {proof:?}"));
        }

        fn file_end(&mut self, index: usize, after: Result<Meta, SourceError>) {
            let size = after.map_err(|error| error.to_string()).map(|meta| meta.size);
            lock(&self.0).push(format!("{index} ended {size:?}"));
        }

        fn end(self: Box<Self>) {
            lock(&self.0).push("end".to_owned());
        }
    }

    #[derive(Debug)]
    struct Kept(File);

    impl BaseFile for Kept {
        fn open(&self) -> std::io::Result<File> {
            self.0.try_clone()
        }
    }

    fn content() -> Vec<u8> {
        (0..SIZE).map(|at| (at / 4096 * 31 + at % 251) as u8).collect()
    }

    fn wanted(base: bool) -> Wanted {
        let meta = Meta { size: SIZE, ..Meta::of(Kind::File) };
        let entry = Entry { name: CString::from(c"name"), meta, extra: None };
        let kept = || {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&content()).unwrap();
            OfBase::Same(Arc::new(Kept(file)))
        };
        Wanted { entry, from: 0, again: false, base: base.then(kept) }
    }

    /// Sends the requested parts of `content`, with `after` as the end of each.
    fn answer(
        parts: &[Part],
        sink: &mut dyn ContentSink,
        content: &[u8],
        after: &dyn Fn() -> Result<Meta, SourceError>,
    ) {
        for (index, part) in parts.iter().enumerate() {
            let from = usize::try_from(part.wanted.from).unwrap();
            let length = part.length.map_or(content.len(), |length| length as usize);
            let _ = sink.data(index, &content[from..from + length]);
            sink.file_end(index, after());
        }
    }

    /// What the engine receives for a whole file and a file that is compared, and whether that one is fetched.
    fn run(content: &[u8], after: &dyn Fn() -> Result<Meta, SourceError>) -> (Vec<String>, usize) {
        let (seen, (send, sent)) = (Seen::default(), channel());
        let fetch: Fetch = Arc::new(move |parts, sink| send.send((parts, sink)).unwrap());
        let files = vec![wanted(false), wanted(true)];
        let (parts, mut sink) = sampled(files, Box::new(seen.clone()), fetch);
        assert_eq!(parts.len(), 2);
        answer(&parts, sink.as_mut(), content, after);
        sink.end();
        let mut fetched = 0;
        while let Ok((parts, mut sink)) = sent.try_recv() {
            fetched += parts.iter().filter(|part| part.length.is_none()).count();
            answer(&parts, sink.as_mut(), content, after);
            sink.end();
        }
        let seen = lock(&seen.0).clone();
        (seen, fetched)
    }

    #[test]
    fn only_equal_parts_confirm_a_file() {
        let as_listed = || Ok(wanted(false).entry.meta);
        let whole =
            |index: usize| [format!("{index} data {SIZE}"), format!("{index} ended Ok({SIZE})")];
        let part = || format!("1 compared {LENGTH}");
        let same = [
            part(),
            part(),
            part(),
            "1 Samples".to_owned(),
            format!("1 ended Ok({SIZE})"),
            "end".to_owned(),
        ];
        assert_eq!(run(&content(), &as_listed), ([whole(0).as_slice(), &same].concat(), 0));
        let other: Vec<u8> = content().iter().map(|byte| !byte).collect();
        let end = ["end".to_owned()];
        let fetched = [whole(0).as_slice(), &[part()], &whole(1), &end].concat();
        assert_eq!(run(&other, &as_listed), (fetched, 1));
    }

    #[test]
    fn a_file_that_changed_or_failed_is_not_confirmed() {
        let changed = || Ok(Meta { size: 7, ..wanted(false).entry.meta });
        let (seen, fetched) = run(&content(), &changed);
        assert_eq!((&seen[3..], fetched), (&["1 ended Ok(7)".to_owned(), "end".to_owned()][..], 0));
        let (seen, fetched) = run(&content(), &|| Err(SourceError::Vanished));
        let failed = "1 ended Err(\"it does not exist\")".to_owned();
        assert_eq!((&seen[3..], fetched), (&[failed, "end".to_owned()][..], 0));
    }

    #[test]
    fn parts_that_end_early_confirm_nothing() {
        let (seen, (send, sent)) = (Seen::default(), channel());
        let fetch: Fetch = Arc::new(move |parts, sink| send.send((parts, sink)).unwrap());
        let (parts, mut sink) = sampled(vec![wanted(true)], Box::new(seen.clone()), fetch);
        for (index, part) in parts.iter().enumerate() {
            if index == 0 {
                let from = usize::try_from(part.wanted.from).unwrap();
                let _ = sink.data(index, &content()[from..from + 100]);
            }
            sink.file_end(index, Ok(wanted(false).entry.meta));
        }
        sink.end();
        let (parts, _) = sent.try_recv().unwrap();
        assert_eq!(*lock(&seen.0), ["0 compared 100"]);
        assert!(parts.len() == 1 && parts[0].length.is_none());
    }

    #[test]
    fn small_files_are_fetched_whole() {
        let mut small = wanted(true);
        small.entry.meta.size = SAMPLES * LENGTH;
        let fetch: Fetch = Arc::new(|_, _| {});
        let (parts, _) = sampled(vec![small], Box::new(Seen::default()), fetch);
        assert!(parts.len() == 1 && parts[0].length.is_none());
    }
}
