//! The user's commands around a run, and the metrics.

use std::fs;

use fixtures::history::History;
use fixtures::run::Run;
use fixtures::stage::{PREFIX, Stage};
use fixtures::tree::Tree;
use fixtures::web::Web;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn stage() -> Stage {
    Stage::with(BIN, &Tree::new().file("a", "1").file("b", "2"))
}

fn count(stage: &Stage) -> usize {
    History::new(&stage.backups, PREFIX).complete().len()
}

/// A run whose commands write their environment to the file `said`.
fn telling(stage: &Stage) -> Run {
    let said = stage.beside("said");
    let said = said.display();
    let append = |what: &str| format!("echo \"$BM_HOOK {what}\" >>{said}");
    stage
        .run()
        .set("pre-backup", append("$BM_JOB $BM_BACKUPS_DIR"))
        .set("post-backup", append("$BM_OUTCOME $BM_EXIT_CODE $BM_PATH $BM_ENTRIES"))
        .set("on-failure", append("$BM_OUTCOME $BM_EXIT_CODE $BM_ERROR"))
}

fn said(stage: &Stage) -> String {
    fs::read_to_string(stage.beside("said")).unwrap_or_default()
}

#[test]
fn commands_know_what_the_run_did() {
    let stage = stage();
    telling(&stage).expect(0);
    let newest = History::new(&stage.backups, PREFIX).newest();
    let entries = fs::read_dir(&stage.source).expect("the source").count();
    let (dir, newest) = (stage.backups.display().to_string(), newest.display().to_string());
    let expected = format!("PRE_BACKUP my_backup {dir}\nPOST_BACKUP completed 0 {newest} ");
    assert!(said(&stage).starts_with(&expected) && entries == 2, "{}", said(&stage));
    telling(&stage).set("minimum-time-guard-h", "20").expect(0);
    telling(&stage).arg("--dry-run").expect(0);
    assert_eq!(said(&stage).lines().count(), 2, "nothing to do, and a dry run: no commands");
    telling(&stage).set("srcs-to-backup", stage.beside("gone")).expect(1);
    assert!(said(&stage).contains("\nON_FAILURE failed 1 source root "), "{}", said(&stage));
}

#[test]
fn a_mistake_in_the_configuration_of_a_job_that_ran_before_is_a_failure() {
    let (stage, web) = (stage(), Web::start(None));
    let heard = stage.beside("heard");
    let command = format!("echo \"$BM_OUTCOME $BM_EXIT_CODE $BM_ERROR\" >>'{}'", heard.display());
    let run = || {
        let run = stage.run().set("failures-before-alert", "1").set("on-failure", &command);
        run.env("WEBHOOK_URL", format!("{}/hook", web.url)).env("TMPDIR", stage.beside(""))
    };
    // The first run is made by hand, so its mistakes are seen.
    run().set("max-backups", "many").expect(2);
    assert!(!heard.exists() && web.requests().is_empty());
    run().expect(0);
    let refused = run().set("max-backups", "many").expect(2);
    assert_eq!(refused.lines_with("max-backups"), 1, "{}", refused.said());
    let text = fs::read_to_string(&heard).expect("ON_FAILURE ran");
    assert!(text.starts_with("failed 2 there is a mistake in the configuration: "), "{text}");
    assert!(text.contains("many"), "{text}");
    let requests = web.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].body.contains("mistake in the configuration"), "{requests:?}");
    stage.look("status").done().assert_says("mistake in the configuration");
    run().set("max-backups", "many").arg("--dry-run").expect(2);
    assert_eq!(web.requests().len(), 1, "a dry run reports nothing");
}

#[test]
fn a_command_before_the_run_can_put_it_off_or_fail_it() {
    let stage = stage();
    stage.run().expect(0);
    let status = || fs::read(stage.backups.join(".backup_manager/status/my_backup.json"));
    let before = status().expect("a status");
    let done = telling(&stage).set("pre-backup", "echo not now; exit 75").expect(0);
    done.assert_says("PRE_BACKUP: not now")
        .assert_says("nothing to do: PRE_BACKUP ended with exit code 75");
    assert_eq!((count(&stage), said(&stage)), (1, String::new()));
    assert_eq!(status().expect("a status"), before, "it was no run");
    let done = telling(&stage).set("pre-backup", "exit 3").expect(1);
    done.assert_says("failed: PRE_BACKUP failed with exit code 3");
    assert!(count(&stage) == 1 && said(&stage).starts_with("ON_FAILURE"), "{}", said(&stage));
    let slow = telling(&stage).set("pre-backup", "sleep 60").set("hook-timeout-s", "1");
    slow.expect(1).assert_says("HOOK_TIMEOUT_S");
    let done = stage.run().set("post-backup", "exit 1").expect(0);
    done.assert_says("WARN").assert_says("POST_BACKUP failed with exit code 1");
}

#[test]
fn a_signal_is_passed_on_to_the_command() {
    let (stage, began) = (stage(), "began");
    let (began, ended) = (stage.beside(began), stage.beside("ended"));
    let command = format!(
        "trap 'touch {}; exit 1' TERM; touch {}; while :; do sleep 0.05; done",
        ended.display(),
        began.display()
    );
    let mut running = stage.run().set("pre-backup", command).start();
    assert!(running.until(|| began.exists()));
    running.signal(Signal::TERM);
    running.wait().assert_code(143);
    assert!(ended.exists() && count(&stage) == 0);
}

#[test]
fn commands_get_no_secret_and_the_callers_umask() {
    let stage = stage();
    let file = stage.beside("file");
    let command = format!("echo \"[$SMTP_PASSWORD$NTFY_TOKEN$PING_URL_FILE]\" >{}", file.display());
    let run = stage.run().set("pre-backup", command).env("NTFY_TOKEN", "hunter22");
    run.under(&["sh", "-c", "umask 027 && exec \"$@\"", "sh"]).expect(0);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::read_to_string(&file).expect("written"), "[]\n");
    assert_eq!(fs::metadata(&file).expect("its mode").mode() & 0o777, 0o640);
}

#[test]
fn metrics_cover_all_jobs_of_a_folder() {
    let stage = stage();
    let taken = stage.beside("taken.prom");
    let copy = format!("cp \"$BM_BACKUPS_DIR/.backup_manager/metrics.prom\" {}", taken.display());
    stage.run().expect(0);
    let scratch = stage.source.parent().expect("a folder").to_owned();
    stage.look("drill").set("scratch", scratch).expect(0);
    stage.run().set("post-backup", copy).expect(0);
    stage
        .run()
        .set("backup-name-prefix", "other")
        .set("srcs-to-backup", stage.beside("gone"))
        .expect(1);
    let text = fs::read_to_string(stage.backups.join(".backup_manager/metrics.prom"));
    let text = text.expect("metrics");
    for line in [
        "backup_manager_snapshots{job=\"my_backup\",prefix=\"my_backup\"} 2",
        "backup_manager_last_drill_success{job=\"my_backup\",prefix=\"my_backup\"} 1",
        "backup_manager_last_run_exit_code{job=\"my_backup\",prefix=\"my_backup\"} 0",
        "backup_manager_last_run_exit_code{job=\"other\",prefix=\"other\"} 1",
        "backup_manager_failures_in_a_row{job=\"other\",prefix=\"other\"} 1",
    ] {
        assert!(text.lines().any(|of| of == line), "{line} in:\n{text}");
    }
    // Every metric in a rule is one that the program writes.
    let rules = include_str!("../../../deploy/prometheus-alerts.yml");
    let exprs = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    for word in exprs.flat_map(|expr| expr.split(|c: char| !c.is_alphanumeric() && c != '_')) {
        if word.starts_with("backup_manager_") {
            assert!(text.contains(&format!("# TYPE {word} gauge")), "{word}");
        }
    }
    let taken = fs::read_to_string(taken).expect("the copy");
    assert!(
        taken.contains("backup_manager_last_run_success{job=\"my_backup\",prefix=\"my_backup\"} 1")
    );
}
