//! The manual pages: one for the program and one for each command, each with all sections.

use std::fs;
use std::path::PathBuf;

use fixtures::need;
use fixtures::run::Run;
use fixtures::scratch::Scratch;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The sections of each page, in order. The program's page also has COMMANDS.
const SECTIONS: [&str; 9] = [
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "OPTIONS",
    "FILES",
    "ENVIRONMENT",
    "EXIT STATUS",
    "EXAMPLES",
    "SEE ALSO",
];

/// Writes the pages and returns them, the program's first.
fn pages(folder: &Scratch) -> Vec<PathBuf> {
    Run::new(BIN).arg("man").arg("--dir").arg(folder.path()).expect(0);
    let entries = fs::read_dir(folder.path()).expect("the pages");
    let mut pages: Vec<_> = entries.map(|entry| entry.expect("a page").path()).collect();
    pages.sort_by_key(|path| path.file_name().map(|name| (name.len(), name.to_owned())));
    assert!(pages[0].ends_with("backup_manager.1"));
    pages
}

/// The names of the commands in the program's help.
fn commands() -> Vec<String> {
    let help = Run::new(BIN).arg("--help").expect(0).stdout;
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !["", "help"].contains(name)).map(str::to_owned).collect()
}

/// The text of one section.
fn section<'a>(page: &'a str, name: &str) -> &'a str {
    let heading = |name: &str| [format!("\n.SH {name}\n"), format!("\n.SH \"{name}\"\n")];
    let start = heading(name).iter().find_map(|it| Some(page.find(it)? + it.len()));
    let rest = &page[start.expect("each page has the section")..];
    rest.split("\n.SH ").next().unwrap_or_default()
}

#[test]
fn each_command_has_a_page_with_every_section() {
    let folder = Scratch::new();
    let pages = pages(&folder);
    let commands = commands();
    assert!(commands.iter().any(|name| name == "restore"), "{commands:?}");
    assert_eq!(pages.len(), commands.len() + 1);
    let program = fs::read_to_string(&pages[0]).expect("a page");
    for name in &commands {
        assert!(folder.join(&format!("backup_manager-{name}.1")).exists(), "{name}");
        let shown = format!("backup_manager\\-{}", name.replace('-', "\\-"));
        assert!(section(&program, "COMMANDS").contains(&shown), "{name}");
        assert!(section(&program, "SEE ALSO").contains(&shown), "{name}");
    }
    for path in &pages {
        let page = fs::read_to_string(path).expect("a page");
        let heading = |line: &str| line.strip_prefix(".SH ").map(|it| it.replace('"', ""));
        let found: Vec<_> = page.lines().filter_map(heading).collect();
        let found: Vec<_> = found.iter().filter(|name| *name != "COMMANDS").collect();
        assert_eq!(found, SECTIONS.iter().collect::<Vec<_>>(), "{}", path.display());
        for name in SECTIONS {
            let text = section(&page, name).lines().filter(|line| !line.starts_with(".ie"));
            assert!(text.filter(|line| !line.starts_with('.')).count() > 0, "{name}: {page}");
        }
    }
}

#[test]
fn a_page_shows_the_settings_and_exit_codes_of_its_command() {
    let page = |words: &[&str]| {
        let run = words.iter().fold(Run::new(BIN).arg("man"), Run::arg);
        run.expect(0).stdout
    };
    let run = page(&["run"]);
    for setting in ["SRCS_TO_BACKUP", "SMTP_PASSWORD", "NOTIFY_CA", "CONFIG_FILE", "TZ"] {
        assert!(section(&run, "ENVIRONMENT").contains(setting), "{setting}");
    }
    let list = page(&["list"]);
    assert!(section(&list, "ENVIRONMENT").contains("BACKUPS_DIR"));
    assert!(!section(&list, "ENVIRONMENT").contains("SMTP_PASSWORD"));
    assert!(section(&page(&["daemon"]), "FILES").contains("crontab"));
    assert!(section(&page(&["verify"]), "EXIT STATUS").contains("some files have no hash"));
    assert!(section(&page(&[]), "EXIT STATUS").contains("damage was found"));
    let unknown = Run::new(BIN).arg("man").arg("nowhere").expect(2);
    unknown.assert_says("there is no page backup_manager-nowhere").assert_says("restore");
    let nowhere = Run::new(BIN).arg("man").arg("--dir").arg("/nowhere/man1").expect(1);
    nowhere.assert_says("cannot write /nowhere/man1/backup_manager.1").assert_says("name a folder");
}

#[test]
fn mandoc_finds_nothing_wrong_with_a_page() {
    need!(need::tool("mandoc"));
    let folder = Scratch::new();
    for path in pages(&folder) {
        let done = Run::new("mandoc").arg("-Tlint").arg("-Wwarning").arg(&path).done();
        // The pages have no date: the same version gives the same page.
        let found: Vec<_> =
            done.stdout.lines().filter(|line| !line.contains("missing date")).collect();
        assert_eq!(found, [""; 0], "{}", done.said());
    }
}

#[test]
fn groff_formats_each_page_without_a_warning() {
    need!(need::tool("groff"));
    let folder = Scratch::new();
    for path in pages(&folder) {
        let groff =
            Run::new("groff").arg("-man").arg("-Tutf8").arg("-ww").arg("-z").arg("-K").arg("utf8");
        let done = groff.arg(&path).expect(0);
        assert_eq!(done.said().trim(), "", "{}", path.display());
    }
}
