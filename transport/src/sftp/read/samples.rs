//! Compares random parts of a file with a file of the base that probably has the same content, instead of fetching the
//! whole file. Only a file of which a part differs is fetched.

use std::fs::File;
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
pub(crate) type Fetch = Box<dyn FnOnce(Vec<Part>, Box<dyn ContentSink>) + Send>;

/// The parts to fetch for `files`, and the sink that receives them. `fetch` fetches the files of which a part differs.
pub(crate) fn sampled(
    files: Vec<Wanted>,
    sink: Box<dyn ContentSink>,
    fetch: Fetch,
) -> (Vec<Part>, Box<dyn ContentSink>) {
    // A smaller file is fetched whole, and its hash is compared.
    let is_sampled = |wanted: &Wanted| {
        matches!(wanted.base, Some(OfBase::Same(_))) && wanted.entry.meta.size > SAMPLES * LENGTH
    };
    if !files.iter().any(is_sampled) {
        return (files.into_iter().map(Part::whole).collect(), sink);
    }
    let (mut parts, mut places, mut compared) = (Vec::new(), Vec::new(), Vec::new());
    for (index, wanted) in files.into_iter().enumerate() {
        match &wanted.base {
            Some(OfBase::Same(base)) if is_sampled(&wanted) => {
                let base = Arc::clone(base);
                for number in 0..SAMPLES {
                    let from = random_below(wanted.entry.meta.size - LENGTH + 1, number);
                    let part = Wanted { from, ..wanted.clone() };
                    parts.push(Part { wanted: part, length: Some(LENGTH) });
                    let end = from + LENGTH;
                    places.push(Place::Sample { file: compared.len(), at: from, end });
                }
                compared.push(Compared {
                    index,
                    wanted,
                    base,
                    file: None,
                    is_equal: true,
                    outstanding: SAMPLES,
                    after: None,
                });
            }
            _ => {
                parts.push(Part::whole(wanted));
                places.push(Place::File(index));
            }
        }
    }
    let fetch = Some(fetch);
    (parts, Box::new(Samples { sink, places, compared, fetch }))
}

/// A random number below `limit`.
fn random_below(limit: u64, seed: u64) -> u64 {
    RandomState::new().hash_one(seed) % limit.max(1)
}

/// What a fetched part belongs to.
enum Place {
    /// A whole file: its index in the request of the engine.
    File(usize),
    /// A part of one of the files that are compared, how far it arrived, and its end.
    Sample { file: usize, at: u64, end: u64 },
}

/// A file that is compared.
struct Compared {
    /// The index in the request of the engine.
    index: usize,
    wanted: Wanted,
    base: Arc<dyn BaseFile>,
    file: Option<File>,
    is_equal: bool,
    /// Parts without an end.
    outstanding: u64,
    /// The end of the first part that failed or is of another state of the file, otherwise that of the last part.
    after: Option<Result<Meta, SourceError>>,
}

impl Compared {
    /// Compares the bytes at an offset with those of the base.
    fn compare(&mut self, at: u64, bytes: &[u8]) -> ControlFlow<()> {
        if self.file.is_none() {
            self.file = self.base.open().ok();
        }
        let mut of_base = vec![0; bytes.len()];
        // A file of the base that cannot be read is not equal.
        let read = self.file.as_ref().map(|file| file.read_exact_at(&mut of_base, at));
        self.is_equal &= matches!(read, Some(Ok(()))) && of_base == bytes;
        if self.is_equal { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Records the end of a part.
    fn ended(&mut self, after: Result<Meta, SourceError>) {
        self.outstanding -= 1;
        let listed = &self.wanted.entry.meta;
        let is_listed = |after: &Result<Meta, SourceError>| {
            after.as_ref().is_ok_and(|after| same_version(listed, after))
        };
        if self.after.as_ref().is_none_or(is_listed) {
            self.after = Some(after);
        }
    }
}

/// Passes whole files on, and compares parts.
struct Samples {
    sink: Box<dyn ContentSink>,
    /// What each part of the request belongs to.
    places: Vec<Place>,
    compared: Vec<Compared>,
    fetch: Option<Fetch>,
}

impl Samples {
    /// Ends a file all of whose parts have ended. One that differs is fetched later.
    fn settle(&mut self, number: usize) {
        let file = &mut self.compared[number];
        if file.outstanding > 0 {
            return;
        }
        // Many files of a request wait for its end.
        file.file = None;
        let listed = &file.wanted.entry.meta;
        match file.after.take() {
            Some(Ok(after)) if same_version(listed, &after) && !file.is_equal => {}
            Some(after) => {
                if after.as_ref().is_ok_and(|after| same_version(listed, after)) {
                    self.sink.same(file.index, ContentProof::Samples);
                }
                self.sink.file_end(file.index, after);
                // Only files that are to be fetched stay not equal.
                file.is_equal = true;
            }
            None => {}
        }
    }
}

impl ContentSink for Samples {
    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        match &mut self.places[index] {
            Place::File(index) => self.sink.data(*index, bytes),
            Place::Sample { file, at, .. } => {
                let from = std::mem::replace(at, *at + bytes.len() as u64);
                self.compared[*file].compare(from, bytes)
            }
        }
    }

    fn hole(&mut self, index: usize, length: u64) -> ControlFlow<()> {
        match &mut self.places[index] {
            Place::File(index) => self.sink.hole(*index, length),
            Place::Sample { file, at, .. } => {
                let from = std::mem::replace(at, *at + length);
                // A part is not longer than the length that was requested.
                let zeros = vec![0; usize::try_from(length.min(LENGTH)).unwrap_or_default()];
                self.compared[*file].compare(from, &zeros)
            }
        }
    }

    fn of_base(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.data(index, bytes)
    }

    /// SFTP has no hashes.
    fn hashed(&mut self, _: usize, _: [u8; 32]) {}

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn file_end(&mut self, index: usize, after: Result<Meta, SourceError>) {
        match self.places[index] {
            Place::File(index) => self.sink.file_end(index, after),
            Place::Sample { file, at, end } => {
                // Bytes that did not arrive are not equal.
                self.compared[file].is_equal &= at == end;
                self.compared[file].ended(after);
                self.settle(file);
            }
        }
    }

    fn end(self: Box<Self>) {
        let Self { sink, compared, fetch, .. } = *self;
        let different = compared.into_iter().filter(|file| !file.is_equal);
        let (places, parts): (Vec<_>, Vec<_>) = different
            .map(|file| {
                (Place::File(file.index), Part::whole(Wanted { base: None, ..file.wanted }))
            })
            .unzip();
        match fetch {
            Some(fetch) if !parts.is_empty() => {
                fetch(parts, Box::new(Self { sink, places, compared: Vec::new(), fetch: None }));
            }
            _ => sink.end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
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
        let fetch: Fetch = Box::new(move |parts, sink| send.send((parts, sink)).unwrap());
        let files = vec![wanted(false), wanted(true)];
        let (parts, mut sink) = sampled(files, Box::new(seen.clone()), fetch);
        assert_eq!(parts.len(), 1 + SAMPLES as usize);
        answer(&parts, sink.as_mut(), content, after);
        sink.end();
        let mut fetched = 0;
        for (parts, mut sink) in sent.try_iter() {
            fetched += parts.len();
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
        let same = ["1 Samples".to_owned(), format!("1 ended Ok({SIZE})"), "end".to_owned()];
        assert_eq!(run(&content(), &as_listed), ([whole(0).as_slice(), &same].concat(), 0));
        let other: Vec<u8> = content().iter().map(|byte| !byte).collect();
        let end = ["end".to_owned()];
        let fetched = [whole(0).as_slice(), &whole(1), &end].concat();
        assert_eq!(run(&other, &as_listed), (fetched, 1));
    }

    #[test]
    fn a_file_that_changed_or_failed_is_not_confirmed() {
        let changed = || Ok(Meta { size: 7, ..wanted(false).entry.meta });
        let (seen, fetched) = run(&content(), &changed);
        assert_eq!((&seen[2..], fetched), (&["1 ended Ok(7)".to_owned(), "end".to_owned()][..], 0));
        let (seen, fetched) = run(&content(), &|| Err(SourceError::Vanished));
        let failed = "1 ended Err(\"it does not exist\")".to_owned();
        assert_eq!((&seen[2..], fetched), (&[failed, "end".to_owned()][..], 0));
    }

    #[test]
    fn parts_that_end_early_confirm_nothing() {
        let (seen, (send, sent)) = (Seen::default(), channel());
        let fetch: Fetch = Box::new(move |parts, sink| send.send((parts, sink)).unwrap());
        let (parts, mut sink) = sampled(vec![wanted(true)], Box::new(seen.clone()), fetch);
        for (index, part) in parts.iter().enumerate() {
            if index == 0 {
                let from = usize::try_from(part.wanted.from).unwrap();
                let _ = sink.data(index, &content()[from..from + 100]);
            }
            sink.file_end(index, Ok(wanted(false).entry.meta));
        }
        sink.end();
        assert_eq!((lock(&seen.0).len(), sent.try_iter().count()), (0, 1));
    }

    #[test]
    fn small_files_are_fetched_whole() {
        let mut small = wanted(true);
        small.entry.meta.size = SAMPLES * LENGTH;
        let fetch: Fetch = Box::new(|_, _| {});
        let (parts, _) = sampled(vec![small], Box::new(Seen::default()), fetch);
        assert!(parts.len() == 1 && parts[0].length.is_none());
    }
}
