//! Who reaches the page: addresses, names, methods, users, proxies, and what the process may open.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use fixtures::patience::wait_for;
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::{Pid, Signal, kill_process};

use crate::http::{over_socket, over_tcp, request};
use crate::site::{BIN, Site, free_address, started, web};

fn stage() -> Stage {
    let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
    stage.take();
    stage
}

#[test]
fn without_users_only_this_machine_is_served() {
    let stage = stage();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let refused = stage.look("web").args(&["--listen", address]).expect(2);
        refused.assert_says("could read all backups").assert_says("WEB_USERS_FILE");
    }
    stage.look("web").args(&["--listen", "nas"]).expect(2).assert_says("127.0.0.1:8385");
    let site = Site::of(&stage);
    let other = stage.look("web").args(&["--listen", &site.address]).expect(1);
    other.assert_says("another program has it");
    site.end().assert_code(0);
}

#[test]
fn other_names_and_methods_are_refused() {
    let stage = stage();
    let site = Site::start(&web(&stage).env("WEB_HOST", "nas.example.org, other.example.org"));
    let status = |headers: &str| site.get_with("/", headers).status;
    assert_eq!(status("Host: evil.example.org\r\n"), 421);
    assert_eq!(status("Host: nas.example.org\r\n"), 200);
    assert_eq!(status("Host: 127.0.0.1:1234\r\n"), 200);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW"] {
        let answer = site.send(&request(method, "/", "", ""));
        assert!([400, 405].contains(&answer.status), "{method}: {}", answer.status);
    }
    assert_eq!(site.send(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").status, 421, "no name");
}

#[test]
fn users_log_in() {
    let stage = stage();
    let users = stage.beside("users");
    let add = |password: &str| {
        let script = format!(
            "printf '%s\\n' '{password}' | WEB_USERS_FILE={} {BIN} web --add-user ann --backups-dir {}",
            users.display(),
            stage.backups.display()
        );
        stage.sh(&script);
    };
    add("a good password");
    assert_eq!(fs::metadata(&users).expect("made").permissions().mode() & 0o777, 0o600);
    let run = web(&stage).env("WEB_USERS_FILE", &users);
    let site = Site::start_open(&run);
    for target in ["/", "/browse/my_backup/", "/api/status", "/metrics", "/tar/my_backup/"] {
        let answer = site.get(target);
        assert_eq!((answer.status, answer.header("location")), (303, "/login"), "{target}");
    }
    for target in ["/login", "/style.css", "/icon.svg", "/healthz"] {
        site.page(target);
    }
    let log_in = |password: &str| {
        site.send(&request("POST", "/login", "", &format!("name=ann&password={password}")))
    };
    assert_eq!(log_in("wrong").status, 403);
    let answer = log_in("a+good+password");
    assert_eq!(answer.status, 303, "{}", answer.text());
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("SameSite=Strict; HttpOnly"), "{cookie}");
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().expect("a cookie"));
    let page = site.get_with("/", &cookie);
    page.assert_has("Everything is backed up").assert_has("Log out (ann)");
    assert_eq!(
        site.get_with("/", "Remote-User: ann\r\n").status,
        303,
        "anyone can send it over TCP"
    );
    assert_eq!(site.send(&request("POST", "/logout", &cookie, "")).status, 303);
    assert_eq!(site.get_with("/", &cookie).status, 303);
    for _ in 0..5 {
        log_in("wrong");
    }
    assert_eq!(log_in("a+good+password").status, 429);
    fs::write(&users, "ann\n").expect("written");
    run.expect(1).assert_says("line 1");
}

#[test]
fn a_proxy_reaches_a_socket() {
    let stage = stage();
    let socket = stage.beside("web.sock");
    let listen = format!("unix:{}", socket.display());
    let run = stage.look("web").args(&["--listen", &listen]).env("WEB_BASE_PATH", "/backups/");
    let listens = || UnixStream::connect(&socket).is_ok();
    let mut running = started(&run, listens);
    let get = |target: &str| {
        over_socket(
            &socket,
            &request("GET", target, "Host: any.example.org\r\nRemote-User: ann\r\n", ""),
        )
    };
    let page = get("/backups/");
    assert_eq!(page.status, 200, "{}", page.text());
    page.assert_has("href=\"/backups/style.css\"").assert_has("ann").assert_lacks("Log out");
    assert_eq!(get("/backups/style.css").status, 200);
    assert_eq!(get("/backups/browse/my_backup/").status, 200);
    assert_eq!(get("/").status, 404);
    running.signal(Signal::KILL);
    let _ = running.wait();
    // The socket of a killed process does not stop the next one.
    let _running = started(&run, listens);
    run.expect(1).assert_says("another program has it");
}

/// The process that serves the page of a daemon at `address`.
fn page_process(address: &str) -> Option<Pid> {
    let listen = format!("WEB_LISTEN={address}\0").into_bytes();
    let is_page = |folder: &Path| {
        let words = fs::read(folder.join("cmdline")).unwrap_or_default();
        let variables = fs::read(folder.join("environ")).unwrap_or_default();
        words.ends_with(b"\0web\0") && variables.windows(listen.len()).any(|part| part == listen)
    };
    let processes = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    let mut pages = processes.filter(|folder| is_page(folder));
    Pid::from_raw(pages.next()?.file_name()?.to_str()?.parse().ok()?)
}

#[test]
fn the_daemon_serves_the_page_and_starts_it_again() {
    let stage = stage();
    let address = free_address();
    let config = stage.beside("config");
    fs::create_dir(&config).expect("made");
    fs::write(config.join("crontab"), "").expect("written");
    let run = Run::new(BIN)
        .env("CONFIG_DIR", &config)
        .env("SRCS_TO_BACKUP", &stage.source)
        .env("BACKUPS_DIR", &stage.backups)
        .env("WEB_LISTEN", &address)
        .arg("daemon");
    let answers = || TcpStream::connect(&address).is_ok();
    let mut running = started(&run, answers);
    let page = || over_tcp(&address, &request("GET", "/", "", ""));
    page().assert_has("Everything is backed up");
    let process = page_process(&address).expect("a process of its own");
    kill_process(process, Signal::KILL).expect("killed");
    wait_for("page after its process was killed", String::new, || {
        page_process(&address).is_some_and(|other| other != process) && answers()
    });
    page().assert_has("Everything is backed up");
    running.signal(Signal::TERM);
    running.wait().assert_code(0);
    assert!(!answers(), "the page ends with the daemon");
}
