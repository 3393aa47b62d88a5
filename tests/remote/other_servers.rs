//! Hosts with another SSH server than OpenSSH: ProFTPD, dropbear, and sshd with another SFTP
//! server.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::other_ssh::{
    Library, dropbear, dropbear_without_sftp, green_end, proftpd, python, tinysshd,
};
use fixtures::proxy::Proxy;
use fixtures::run::Run;
use fixtures::sshd::Sshd;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// Many small files in a few folders, and a large one: enough for a run to open more channels.
fn sample() -> Tree {
    let mut tree = Tree::new().random_file("large", 9_000_000, 3);
    for number in 0..300 {
        tree = tree.random_file(format!("{}/{number}", number % 9), 300, number);
    }
    tree
}

/// The number of channels that ProFTPD served, over all connections.
fn channels(server: &Sshd) -> usize {
    let log = fs::read_to_string(server.path("sftp.log")).unwrap_or_default();
    log.matches("using SFTP protocol version").count()
}

/// A line to the server on which a run opens all channels that it wants at once.
fn long_line(server: &Sshd) -> Proxy {
    let line = Proxy::start(([127, 0, 0, 1], server.port()).into(), Duration::from_millis(6));
    server.write_known_hosts_of(line.port(), "host");
    line
}

/// The same run with its sources on the server at the end of the line.
fn reached_over(line: &Proxy, server: &Sshd, run: Run) -> Run {
    let address = format!("{}@{}", server.account(), line.address());
    server.known_to(run).set("remote-src-host", address)
}

#[test]
fn proftpd_gets_one_channel_as_it_mixes_several_up() {
    let server = need!(proftpd(&[]));
    let stage = Stage::with(BIN, &sample());
    server.reached_by(stage.run()).expect(0);
    stage.assert_newest_is_source(Judge::sftp());
    assert_eq!(channels(&server), 1);
}

#[test]
fn proftpd_under_the_name_of_openssh_is_known_by_its_greeting() {
    let server = need!(proftpd(&["SFTPMaxChannels 1", "ServerIdent on OpenSSH_9.9"]));
    let stage = Stage::with(BIN, &sample());
    server.reached_by(stage.run()).expect(0);
    stage.assert_newest_is_source(Judge::sftp());
}

#[test]
fn a_host_that_hangs_up_over_a_second_channel_gets_one_from_then_on() {
    let server = need!(proftpd(&["SFTPMaxChannels 1"]));
    let stage = Stage::with(BIN, &sample());
    let run = || server.reached_by(stage.run()).env("SFTP_CHANNELS", "4");
    let first = run().expect(0);
    first.assert_says("ended the connection when more than 1 SFTP channel");
    first.assert_says("SFTP_CHANNELS sets another number");
    stage.assert_newest_is_source(Judge::sftp());
    let tried = channels(&server);
    stage.sh("echo other >large");
    let second = run().expect(0);
    assert!(!second.said().contains("SFTP channel"), "{}", second.said());
    stage.assert_newest_is_source(Judge::sftp());
    assert_eq!(channels(&server), tried + 1, "one connection with one channel");
}

#[test]
fn a_host_that_allows_two_or_three_channels_gets_as_many_from_then_on() {
    for most in [2, 3] {
        let server = need!(proftpd(&[&format!("SFTPMaxChannels {most}")]));
        let (stage, line) = (Stage::with(BIN, &sample()), long_line(&server));
        let run = || reached_over(&line, &server, stage.run()).env("SFTP_CHANNELS", "6");
        let first = run().expect(0);
        let over = format!("ended the connection when more than {most} SFTP channels were opened");
        first.assert_says(&over);
        assert!(!first.said().contains("connecting again"), "{}", first.said());
        stage.assert_newest_is_source(Judge::sftp());
        let tried = channels(&server);
        stage.sh("echo other >>large");
        let second = run().expect(0);
        assert!(!second.said().contains("SFTP channel"), "{}", second.said());
        stage.assert_newest_is_source(Judge::sftp());
        let used = channels(&server) - tried;
        assert!((1..=most).contains(&used), "one connection with {most} channels: {used}");
    }
}

#[test]
fn tinysshd_refuses_a_second_channel_and_is_backed_up_and_restored_to_over_one() {
    let server = need!(tinysshd());
    let stage = Stage::with(BIN, &sample().symlink("link", "large"));
    let line = long_line(&server);
    for channels in ["", "6"] {
        stage.sh("echo other >>large");
        let run = reached_over(&line, &server, stage.run()).env("SFTP_CHANNELS", channels);
        let done = run.expect(0);
        let said = done.said();
        assert!(!said.contains("SFTP channel") && !said.contains("connecting again"), "{said}");
        stage.assert_newest_is_source(Judge::sftp());
    }
    server.write_known_hosts("host");
    let place = format!("test:{}", stage.beside("back").display());
    let restore = server.known_to(stage.look("restore")).set("to", place).arg(&stage.source);
    restore.env("SFTP_CHANNELS", "6").expect(0);
    Judge::sent_by_sftp().assert_same(&stage.source, &stage.beside("back/source"));
}

#[test]
fn a_host_that_allows_few_open_files_gets_no_more() {
    for (open, refuse) in [("open=1", "refuse=denied"), ("open=3", "refuse=failure")] {
        let server = need!(python(Library::AsyncSsh, &[open, refuse]));
        let stage = Stage::with(BIN, &sample());
        server.reached_by(stage.run()).expect(0);
        stage.assert_newest_is_source(Judge::sftp());
    }
}

#[test]
fn a_host_that_allows_few_open_files_is_restored_to() {
    for (open, refuse) in
        [("open=1", "refuse=denied"), ("open=2", "refuse=failure"), ("open=3", "refuse=denied")]
    {
        let server = need!(python(Library::AsyncSsh, &[open, refuse]));
        let stage = Stage::with(BIN, &sample());
        stage.take();
        let place = format!("test:{}", stage.beside("back").display());
        let restore = server.known_to(stage.look("restore")).set("to", place).arg(&stage.source);
        restore.expect(0);
        Judge::sent_by_sftp().assert_same(&stage.source, &stage.beside("back/source"));
    }
}

#[test]
fn unreadable_files_are_named_with_the_words_of_a_host_that_allows_few_open_files() {
    let options = ["open=2", "refuse=denied", "unreadable=secret"];
    let server = need!(python(Library::AsyncSsh, &options));
    let mut tree = sample();
    for number in 0..50 {
        tree = tree.file(format!("0/secret {number}"), "x");
    }
    let stage = Stage::with(BIN, &tree);
    let done = server.reached_by(stage.run()).expect(3);
    done.assert_says("secret 7: cannot open: the server says: this file is not for you");
    assert!(!done.said().contains("os error"), "{}", done.said());
    let missing = done.said().matches("the server says").count();
    assert_eq!(missing, 50, "{}", done.said());
}

#[test]
fn servers_made_with_libraries_are_backed_up() {
    for library in [Library::AsyncSsh, Library::Paramiko] {
        let server = need!(python(library, &[]));
        let stage = Stage::with(BIN, &sample().symlink("link", "large").folder("empty"));
        server.reached_by(stage.run()).expect(0);
        stage.assert_newest_is_source(Judge::sftp());
        stage.sh("echo other >large; rm -r 3");
        server.reached_by(stage.run()).expect(0);
        stage.assert_newest_is_source(Judge::sftp());
    }
}

#[test]
fn a_source_that_is_a_symlink_is_followed_whatever_realpath_does() {
    for (library, options) in [
        (Library::AsyncSsh, &["realpath=text"][..]),
        (Library::AsyncSsh, &[]),
        (Library::Paramiko, &[]),
    ] {
        let server = need!(python(library, options));
        let stage = Stage::with(BIN, &sample());
        symlink("source", stage.beside("second")).unwrap();
        symlink(stage.beside("second"), stage.beside("first")).unwrap();
        let run = || server.reached_by(stage.run()).set("srcs-to-backup", stage.beside("first"));
        run().expect(0);
        let newest = stage.backups.join(stage.history().newest());
        let copy = newest.join(stage.beside("first").strip_prefix("/").unwrap());
        Judge::sftp().assert_same(&stage.source, &copy);
    }
}

#[test]
fn the_sftp_server_of_green_end_is_backed_up() {
    let server = need!(green_end());
    // Its version 2 sometimes corrupts its memory and ends when it serves hundreds of files at once.
    let mut tree = Tree::new().random_file("large", 9_000_000, 3).symlink("link", "large");
    for number in 0..60 {
        tree = tree.random_file(format!("{}/{number}", number % 9), 300, number);
    }
    let stage = Stage::with(BIN, &tree);
    server.reached_by(stage.run()).expect(0);
    stage.assert_newest_is_source(Judge::sftp());
}

#[test]
fn dropbear_is_backed_up_and_restored_to() {
    let server = need!(dropbear());
    let stage = Stage::with(BIN, &sample().symlink("link", "large"));
    server.reached_by(stage.run()).expect(0);
    stage.assert_newest_is_source(Judge::sftp());
    let place = format!("test:{}", stage.beside("back").display());
    server.known_to(stage.look("restore")).set("to", place).arg(&stage.source).expect(0);
    Judge::sent_by_sftp().assert_same(&stage.source, &stage.beside("back/source"));
}

#[test]
fn dropbear_without_sftp_server_is_named_with_the_package_to_install() {
    let server = need!(dropbear_without_sftp());
    let stage = Stage::with(BIN, &sample());
    let done = server.reached_by(stage.run()).expect(1);
    done.assert_says("the host cannot start its SFTP server: ");
    done.assert_says("not found");
    done.assert_says("the package openssh-sftp-server");
}

#[test]
fn a_symlink_is_restored_whatever_the_servers_order_of_its_arguments_is() {
    let server = need!(green_end());
    let stage = Stage::with(BIN, &sample());
    let planted = stage.beside("planted");
    symlink(&planted, stage.source.join("away")).unwrap();
    symlink("large", stage.source.join("here")).unwrap();
    stage.take();
    let run = || {
        let place = format!("test:{}", stage.beside("back").display());
        server.known_to(stage.look("restore")).set("to", place).arg(&stage.source)
    };
    // This server cannot set times of symlinks.
    run().expect(3);
    assert!(fs::symlink_metadata(&planted).is_err(), "a symlink was made outside of the folder");
    let back = stage.beside("back/source");
    for (name, target) in [("away", planted.as_path()), ("here", Path::new("large"))] {
        assert_eq!(fs::read_link(back.join(name)).unwrap(), target);
    }
    let left =
        |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".backup_manager");
    let left: Vec<_> = fs::read_dir(&back).unwrap().flatten().filter(left).collect();
    assert!(left.is_empty(), "{left:?}");
    // Existing files are not replaced, though this server's RENAME would do so.
    fs::write(back.join("large"), "mine").unwrap();
    run().done().assert_says("large: another version is in its place");
    assert_eq!(fs::read(back.join("large")).unwrap(), b"mine");
}

#[test]
fn proftpd_is_restored_to_and_what_it_makes_of_symlinks_is_looked_at() {
    let server = need!(proftpd(&[]));
    let stage = Stage::with(BIN, &sample().symlink("link", "large"));
    stage.take();
    let place = format!("test:{}", stage.beside("back").display());
    let run = server.known_to(stage.look("restore")).set("to", place).arg(&stage.source);
    // It makes relative targets absolute.
    run.done().assert_says("source/link: the server made something else than this symlink");
    let back = stage.beside("back/source");
    assert!(fs::symlink_metadata(back.join("link")).is_err());
    for name in ["large", "3/3", "8/296"] {
        let read = |folder: &Path| fs::read(folder.join(name)).unwrap();
        assert!(read(&back) == read(&stage.source), "{name}");
    }
    assert_eq!(channels(&server), 1);
}
