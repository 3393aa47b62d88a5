//! Settings and crontab that change while the page is served.

use std::fs;

use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::client::site::{BIN, Site, web};

#[test]
fn a_changed_config_file_is_read_again() {
    let stage = Stage::with(BIN, &Tree::new().file("text", "x"));
    stage.take();
    let (source, backups) = (stage.source.display(), stage.backups.display());
    let top = format!("SRCS_TO_BACKUP=[\"{source}\"]\nBACKUPS_DIR=\"{backups}\"\n");
    let job = |name: &str| format!("[[job]]\nBACKUP_NAME_PREFIX=\"{name}\"\n");
    let file = stage.beside("config.toml");
    let write = |text: String| fs::write(&file, text).expect("a config file");
    write(format!("{top}{}", job("my_backup")));
    let site = Site::start(&stage.look("web").unset("backups-dir").arg("--config").arg(&file));
    site.page("/").assert_has("/job/my_backup").assert_lacks("/job/photos");
    let both = format!("{top}{}{}", job("my_backup"), job("photos"));
    write(both.clone());
    site.page("/").assert_has("/job/my_backup").assert_has("/job/photos");
    site.page("/job/photos");
    // With a mistake the settings from before apply.
    write(format!("{top}MAX_BACKUPS=\"many\"\n{}", job("music")));
    let page = site.page("/");
    page.assert_has("The settings were changed and have a mistake.").assert_has("MAX_BACKUPS");
    page.assert_has("/job/photos").assert_lacks("/job/music");
    // Another folder cannot be opened any more.
    let other = stage.beside("other");
    fs::create_dir(&other).expect("a folder");
    write(
        top.replace(&backups.to_string(), &other.display().to_string()) + job("my_backup").as_str(),
    );
    site.page("/").assert_has("is another backups folder; start the page again");
    // The page cannot change where it listens, and to whom.
    write(format!("WEB_HOST=[\"nas\"]\n{both}"));
    site.page("/").assert_has("WEB_HOST was changed; start the page again");
    // A replaced file is another inode.
    let new = stage.beside("new.toml");
    fs::write(&new, &both).expect("written");
    fs::rename(&new, &file).expect("replaced");
    site.page("/").assert_lacks("have a mistake").assert_has("/job/photos");
}

#[test]
fn a_changed_crontab_is_read_again() {
    let stage = Stage::with(BIN, &Tree::new().file("text", "x"));
    stage.take();
    let config = stage.beside("config");
    fs::create_dir(&config).expect("a folder");
    let crontab = |text: &str| fs::write(config.join("crontab"), text).expect("written");
    crontab("# nothing yet\n");
    let run = web(&stage).env("SRCS_TO_BACKUP", &stage.source).env("CONFIG_DIR", &config);
    let site = Site::start(&run.env("TZ", "UTC"));
    site.page("/").assert_lacks("-01-01 03:07");
    crontab("7 3 1 1 * backup_manager run\n");
    site.page("/").assert_has("-01-01 03:07");
}
