//! Alerts, to real mail and web servers on loopback.

use std::fs;
use std::path::Path;
use std::time::Duration;

use fixtures::mail_server::{Encryption, MailServer};
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tls::Certificate;
use fixtures::tree::Tree;
use fixtures::web::Web;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
const PASSWORD: &str = "correct horse";
/// The base64 of NUL `me@example.org` NUL `correct horse` (RFC 4616).
const LOGIN: &str = "AG1lQGV4YW1wbGUub3JnAGNvcnJlY3QgaG9yc2U=";

fn stage() -> Stage {
    Stage::with(BIN, &Tree::new().file("a", "1").file("b", "2"))
}

/// A run that fails because its source is missing, which triggers an alert at once.
fn failing(stage: &Stage) -> Run {
    with(stage, stage.run()).set("srcs-to-backup", stage.beside("gone"))
}

fn with(stage: &Stage, run: Run) -> Run {
    run.env("TMPDIR", stage.beside("")).set("failures-before-alert", "1")
}

/// The content of all files in `.backup_manager` as one text.
fn own(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            text += &own(&path);
        } else {
            text += &String::from_utf8_lossy(&fs::read(&path).unwrap_or_default());
        }
    }
    text
}

fn mailing(stage: &Stage, server: &MailServer, run: Run) -> Run {
    let password = stage.beside("password");
    fs::write(&password, format!("{PASSWORD}\n")).expect("written");
    run.set("mail-to", "admin@example.org, Other One <other@example.org>")
        .set("smtp-host", format!("localhost:{}", server.port))
        .set("smtp-user", "me@example.org")
        .env("SMTP_PASSWORD_FILE", password)
}

#[test]
fn mail_says_what_since_when_what_is_safe_and_what_to_do() {
    let certificate = Certificate::new();
    for (manner, security) in [
        (Encryption::StartTls(certificate.clone()), "starttls"),
        (Encryption::Tls(certificate.clone()), "tls"),
        (Encryption::Plain, "none"),
    ] {
        let (stage, server) = (stage(), MailServer::start(manner, Some(LOGIN)));
        let ca = stage.beside("ca.pem");
        fs::write(&ca, &certificate.pem).expect("written");
        let set = |run: Run| {
            mailing(&stage, &server, run).set("smtp-security", security).env("NOTIFY_CA_FILE", &ca)
        };
        set(with(&stage, stage.run())).expect(0);
        assert_eq!(server.mails().len(), 0, "a good run is silent");
        let done = set(failing(&stage)).expect(1);
        done.assert_says("alert sent by mail: failed");
        assert!(!done.said().contains(PASSWORD));
        assert!(!own(&stage.backups.join(".backup_manager")).contains(PASSWORD));
        let mails = server.mails();
        let [mail] = &mails[..] else { panic!("{mails:?}") };
        assert_eq!(mail.from, "<me@example.org>");
        assert_eq!(mail.to, ["<admin@example.org>", "<other@example.org>"]);
        assert_eq!(mail.login.as_deref(), Some(LOGIN));
        assert_eq!(mail.encrypted, security != "none");
        for part in ["Subject: backup my_backup failed", "Since:", "To do:", "Safe:    my_backup."]
        {
            assert!(mail.text.contains(part), "{part} in:\n{}", mail.text);
        }
        // A second failure sends no alert; the recovery does.
        set(failing(&stage)).expect(1);
        set(with(&stage, stage.run())).expect(0);
        let mails = server.mails();
        assert_eq!(mails.len(), 2);
        assert!(mails[1].text.contains("works again"), "{}", mails[1].text);
    }
}

#[test]
fn no_password_goes_to_a_server_whose_certificate_nobody_knows() {
    let (stage, certificate) = (stage(), Certificate::new());
    let server = MailServer::start(Encryption::StartTls(certificate), None);
    let done = mailing(&stage, &server, failing(&stage)).expect(1);
    done.assert_says("the alert 'failed' could not be sent by mail");
    assert_eq!(server.mails().len(), 0);
    // A server that echoes a wrong login must not bring the secret into the log.
    let plain = MailServer::start(Encryption::Plain, Some("other"));
    let done = mailing(&stage, &plain, failing(&stage)).set("smtp-security", "none").expect(1);
    assert!(done.said().contains("535") && !done.said().contains(PASSWORD), "{}", done.said());
    assert!(!done.said().contains(LOGIN), "{}", done.said());
}

#[test]
fn webhook_and_ntfy_get_what_they_understand() {
    let (stage, certificate) = (stage(), Certificate::new());
    let (hook, ntfy) = (Web::start(Some(&certificate)), Web::start(Some(&certificate)));
    let set = |run: Run| {
        run.env("WEBHOOK_URL", format!("{}/hooks/T0K3N", hook.url))
            .env("NTFY_URL", format!("{}/my-topic", ntfy.url))
            .env("NTFY_TOKEN", "tk_secret")
            .env("NOTIFY_CA", &certificate.pem)
    };
    let done = set(failing(&stage)).expect(1);
    assert!(!done.said().contains("T0K3N") && !done.said().contains("tk_secret"));
    let requests = hook.requests();
    assert_eq!(requests[0].line, "POST /hooks/T0K3N");
    let object: serde_json::Value = serde_json::from_str(&requests[0].body).expect("JSON");
    assert_eq!((&object["event"], &object["job"]), (&"failed".into(), &"my_backup".into()));
    assert!(object["text"].as_str().is_some_and(|text| text.contains("Safe:")), "{object}");
    let requests = ntfy.requests();
    assert_eq!(requests[0].line, "POST /my-topic");
    for header in ["authorization: Bearer tk_secret", "priority: high"] {
        assert!(requests[0].headers.iter().any(|of| of == header), "{:?}", requests[0].headers);
    }
    assert!(requests[0].body.starts_with("backup my_backup failed on "), "{}", requests[0].body);
}

#[test]
fn an_alert_that_cannot_be_sent_fails_no_run_and_is_sent_by_a_later_one() {
    let (stage, web) = (stage(), Web::start(None));
    web.answer(503);
    let set =
        |run: Run| run.env("WEBHOOK_URL", format!("{}/T0K3N", web.url)).set("notify-on", "always");
    let done = set(with(&stage, stage.run())).expect(0);
    done.assert_says("the alert 'completed' could not be sent by webhook");
    assert!(!own(&stage.backups.join(".backup_manager")).contains("T0K3N"));
    web.answer(200);
    set(with(&stage, stage.run())).set("minimum-time-guard-h", "20").expect(0);
    assert_eq!(web.requests().len(), 1, "{:?}", web.requests());
    set(with(&stage, stage.run())).set("minimum-time-guard-h", "20").expect(0);
    assert_eq!(web.requests().len(), 1, "once only");
}

#[test]
fn a_server_that_never_answers_delays_a_run_by_a_bounded_time() {
    let stage = stage();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://127.0.0.1:{}/x", silent.local_addr().expect("its port").port());
    let run = with(&stage, stage.run()).env("NTFY_URL", url).set("notify-on", "always");
    let done = run.expect(0);
    done.assert_says("could not be sent by ntfy: timeout");
}

#[test]
fn pings_report_start_success_and_failure_with_the_log() {
    let (stage, web) = (stage(), Web::start(None));
    let set = |run: Run| run.env("PING_URL", format!("{}/ping/id", web.url));
    set(with(&stage, stage.run())).expect(0);
    set(with(&stage, stage.run())).set("minimum-time-guard-h", "20").expect(0);
    let lines = |web: &Web| web.requests().iter().map(|of| of.line.clone()).collect::<Vec<_>>();
    assert_eq!(lines(&web), ["POST /ping/id/start", "POST /ping/id"], "a held run is none");
    assert!(web.requests()[1].body.contains("completed my_backup."), "{:?}", web.requests());
    set(failing(&stage)).expect(1);
    assert_eq!(lines(&web)[2..], ["POST /ping/id/start", "POST /ping/id/fail"]);
    assert!(web.requests()[3].body.contains("failed: source root"), "{:?}", web.requests());
}

#[test]
fn a_missing_backups_folder_is_reported_too_and_counted_meanwhile() {
    let (stage, web) = (stage(), Web::start(None));
    let set = |run: Run| run.env("WEBHOOK_URL", &web.url).env("TMPDIR", stage.beside(""));
    let away = || set(stage.run()).set("backups-dir", stage.beside("no/such/folder"));
    for sent in [0, 0, 1, 1] {
        away().expect(1);
        assert_eq!(web.requests().len(), sent);
    }
    let body = web.requests()[0].body.clone();
    assert!(body.contains("3 runs in a row") && body.contains("could not be looked at"), "{body}");
    fs::create_dir_all(stage.beside("no/such")).expect("a folder");
    away().expect(0);
    assert!(web.requests()[1].body.contains("works again"), "{:?}", web.requests());
}

#[test]
fn damage_and_age_send_alerts() {
    let (stage, web) = (stage(), Web::start(None));
    let set = |run: Run| with(&stage, run).env("WEBHOOK_URL", &web.url);
    set(stage.run()).expect(0);
    let newest = fixtures::history::History::new(&stage.backups, "my_backup").newest();
    let name = newest.file_name().expect("its name").to_owned();
    let damaged = stage.backups.join(".backup_manager/damaged");
    fs::create_dir_all(&damaged).expect("a folder");
    fs::write(damaged.join(&name), "").expect("marked");
    let held = || set(stage.run()).set("minimum-time-guard-h", "20");
    held().expect(0);
    assert!(web.requests()[0].body.contains("damage in my_backup."), "{:?}", web.requests());
    std::thread::sleep(Duration::from_secs(2));
    held().set("max-age-h", "0.0001").expect(0);
    assert!(web.requests()[1].body.contains("MAX_AGE_H"), "{:?}", web.requests());
    held().expect(0);
    assert_eq!(web.requests().len(), 2);
}

#[test]
fn secrets_have_no_flag_and_mistakes_do_not_repeat_them() {
    let stage = stage();
    stage.run().set("webhook-url", "https://h.example/x").expect(2);
    let done = stage.run().env("WEBHOOK_URL", "htp://h.example/T0K3N").expect(2);
    done.assert_says("WEBHOOK_URL: it is not a web URL");
    assert!(!done.said().contains("T0K3N"));
    stage.run().set("mail-to", "me@example.org").expect(2).assert_says("SMTP_HOST");
    assert!(!stage.bare_run().arg("--help").expect(0).said().contains("--smtp-password"));
}
