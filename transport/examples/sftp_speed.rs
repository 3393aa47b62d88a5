//! Measures the SFTP source: `sftp_speed HOST PATH [list|fetch] [CHANNELS] [SSH_CONFIG]`. Lists the tree at
//! PATH, and with `fetch` reads every file into nothing.

use std::error::Error;
use std::ffi::CStr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use engine::entry::{Batch, Kind, Meta};
use engine::source::{ContentProof, ContentSink, ListSink, Wanted};
use engine::{Source, SourceError};
use transport::sftp::read::{SftpFolder, SftpSource};
use transport::ssh::options::Options;

/// The tree in progress.
struct Walk {
    source: SftpSource,
    fetch: bool,
    entries: AtomicU64,
    bytes: AtomicU64,
    faults: AtomicU64,
    /// Requests that are out; told when it falls.
    out: Mutex<usize>,
    less: Condvar,
    todo: Sender<Arc<SftpFolder>>,
}

impl Walk {
    fn begin(&self) {
        *self.out.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn done(&self) {
        *self.out.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.less.notify_all();
    }
}

struct List(Arc<Walk>, Arc<SftpFolder>);

impl ListSink for List {
    fn batch(&mut self, batch: Batch) -> ControlFlow<()> {
        let Self(walk, folder) = self;
        walk.entries.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let mut files = Vec::new();
        for entry in batch.iter() {
            match entry.meta.kind {
                Kind::Folder => {
                    if let Ok(child) = walk.source.folder(folder, entry.name, entry.meta) {
                        walk.begin();
                        let _ = walk.todo.send(Arc::new(child));
                    }
                }
                Kind::File if walk.fetch => files.push(Wanted {
                    entry: entry.to_entry(),
                    from: 0,
                    again: false,
                    base: None,
                }),
                _ => {}
            }
        }
        if !files.is_empty() {
            walk.begin();
            walk.source.fetch(folder, files, Box::new(Fetch(Arc::clone(walk))));
        }
        ControlFlow::Continue(())
    }

    fn unreadable(&mut self, _: &CStr, _: SourceError) {
        self.0.faults.fetch_add(1, Ordering::Relaxed);
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        self.0.faults.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        self.0.done();
    }
}

struct Fetch(Arc<Walk>);

impl ContentSink for Fetch {
    fn data(&mut self, _: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.0.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        ControlFlow::Continue(())
    }

    fn hole(&mut self, _: usize, length: u64) -> ControlFlow<()> {
        self.0.bytes.fetch_add(length, Ordering::Relaxed);
        ControlFlow::Continue(())
    }

    fn of_base(&mut self, _: usize, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn hashed(&mut self, _: usize, _: [u8; 32]) {}

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn file_end(&mut self, _: usize, after: Result<Meta, SourceError>) {
        self.0.faults.fetch_add(u64::from(after.is_err()), Ordering::Relaxed);
    }

    fn end(self: Box<Self>) {
        self.0.done();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [host, path, rest @ ..] = &args[..] else {
        return Err("usage: sftp_speed HOST PATH [list|fetch] [CHANNELS] [SSH_CONFIG]".into());
    };
    let mut options = Options::default();
    if let Some(channels) = rest.get(1) {
        options.channels = channels.parse()?;
        options.channels_first = options.channels;
        options.channels_far = options.channels_far.max(options.channels);
    }
    options.config = rest.get(2).map(Into::into);
    let start = Instant::now();
    let source = SftpSource::connect(host.parse()?, options, || false)?;
    let connected = start.elapsed();
    let (todo, folders) = channel();
    let root = source.root(Path::new(path))?;
    let walk = Arc::new(Walk {
        source,
        fetch: rest.first().is_some_and(|what| what == "fetch"),
        entries: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        faults: AtomicU64::new(0),
        out: Mutex::new(0),
        less: Condvar::new(),
        todo,
    });
    walk.begin();
    walk.todo.send(root.folder)?;
    loop {
        while let Ok(folder) = folders.try_recv() {
            walk.source.list(&folder, Box::new(List(Arc::clone(&walk), Arc::clone(&folder))));
        }
        let out = walk.out.lock().unwrap_or_else(PoisonError::into_inner);
        if *out == 0 {
            break;
        }
        let pause = std::time::Duration::from_millis(1);
        let _ = walk.less.wait_timeout(out, pause).map_err(|_| "a thread panicked")?;
    }
    println!(
        "{:.3} s ({:.3} s to connect): {} entries, {} bytes, {} faults",
        start.elapsed().as_secs_f64(),
        connected.as_secs_f64(),
        walk.entries.load(Ordering::Relaxed),
        walk.bytes.load(Ordering::Relaxed),
        walk.faults.load(Ordering::Relaxed),
    );
    Ok(())
}
