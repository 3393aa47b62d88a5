//! Checks the settings of alerts and hooks.

use std::num::NonZeroUsize;
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use ureq::http::Uri;

use crate::config::checks::backup::count;
use crate::config::checks::list;
use crate::config::checks::value::{Checked, Raw, decimal, text, wrong};
use crate::config::values::alert_channels::{AlertLevel, Security};
use crate::secret::Secret;

/// Maximum time limit of a hook, in seconds: one week.
const MAX_SECONDS: f64 = 604_800.0;

pub(crate) fn failures(raw: &Raw) -> Checked<NonZeroUsize> {
    count(raw, "0 failures are no reason for an alert", "3")
}

pub(crate) fn level(raw: &Raw) -> Checked<AlertLevel> {
    match text(raw)?.to_ascii_lowercase().as_str() {
        "failure" => Ok(AlertLevel::Failure),
        "problem" => Ok(AlertLevel::Problem),
        "always" => Ok(AlertLevel::Always),
        other => wrong(format!("'{other}' is not a level; write failure, problem or always")),
    }
}

pub(crate) fn security(raw: &Raw) -> Checked<Security> {
    match text(raw)?.to_ascii_lowercase().as_str() {
        "starttls" => Ok(Security::StartTls),
        "tls" => Ok(Security::Tls),
        "none" => Ok(Security::None),
        other => wrong(format!("'{other}' is not an encryption; write starttls, tls or none")),
    }
}

pub(crate) fn mailbox(raw: &Raw) -> Checked<Mailbox> {
    one_mailbox(&text(raw)?)
}

pub(crate) fn mailboxes(raw: &Raw) -> Checked<Vec<Mailbox>> {
    let items: Vec<String> = match raw {
        Raw::List(items) => items.clone(),
        raw => list::split(text(raw)?.as_bytes())
            .iter()
            .map(|item| String::from_utf8_lossy(item).into_owned())
            .collect(),
    };
    if items.is_empty() {
        return wrong("it contains no address; write for example me@example.org");
    }
    items.iter().map(|item| one_mailbox(item)).collect()
}

fn one_mailbox(text: &str) -> Checked<Mailbox> {
    let text = text.trim();
    // Try a plain address first: the other form requires quotes around some names.
    let plain = text.parse::<Address>().map(|address| Mailbox::new(None, address));
    plain.or_else(|_| text.parse()).map_err(|_| {
        vec![format!("'{text}' is not a mail address; write for example me@example.org")]
    })
}

pub(crate) fn host(raw: &Raw) -> Checked<(String, Option<u16>)> {
    let text = text(raw)?;
    let form = "write host, host:port or [v6]:port";
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text.as_str(), None),
        },
    };
    let port = port.map(str::parse::<u16>).transpose();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    match port {
        Ok(port) if !host.is_empty() && host.chars().all(good) => Ok((host.to_owned(), port)),
        _ => wrong(format!("it is not a mail server; {form}")),
    }
}

/// Reads a secret. The message of a mistake never contains it.
pub(crate) fn secret(raw: &Raw) -> Checked<Secret> {
    match raw {
        Raw::Text(value) => match value.to_str() {
            Some(value) => Ok(Secret::new(value)),
            None => wrong("it is not valid UTF-8; write it again"),
        },
        _ => wrong("it is not a text; write one value in quotes"),
    }
}

pub(crate) fn token(raw: &Raw) -> Checked<Secret> {
    let token = secret(raw)?;
    match token.reveal().trim() {
        trimmed if trimmed.chars().all(|c| c.is_ascii_graphic()) => Ok(Secret::new(trimmed)),
        _ => wrong("it contains characters that no token has; write it again"),
    }
}

pub(crate) fn url(raw: &Raw) -> Checked<Secret> {
    let url = secret(raw)?;
    let text = url.reveal().trim();
    let parsed: Option<Uri> = text.parse().ok();
    let good = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if good {
        Ok(Secret::new(text))
    } else {
        wrong("it is not a web URL; begin it with https:// (it is not shown: it may be a secret)")
    }
}

pub(crate) fn certificates(raw: &Raw) -> Checked<String> {
    let text = text(raw)?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        Ok(text)
    } else {
        wrong("it holds no certificate; write NOTIFY_CA_FILE with the path of a PEM file")
    }
}

pub(crate) fn hook_timeout(raw: &Raw) -> Checked<Duration> {
    let seconds = decimal(raw, "3600")?;
    if (1.0..=MAX_SECONDS).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        wrong(format!("{seconds} seconds is out of range; write 1 to {MAX_SECONDS}"))
    }
}
