//! The health check of the image for a container that makes no backups, and for one that recovers.

use std::fs;

use fixtures::history::hours_ago;
use fixtures::need;

use crate::engine;
use crate::stand::Stand;

#[test]
fn a_container_without_a_new_snapshot_is_unhealthy_until_there_is_one() {
    let engine = need!(engine());
    let stand = Stand::new();
    fs::write(stand.source().join("file"), "content").unwrap();
    engine.run(&stand.options(&[]), &["run"]).assert_code(0);
    // Three days later the source is not mounted.
    let history = stand.history();
    fs::rename(history.newest(), history.path(&hours_ago(72), "")).unwrap();
    let (source, away) = (stand.source().join("file"), stand.folder.join("file"));
    fs::rename(&source, &away).unwrap();
    let fast = ["--health-interval=1s", "--health-retries=1", "--health-start-period=1s"];
    let changed = ["-e", "SRCS_TO_BACKUP=/source/file"];
    let container = engine.start("bm-health", &stand.options(&[&fast[..], &changed].concat()));
    container.wait_for_health("unhealthy");
    let said = container.exec(&["backup_manager", "status", "--check"]);
    said.assert_code(1).assert_says("the newest snapshot is");
    fs::rename(&away, &source).unwrap();
    container.wait_for_health("healthy");
    assert_eq!(history.complete().len(), 2, "{}", container.logs());
}
