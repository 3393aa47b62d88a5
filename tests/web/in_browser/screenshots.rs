//! Pictures of each page: `SCREENSHOTS=FOLDER cargo test --test web screenshots::`.

use std::path::PathBuf;

use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::client::browser::{Browser, available};
use crate::client::site::{BIN, Site, name};

/// A history that looks like one.
fn history() -> (Stage, Vec<String>) {
    let tree = Tree::new()
        .file("Documents/thesis.md", "# The growth of hedges\n\nHedges grow slowly.\nThey grow in rows.\n\n## Results\n\nNone yet.\n")
        .file("Documents/invoice-2026-01.pdf", "%PDF-1.7\n\0")
        .random_file("Pictures/garden.raw", 4_000_000, 1)
        .random_file("Music/evening.flac", 2_000_000, 2)
        .file("Documents/shopping.txt", "bread\nmilk\n")
        .symlink("Desktop", "Documents")
        .folder("Videos");
    let stage = Stage::with(BIN, &tree);
    let mut names = vec![name(&stage.take())];
    for step in [
        "echo 'cheese' >>Documents/shopping.txt; dd if=/dev/urandom of=Pictures/hedge.raw bs=1M count=3 status=none",
        "sed -i 's/slowly/quickly/; s/None yet./They are tall./' Documents/thesis.md; rm Documents/invoice-2026-01.pdf",
        "mkdir Documents/2026; for n in 1 2 3 4 5 6 7 8; do echo $n >Documents/2026/note-$n.txt; done",
        "mv Music/evening.flac Music/night.flac; echo 'eggs' >>Documents/shopping.txt",
    ] {
        stage.sh(step);
        names.push(name(&stage.take()));
    }
    stage.look("hold").args(&[&names[1], "--note", "before the move"]).expect(0);
    (stage, names)
}

#[test]
fn screenshots_of_every_page() {
    let Some(folder) = std::env::var_os("SCREENSHOTS").map(PathBuf::from) else { return };
    available().expect("chromium and chromedriver");
    std::fs::create_dir_all(&folder).expect("made");
    let (stage, names) = history();
    let site = Site::of(&stage);
    let path = stage.source.display();
    let [first, last] = [&names[0], &names[4]];
    let pages = [
        ("front", "/".to_owned()),
        ("time-line", "/job/my_backup?sizes=1".to_owned()),
        ("folder", format!("/browse/my_backup{path}/Documents?at={}&deleted=1", names[2])),
        ("file", format!("/browse/my_backup{path}/Documents/thesis.md")),
        ("diff", format!("/browse/my_backup{path}/Documents/thesis.md?at={last}&with={first}")),
        ("compare", format!("/compare/my_backup/?a={first}&b={last}")),
        ("search", "/search?q=*.txt".to_owned()),
        ("restore", format!("/restore/my_backup{path}/Documents/thesis.md?at={first}")),
    ];
    for (width, dark) in [(360, false), (1600, false), (360, true), (1600, true)] {
        let browser = Browser::open(width, false);
        if dark {
            browser.dark();
        }
        for (name, target) in &pages {
            browser.go(&format!("http://{}{target}", site.address));
            let mode = if dark { "-dark" } else { "" };
            browser.picture(&folder.join(format!("{name}-{width}{mode}.png")));
        }
    }
}
