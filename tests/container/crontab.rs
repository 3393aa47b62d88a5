//! The crontab is mounted from the host and edited while the container runs.

use std::fs;

use fixtures::need;

use crate::engine;
use crate::stand::Stand;

#[test]
fn an_edited_crontab_holds_without_a_restart() {
    let engine = need!(engine());
    let stand = Stand::with_crontab("0 0 1 1 * echo seldom\n");
    let crontab = stand.folder.join("config/crontab");
    let container = engine.start("bm-crontab", &stand.options(&["-e", "GREETING=hello"]));
    container.wait_for_log("line 1, next at");
    fs::write(&crontab, "* * * * * echo \"written in place, $GREETING\"\nthis is no line\n")
        .unwrap();
    // Unlike with cron, the environment is that of the container.
    container.wait_for_log("written in place, hello");
    let logs = container.logs();
    assert!(logs.contains("line 2"), "nothing about the broken line in:\n{logs}");
    // Editors save like this: a new file under the old name.
    let new = crontab.with_extension("new");
    fs::write(&new, "* * * * * echo \"replaced, $GREETING\"; exit 7\n").unwrap();
    fs::rename(&new, &crontab).unwrap();
    container.wait_for_log("replaced, hello");
    container.wait_for_log("exit code 7");
}
