//! Downloads, byte for byte, with tar and unzip as judges.

use std::fs;
use std::process::Command;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::need::tool;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::client::site::{BIN, Site, path_of};

#[test]
fn a_file_arrives_whole_and_in_ranges() {
    let stage =
        Stage::with(BIN, &Tree::new().random_file("large file", 3_000_000, 1).file("empty", ""));
    stage.take();
    let bytes = fs::read(stage.source.join("large file")).expect("read");
    let site = Site::of(&stage);
    let target = format!("/raw/my_backup{}/large%20file", path_of(&stage));
    let whole = site.page(&target);
    assert!(whole.body == bytes, "{} bytes", whole.body.len());
    let disposition = "attachment; filename=\"large file\"; filename*=UTF-8''large%20file";
    assert_eq!(whole.header("content-disposition"), disposition);
    assert_eq!(whole.header("content-security-policy"), "default-src 'none'; sandbox");
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    let range = |range: &str| site.get_with(&target, &format!("Range: {range}\r\n"));
    let middle = range("bytes=1000000-1999999");
    assert_eq!(
        (middle.status, middle.header("content-range")),
        (206, "bytes 1000000-1999999/3000000")
    );
    assert!(middle.body == bytes[1_000_000..2_000_000]);
    assert!(range("bytes=-5").body == bytes[2_999_995..]);
    assert_eq!(range("bytes=3000000-").status, 416);
    assert_eq!(range("bytes=0-1,5-6").status, 200);
    let tag = whole.header("etag");
    assert_eq!(site.get_with(&target, &format!("If-None-Match: {tag}\r\n")).status, 304);
    let resumed = format!("Range: bytes=1-\r\nIf-Range: {tag}\r\n");
    assert_eq!(site.get_with(&target, &resumed).status, 206);
    let other = "Range: bytes=1-\r\nIf-Range: \"other\"\r\n";
    assert_eq!(site.get_with(&target, other).status, 200);
    let empty = site.page(&format!("/raw/my_backup{}/empty", path_of(&stage)));
    assert_eq!((empty.body.len(), empty.header("content-length")), (0, "0"));
}

fn sample() -> Tree {
    Tree::new()
        .random_file("folder/large", 700_000, 1)
        .hard_link("second name", "folder/large")
        .file("odd \u{fc}\n\"<b>", "x")
        .file(b"not utf8 \xff", "y")
        .file("mode", "z")
        .mode(0o4711)
        .file("old", "z")
        .mtime(-5, 250_000_000)
        .file("attributes", "z")
        .xattr("user.colour", "blue")
        .symlink("link", "../target")
        .fifo("fifo")
        .folder("empty")
        .mode(0o751)
        .mtime(1_000_000_000, 123_456_789)
        .file(format!("{0}/{0}/{0}", "n".repeat(200)), "deep")
}

#[test]
fn a_folder_as_tar_is_the_folder() {
    let stage = Stage::with(BIN, &sample());
    stage.run().rsync(&["-X"]).expect(0);
    let site = Site::of(&stage);
    let tar = site.page(&format!("/tar/my_backup{}", path_of(&stage)));
    assert_eq!(tar.header("content-type"), "application/x-tar");
    let (file, out) = (stage.beside("x.tar"), stage.beside("out"));
    fs::write(&file, &tar.body).expect("written");
    fs::create_dir(&out).expect("made");
    let done = Command::new("tar")
        .args(["--xattrs", "--xattrs-include=*", "--warning=no-timestamp", "-xpf"])
        .arg(&file)
        .arg("-C")
        .arg(&out)
        .output()
        .expect("tar");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && said.is_empty(), "{said}");
    Judge::strict().without_holes().assert_same(&stage.source, &out.join("source"));
}

#[test]
fn a_folder_as_zip_has_its_files() {
    need!(tool("unzip"));
    let stage = Stage::with(
        BIN,
        &Tree::new()
            .random_file("a/large", 700_000, 1)
            .file("a/lines", "the same line\n".repeat(100_000))
            .file("\u{e4}", "x")
            .file("b/empty", "")
            .symlink("link", "a"),
    );
    stage.take();
    let site = Site::of(&stage);
    let zip = site.page(&format!("/zip/my_backup{}", path_of(&stage)));
    assert_eq!(
        zip.header("content-disposition"),
        "attachment; filename=\"source.zip\"; filename*=UTF-8''source.zip"
    );
    assert!(zip.body.len() < 1_000_000, "text is compressed");
    let (file, out) = (stage.beside("x.zip"), stage.beside("out"));
    fs::write(&file, &zip.body).expect("written");
    let done = Command::new("unzip")
        .env("LANG", "C.UTF-8")
        .arg("-q")
        .arg(&file)
        .arg("-d")
        .arg(&out)
        .output()
        .expect("unzip");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for name in ["a/large", "a/lines", "\u{e4}", "b/empty"] {
        let read = |folder: &std::path::Path| fs::read(folder.join(name)).expect(name);
        assert!(read(&stage.source) == read(&out.join("source")), "{name}");
    }
    assert_eq!(fs::read_link(out.join("source/link")).expect("a symlink").as_os_str(), "a");
}
