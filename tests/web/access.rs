//! Who reaches the page: addresses, names, methods, users, proxies, and what the process may open.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use fixtures::need;
use fixtures::patience::wait_for;
use fixtures::reserved_port::ReservedPort;
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::http::{over_socket, over_tcp, request};
use crate::client::site::{BIN, Site, add, started, web};

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
fn another_site_may_link_here_and_nothing_else() {
    let stage = stage();
    let site = Site::of(&stage);
    for (method, from, mode, status) in [
        ("GET", "same-origin", "no-cors", 200),
        ("GET", "none", "navigate", 200),
        ("GET", "cross-site", "navigate", 200),
        ("GET", "cross-site", "no-cors", 403),
        ("HEAD", "same-site", "cors", 403),
        ("POST", "same-origin", "navigate", 303),
        ("POST", "cross-site", "navigate", 403),
    ] {
        let target = if method == "POST" { "/logout" } else { "/search?q=file" };
        let headers = format!("Sec-Fetch-Site: {from}\r\nSec-Fetch-Mode: {mode}\r\n");
        let answer = site.send(&request(method, target, &headers, ""));
        assert_eq!(answer.status, status, "{method} {from} {mode}");
    }
}

/// Logs in. Returns the header with the session, or why there is none.
fn log_in(site: &Site, name: &str, password: &str) -> Result<String, u16> {
    let form = format!("name={name}&password={}", password.replace(' ', "+"));
    let answer = site.send(&request("POST", "/login", "", &form));
    match (answer.status, answer.header("set-cookie").split_once(';')) {
        (303, Some((cookie, _))) => Ok(format!("Cookie: {cookie}\r\n")),
        (status, _) => Err(status),
    }
}

#[test]
fn users_come_and_go_while_the_page_is_served() {
    let stage = stage();
    let users = stage.beside("users");
    add(&stage, &users, "ann", "a good password");
    add(&stage, &users, "bob", "another password");
    let site = Site::start_open(&web(&stage).env("WEB_USERS_FILE", &users));
    let ann = log_in(&site, "ann", "a good password").expect("ann logs in");
    let bob = log_in(&site, "bob", "another password").expect("bob logs in");
    let sees = |cookie: &str| site.get_with("/", cookie).status == 200;
    assert!(sees(&ann) && sees(&bob));
    // Another password ends what the old one let in.
    add(&stage, &users, "bob", "a third password");
    assert!(sees(&ann) && !sees(&bob));
    let bob = log_in(&site, "bob", "a third password").expect("bob logs in again");
    add(&stage, &users, "eve", "a new password");
    assert!(sees(&log_in(&site, "eve", "a new password").expect("eve logs in")) && sees(&bob));
    // A mistake lets nobody in until it is repaired.
    let text = fs::read_to_string(&users).expect("read");
    fs::write(&users, format!("{text}carl\n")).expect("written");
    assert!(!sees(&ann) && !sees(&bob));
    assert_eq!(log_in(&site, "bob", "a third password"), Err(403));
    let without: String = text
        .lines()
        .filter(|line| !line.starts_with("ann"))
        .fold(String::new(), |text, line| text + line + "\n");
    fs::write(&users, without).expect("written");
    assert!(!sees(&ann), "ann was removed");
    assert!(sees(&bob));
    assert_eq!(log_in(&site, "ann", "a good password"), Err(403));
    fs::remove_file(&users).expect("removed");
    assert!(!sees(&bob), "nobody is known");
    site.end().assert_says("nobody can log in to the web page").assert_says("line 4");
}

#[test]
fn users_log_in() {
    let stage = stage();
    let users = stage.beside("users");
    add(&stage, &users, "ann", "a good password");
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

#[test]
fn a_user_of_its_own_reads_with_one_capability() {
    need!(need::root());
    need!(need::tool("setpriv"));
    let stage = Stage::with(
        BIN,
        &Tree::new().folder("private").mode(0o700).file("private/key", "secret").mode(0o600),
    );
    stage.take();
    let only = ["--inh-caps", "--ambient-caps", "--bounding-set"]
        .map(|set| format!("{set}=-all,+dac_read_search"));
    let mut words = vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    words.extend(only.iter().map(String::as_str));
    let site = Site::start(&web(&stage).under(&words));
    site.page("/").assert_has("Everything is backed up");
    let raw = site.page(&format!("/raw/my_backup{}/private/key", stage.source.display()));
    assert_eq!(raw.body, b"secret");
    let tar = site.page(&format!("/tar/my_backup{}", stage.source.display()));
    assert!(tar.text().contains("secret"));
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
    let port = ReservedPort::any();
    let address = port.address();
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
