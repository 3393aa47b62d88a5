//! Names and content that want to become something else.

use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::client::http::request;
use crate::client::site::{BIN, Site, path_of};

/// Names that would be markup, another line, another direction, or no text at all.
const NAMES: &[&[u8]] = &[
    b"<script>alert(1)<",
    b"\"onmouseover=\"alert(2)",
    b"line\nfeed",
    b"\xff\xfe",
    "\u{202e}gpj.exe".as_bytes(),
    b"%2e%2e",
    b"%2F",
    b"?at=x#y",
    b"a&b;&lt;",
    b"' or '1",
    b"\x1b[31m",
    b"...",
];

#[test]
fn a_name_is_only_a_name() {
    let tree = NAMES.iter().fold(Tree::new(), |tree, name| tree.file(name, "content"));
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let site = Site::of(&stage);
    let folder = format!("/browse/my_backup{}", path_of(&stage));
    let page = site.page(&folder);
    page.assert_lacks("<script")
        .assert_lacks("\"onmouseover=")
        .assert_lacks("\u{202e}")
        .assert_lacks("\x1b");
    let mut links = page.links("browse");
    links.retain(|link| link.starts_with(&format!("{folder}/")));
    links.dedup();
    assert_eq!(links.len(), NAMES.len(), "{links:?}");
    for link in links {
        let file = site.page(&link);
        file.assert_has("content").assert_lacks("<script").assert_lacks("\u{202e}");
        for page in ["raw", "restore"] {
            let other = site.page(&link.replacen("browse", page, 1));
            if page == "raw" {
                assert_eq!(other.body, b"content", "{link}");
            }
        }
    }
    for target in
        [format!("/tar/my_backup{}", path_of(&stage)), format!("/zip/my_backup{}", path_of(&stage))]
    {
        site.page(&target);
    }
    site.page("/search?q=%3Cscript%3E*").assert_lacks("<script");
}

#[test]
fn what_someone_searches_stays_in_its_field() {
    let stage = Stage::with(BIN, &Tree::new().file("text", "x"));
    stage.take();
    let site = Site::of(&stage);
    for searched in ["%00", "%22%3E%3Cscript%3E", "%0d%0a", "%E2%80%AE", "%ff", "%1b%5b31m"] {
        for page in [format!("/browse/my_backup{}", path_of(&stage)), "/search".to_owned()] {
            let page = site.page(&format!("{page}?q={searched}"));
            page.assert_lacks("<script");
            let text = page.text();
            let (header, main) = text.split_once("<main id=\"content\">").expect("a page");
            assert!(header.ends_with("</header>"), "{searched}: {header}");
            assert!(!header.contains("<nav") && !header.contains("<h1"), "{searched}: {header}");
            assert!(main.contains("</main><footer>") && main.ends_with("</html>"), "{main}");
        }
    }
}

#[test]
fn content_is_never_executed() {
    let html = "<script>alert(1)</script>";
    let png = b"\x89PNG\r\n\x1a\n<script>";
    let stage = Stage::with(
        BIN,
        &Tree::new().file("x.html", html).file("x.svg", "<svg/>").file("x.png", png),
    );
    stage.take();
    let site = Site::of(&stage);
    let at = |page: &str, name: &str| format!("/{page}/my_backup{}/{name}", path_of(&stage));
    site.page(&at("browse", "x.html")).assert_lacks("<script>").assert_has("&lt;script&gt;");
    for (page, name) in [("raw", "x.html"), ("raw", "x.svg"), ("picture", "x.png")] {
        let answer = site.page(&at(page, name));
        assert_eq!(answer.header("content-security-policy"), "default-src 'none'; sandbox");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    assert_eq!(site.page(&at("picture", "x.png")).header("content-type"), "image/png");
    assert_eq!(site.get(&at("picture", "x.svg")).status, 404);
    let page = site.page("/");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; img-src 'self'"), "{policy}");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
}

#[test]
fn no_url_leads_out_of_a_snapshot() {
    let stage = Stage::with(
        BIN,
        &Tree::new().file("file", "inside").symlink("root", "/").symlink("passwd", "/etc/passwd"),
    );
    stage.take();
    std::fs::write(stage.backups.join("secret"), "outside").expect("written");
    let site = Site::of(&stage);
    let base = path_of(&stage);
    for page in ["browse", "raw", "tar", "zip", "picture", "restore"] {
        for path in [
            "/../secret",
            "/%2e%2e/secret",
            "/..%2fsecret",
            "/%2e%2e%2fsecret",
            "/.backup_manager",
            "/%00",
            "/x%00y",
            "//etc/passwd",
            "/%2fetc%2fpasswd",
            &format!("{base}/root/etc/passwd"),
            &format!("{base}/file/.."),
            &format!("{base}/../../../../../../../etc/passwd"),
        ] {
            let answer = site.get(&format!("/{page}/my_backup{path}"));
            assert!(
                [400, 404].contains(&answer.status),
                "{page}{path}: {} {}",
                answer.status,
                answer.text()
            );
            answer.assert_lacks("outside").assert_lacks("root:x:");
        }
    }
    for at in ["../secret", "..", "", ".backup_manager", "my_backup.01-01-2000_00-00-00/.."] {
        let answer = site.get(&format!("/browse/my_backup{base}?at={at}"));
        answer.assert_lacks("outside");
    }
    assert_eq!(
        site.get(&format!("/raw/my_backup{base}/passwd")).status,
        404,
        "a symlink is not followed"
    );
    let answer = site.send(&request("GET", "http://localhost/../../etc/passwd", "", ""));
    answer.assert_lacks("root:x:");
}
