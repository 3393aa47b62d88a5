//! Logging in, a proxy, and hostile names in a browser.

use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::client::browser::Browser;
use crate::client::site::{BIN, Site, add, path_of, started, web};
use crate::in_browser::{WIDTHS, two};

#[test]
fn people_log_in_and_out() {
    browser!();
    let (stage, _) = two();
    let users = stage.beside("users");
    add(&stage, &users, "ann", "a good password");
    let site = Site::start(&web(&stage).env("WEB_USERS_FILE", &users));
    for width in WIDTHS {
        let browser = Browser::open(width, false);
        browser.go(&format!("http://{}/job/my_backup", site.address));
        browser.write("name", "ann");
        browser.write("password", "a wrong password");
        browser.click("Log in");
        browser.assert_reads("do not belong together");
        browser.write("name", "ann");
        browser.write("password", "a good password");
        browser.click("Log in");
        browser.assert_reads("Everything is backed up.");
        assert!(browser.overhang() <= 0, "{}", browser.overhang());
        browser.click("Log out (ann)");
        browser.assert_reads("Password");
        assert!(browser.url().ends_with("/login"), "{}", browser.url());
        browser.go(&format!("http://{}/job/my_backup", site.address));
        assert!(browser.url().ends_with("/login"), "{}", browser.url());
    }
}

/// A proxy that passes on what it gets, below its own address.
fn proxy(socket: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("its address").to_string();
    let socket = socket.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(page) = UnixStream::connect(&socket) else { return };
            let (mut to, mut from) = (page.try_clone().expect("copied"), page);
            let (mut asked, mut answered) = (client.try_clone().expect("copied"), client);
            thread::spawn(move || {
                let _ = io::copy(&mut asked, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut answered);
                let _ = answered.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn behind_a_proxy_every_link_stays_below_its_path() {
    browser!();
    let (stage, _) = two();
    let socket = stage.beside("web.sock");
    let listen = format!("unix:{}", socket.display());
    let run = web(&stage).args(&["--listen", &listen]).env("WEB_BASE_PATH", "/backups");
    let _running = started(&run, || UnixStream::connect(&socket).is_ok());
    let browser = Browser::open(WIDTHS[0], true);
    browser.go(&format!("http://{}/backups/", proxy(&socket)));
    let coloured =
        browser.script("return getComputedStyle(document.querySelector('.badge')).borderRadius");
    assert_ne!(coloured, serde_json::json!("0px"), "the style sheet is there");
    browser.write("q", "letter.txt");
    browser.click("Search");
    browser.click("letter.txt");
    browser.click("Earlier");
    browser.assert_reads("Dear Ann,");
    assert!(browser.url().contains("/backups/browse/my_backup/"), "{}", browser.url());
}

#[test]
fn a_hostile_name_is_shown_as_text() {
    browser!();
    let names: [&[u8]; 5] = [
        b"<img src=x onerror=alert(1)>",
        b"\"><script>alert(2)<",
        b"line\nfeed",
        b"\xff\xfe",
        "\u{202e}gpj.exe".as_bytes(),
    ];
    let tree = names.iter().fold(Tree::new(), |tree, name| tree.file(name, "<b>content</b>"));
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let site = Site::of(&stage);
    let browser = Browser::open(WIDTHS[0], true);
    for shown in ["<img src=x", "><script>alert(2)<", "line\\x0afeed", "\\xff\\xfe", "gpj.exe"] {
        browser.go(&format!("http://{}/browse/my_backup{}", site.address, path_of(&stage)));
        browser.click(shown);
        browser.assert_reads("<b>content</b>");
        let active = browser.script("return document.querySelectorAll('script, img, b').length");
        assert_eq!(active, serde_json::json!(0), "{shown}");
        assert!(browser.overhang() <= 0, "{shown}");
    }
}
