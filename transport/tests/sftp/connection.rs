//! Connections: how they are refused, lost, made again and ended.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use engine::entry::Entry;
use engine::source::Wanted;
use engine::{Source, SourceError};
use tempfile::TempDir;
use transport::sftp::read::SftpSource;
use transport::ssh::connect::connect_error::ConnectError;
use transport::ssh::options::Options;

use crate::server::collect::{ask_fetch, ask_fetch_from, fetch, list};
use crate::server::trees::{connect, name, noise, refused};
use crate::server::{Sshd, Subsystem};

use crate::content::age;

#[test]
fn each_way_to_be_refused_is_told_apart() {
    let Some(server) = Sshd::start("each_way_to_be_refused", Subsystem::Missing) else { return };
    assert!(matches!(refused(&server), ConnectError::NoSftp { .. }));
    server.write_config("stranger", "");
    assert!(matches!(refused(&server), ConnectError::Authentication { .. }));
    server.write_config("user", "");
    let key = server.path("user");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = refused(&server);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    server.write_config("stranger", "");
    assert!(
        matches!(&error, ConnectError::KeyOpenToOthers { path } if Path::new(path) == key),
        "{error:?}"
    );
    let port = server.port();
    server.write_known_hosts("stranger");
    let error = refused(&server);
    assert!(
        matches!(&error, ConnectError::HostKeyChanged(key) if key.host == "127.0.0.1" && key.port == Some(port)
            && key.old_file == Some(server.path("known_hosts")) && key.shown.is_some()),
        "{error:?}"
    );
    fs::write(server.path("known_hosts"), "").unwrap();
    let error = refused(&server);
    assert!(
        matches!(&error, ConnectError::HostKeyUnknown(key) if key.host == "127.0.0.1" && key.port == Some(port)),
        "{error:?}"
    );
    let ConnectError::HostKeyUnknown(key) = error else { return };
    let (shown, file) = (key.shown.unwrap(), key.file.unwrap());
    assert_eq!(Path::new(&file), server.path("known_hosts"));
    let mut print = std::process::Command::new("ssh-keygen");
    let print = print.arg("-lf").arg(server.path("host.pub")).output().unwrap().stdout;
    assert_eq!(String::from_utf8_lossy(&print).split(' ').nth(1), Some(&*shown.fingerprint));
    fs::write(&file, shown.line + "\n").unwrap();
    assert!(matches!(refused(&server), ConnectError::Authentication { .. }), "the key is known");
    fs::write(&file, "").unwrap();
    server.write_config("user", "Host test\nHostName host.invalid");
    assert!(matches!(refused(&server), ConnectError::NameNotFound { .. }));
    server.write_config("user", "Host test\nPort 1");
    assert!(matches!(refused(&server), ConnectError::Refused { .. }));
    server.write_config("user", "Host test\nProxyCommand true");
    assert!(matches!(refused(&server), ConnectError::Closed { .. }));
    server.write_config("user", "Nonsense yes");
    assert!(matches!(refused(&server), ConnectError::Config { .. }));
    server.write_config("user", "Host test\nProxyCommand sleep 60");
    let mut options = server.options();
    options.connect_timeout = Duration::from_secs(1);
    let error = SftpSource::connect(server.address(), options.clone(), || false).err().unwrap();
    assert!(matches!(error, ConnectError::Timeout(_)), "{error:?}");
    options.ssh = "/nonexistent/ssh".into();
    let error = SftpSource::connect(server.address(), options, || false).err().unwrap();
    assert!(matches!(error, ConnectError::Local { .. }), "{error:?}");
}

#[test]
fn requests_of_a_lost_connection_are_answered_once_and_completely() {
    let Some(server) = Sshd::start("lost_connection", Subsystem::Internal) else { return };
    let server = Arc::new(server);
    let dir = TempDir::new().unwrap();
    for file in 0..3000 {
        fs::write(dir.path().join(file.to_string()), noise(file * 3, file as u64)).unwrap();
    }
    for file in 0..3 {
        fs::write(dir.path().join(format!("large {file}")), noise(40_000_000, file)).unwrap();
    }
    age(dir.path());
    let source = connect(&server);
    let folder = source.root(dir.path()).unwrap().folder;
    server.break_connections();
    let entries = list(&source, &folder).unwrap().entries;
    assert_eq!(entries.len(), 3003);
    let (breaking, breaks) = (Arc::clone(&server), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&breaks);
    let contents = ask_fetch(&source, &folder, &entries, move |total| {
        let step = count.load(Ordering::Relaxed);
        if total > (step + 1) * 20_000_000 && step < 4 && breaking.break_connections() > 0 {
            count.fetch_add(1, Ordering::Relaxed);
        }
    })
    .recv_timeout(Duration::from_secs(120))
    .unwrap();
    assert!(breaks.load(Ordering::Relaxed) >= 3, "it was broken several times");
    for (entry, content) in entries.iter().zip(contents) {
        let expected = fs::read(dir.path().join(name(entry.name.as_bytes()))).unwrap();
        assert!(content.bytes == expected, "{:?}", entry.name);
        assert!(content.after.unwrap().is_ok());
    }
}

#[test]
fn a_line_that_stalls_is_given_up_and_taken_up_again() {
    let Some(server) = Sshd::start("a_line_that_stalls", Subsystem::Internal) else { return };
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), noise(5_000_000, 1)).unwrap();
    let options = Options { answer_timeout: Duration::from_millis(500), ..server.options() };
    let source = SftpSource::connect(server.address(), options, || false).unwrap();
    let folder = source.root(dir.path()).unwrap().folder;
    let entries = list(&source, &folder).unwrap().entries;
    assert!(server.stop_connections() > 0);
    let start = Instant::now();
    let content = fetch(&source, &folder, &entries).pop().unwrap();
    assert!(content.bytes == noise(5_000_000, 1) && start.elapsed() > Duration::from_millis(500));
}

#[test]
fn a_file_that_changed_while_the_line_was_down_is_not_pieced_together() {
    let Some(server) = Sshd::start("a_file_that_changed", Subsystem::Internal) else { return };
    let server = Arc::new(server);
    let dir = TempDir::new().unwrap();
    let (path, other) = (dir.path().join("file"), TempDir::new().unwrap());
    // More data than is in flight when the first bytes arrive.
    fs::write(&path, vec![1; 200_000_000]).unwrap();
    let replacement = other.path().join("file");
    fs::write(&replacement, vec![2; 201_000_000]).unwrap();
    // With one channel, the file is opened only once on each connection.
    let options = Options { channels_given: Some(1), ..server.options() };
    let source = SftpSource::connect(server.address(), options, || false).unwrap();
    let folder = source.root(dir.path()).unwrap().folder;
    let entries = list(&source, &folder).unwrap().entries;
    let (breaking, mut broken) = (Arc::clone(&server), false);
    let contents = ask_fetch(&source, &folder, &entries, move |total| {
        if total > 10_000_000 && !broken {
            broken = true;
            // The open handles still read the old file, so no bytes of the new one arrive before the break.
            fs::rename(&replacement, &path).unwrap();
            breaking.break_connections();
        }
    });
    let content = contents.recv_timeout(Duration::from_secs(60)).unwrap().pop().unwrap();
    let after = content.after.unwrap();
    assert!(matches!(&after, Ok(meta) if meta.size == 201_000_000), "{after:?}");
    assert!(content.bytes.len() < 200_000_000 && content.bytes.iter().all(|byte| *byte == 1));
}

#[test]
fn files_go_on_from_an_offset_when_they_are_as_they_were() {
    let Some(server) = Sshd::start("from_an_offset", Subsystem::Internal) else { return };
    let server = Arc::new(server);
    let dir = TempDir::new().unwrap();
    let sizes = [0, 10, 5000, 300_000, 30_000_000];
    for (number, size) in sizes.into_iter().enumerate() {
        fs::write(dir.path().join(format!("{number}")), noise(size, number as u64)).unwrap();
    }
    age(dir.path());
    let source = connect(&server);
    let folder = source.root(dir.path()).unwrap().folder;
    let entries = list(&source, &folder).unwrap().entries;
    let wanted = |part: u64| -> Vec<Wanted> {
        let from = |entry: &Entry| entry.meta.size / 10 * part;
        entries
            .iter()
            .map(|entry| Wanted {
                from: from(entry),
                entry: entry.clone(),
                again: false,
                base: None,
            })
            .collect()
    };
    let patience = Duration::from_secs(60);
    for part in [1, 9, 10] {
        let (breaking, mut broken) = (Arc::clone(&server), part != 1);
        let contents = ask_fetch_from(&source, &folder, wanted(part), move |total| {
            if total > 10_000_000 && !broken {
                broken = breaking.break_connections() > 0;
            }
        });
        let contents = contents.recv_timeout(patience).unwrap();
        for ((number, wanted), content) in wanted(part).iter().enumerate().zip(contents) {
            let whole = noise(sizes[number], number as u64);
            assert!(content.bytes == whole[wanted.from as usize..], "{number} from {part}");
            assert!(content.after.unwrap().is_ok_and(|after| after.size == wanted.entry.meta.size));
        }
    }
    for (number, size) in sizes.into_iter().enumerate() {
        fs::write(dir.path().join(format!("{number}")), noise(size + 1, 7)).unwrap();
    }
    for part in [1, 10] {
        let contents = ask_fetch_from(&source, &folder, wanted(part), |_| ());
        let contents = contents.recv_timeout(patience).unwrap();
        for (size, content) in sizes.into_iter().zip(contents) {
            // A file that was listed as empty is read before the server reports its size.
            assert!(content.bytes.is_empty() || size == 0);
            assert!(content.after.unwrap().is_ok_and(|after| after.size == size as u64 + 1));
        }
    }
}

#[test]
fn waiting_threads_get_an_error_when_the_source_is_stopped() {
    let Some(server) = Sshd::start("who_waits_when_it_is_stopped", Subsystem::Internal) else {
        return;
    };
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), noise(300_000_000, 1)).unwrap();
    let source = Arc::new(connect(&server));
    let folder = source.root(dir.path()).unwrap().folder;
    let entries = list(&source, &folder).unwrap().entries;
    let stopping = Arc::clone(&source);
    let contents = ask_fetch(&source, &folder, &entries, move |_| stopping.stop());
    let content = contents.recv_timeout(Duration::from_secs(10)).unwrap().pop().unwrap();
    assert!(matches!(content.after, Some(Err(SourceError::Lost(_)))));
    assert!(matches!(list(&source, &folder), Err(SourceError::Lost(_))));
    assert!(matches!(fetch(&source, &folder, &entries)[0].after, Some(Err(SourceError::Lost(_)))));
    assert!(matches!(source.root(dir.path()), Err(SourceError::Lost(_))));
}

#[test]
fn no_ssh_is_left_behind() {
    let Some(server) = Sshd::start("no_ssh_is_left_behind", Subsystem::Internal) else { return };
    let config = server.path("ssh_config").display().to_string();
    let left = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| String::from_utf8_lossy(line).contains(&config)).count()
    };
    let source = connect(&server);
    assert_eq!(left(), 1);
    source.close();
    assert_eq!(left(), 0);
    server.write_config("stranger", "");
    assert!(matches!(refused(&server), ConnectError::Authentication { .. }));
    assert_eq!(left(), 0);
    server.write_config("user", "Host test\nProxyCommand sleep 60");
    let start = Instant::now();
    let stopped = move || start.elapsed() > Duration::from_millis(300);
    let error = SftpSource::connect(server.address(), server.options(), stopped).err().unwrap();
    assert!(matches!(error, ConnectError::Stopped) && start.elapsed() < Duration::from_secs(3));
    assert_eq!(left(), 0);
    // A connection that is no longer wanted, with a server that has stalled.
    server.write_config("user", "");
    let wanted = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&wanted);
    let stopped = move || !asked.load(Ordering::Relaxed);
    let source = SftpSource::connect(server.address(), server.options(), stopped).unwrap();
    server.stop_connections();
    let start = Instant::now();
    wanted.store(false, Ordering::Relaxed);
    assert!(matches!(source.root(Path::new("/")), Err(SourceError::Lost(_))));
    source.close();
    assert!(start.elapsed() < Duration::from_millis(1500));
    assert_eq!(left(), 0);
}

#[test]
fn a_host_that_is_gone_is_told_to_everybody() {
    let Some(server) = Sshd::start("a_host_that_is_gone", Subsystem::Internal) else { return };
    let dir = TempDir::new().unwrap();
    let source = connect(&server);
    let folder = source.root(dir.path()).unwrap().folder;
    drop(server);
    assert!(matches!(list(&source, &folder), Err(SourceError::Lost(_))));
    assert!(matches!(source.root(dir.path()), Err(SourceError::Lost(_))));
}
