//! Sends a message through one channel, within a time limit that the server cannot exceed.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{
    Certificate as MailCertificate, CertificateStore, Tls, TlsParameters,
};
use lettre::{SmtpTransport, Transport};
use serde::{Deserialize, Serialize};
use serde_json::json;
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::config::values::alert_channels::{Channels, Mail, Ntfy, Security};
use crate::notify::message::Message;
use crate::secret::redacted;

/// The time limit for one step of the exchange with a server.
const STEP: Duration = Duration::from_secs(10);
/// The time limit for the whole exchange.
const PATIENCE: Duration = Duration::from_secs(20);
/// Maximum length in bytes of a text for chat services (Discord: 2,000 characters).
const CHAT: usize = 1_900;

/// One alert channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AlertMethod {
    Mail,
    Webhook,
    Ntfy,
    Ping,
}

impl AlertMethod {
    /// The name for log messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
            Self::Ntfy => "ntfy",
            Self::Ping => "ping",
        }
    }
}

/// Sends `message` through a channel.
///
/// # Errors
/// Why it could not be sent, without any secret.
pub(crate) fn send(way: AlertMethod, message: &Message, channels: &Channels) -> Result<(), String> {
    let (sender, receiver) = mpsc::channel();
    let (for_thread, own) = (channels.clone(), message.clone());
    // A name lookup and a server that answers one byte per second cannot be cancelled from inside. In that
    // case the thread is abandoned and ends with the program.
    let spawned = thread::Builder::new().name("notify".to_owned()).spawn(move || {
        let _ = sender.send(talk(way, &own, &for_thread));
    });
    let sent = match spawned {
        Ok(_) => receiver
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| Err(format!("no end within {} seconds", PATIENCE.as_secs()))),
        Err(error) => Err(format!("no thread can be started: {error}")),
    };
    sent.map_err(|error| redacted(&error, &channels.secrets()))
}

fn talk(way: AlertMethod, message: &Message, channels: &Channels) -> Result<(), String> {
    let ca = channels.ca.as_deref();
    match way {
        AlertMethod::Mail => channels.mail.as_ref().map_or(Ok(()), |to| mail(message, to, ca)),
        AlertMethod::Webhook => channels.webhook.as_ref().map_or(Ok(()), |url| {
            let body = webhook(message).to_string();
            let json = ("Content-Type", "application/json".to_owned());
            post(url.reveal(), &[json], body.as_bytes(), ca)
        }),
        AlertMethod::Ntfy => channels.ntfy.as_ref().map_or(Ok(()), |to| {
            post(to.url.reveal(), &ntfy_headers(message, to), message.body.as_bytes(), ca)
        }),
        AlertMethod::Ping => channels.ping.as_ref().map_or(Ok(()), |url| {
            post(&ping_url(url.reveal(), &message.event), &[], message.body.as_bytes(), ca)
        }),
    }
}

/// The JSON object for a webhook. Chat services show `text` or `content`.
fn webhook(message: &Message) -> serde_json::Value {
    let Message { event, urgent, job, host, time, newest_snapshot, title, body } = message;
    let mut text = format!("{title}\n{body}");
    if text.len() > CHAT {
        text.truncate((0..=CHAT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    }
    json!({
        "event": event, "urgent": urgent, "job": job, "host": host, "time": time,
        "newest_snapshot": newest_snapshot, "title": title, "message": body,
        "text": text, "content": text,
    })
}

fn ntfy_headers(message: &Message, ntfy: &Ntfy) -> Vec<(&'static str, String)> {
    // Headers are ASCII; the text below the title contains the unmodified name.
    let title =
        message.title.chars().map(|c| if c.is_ascii() && !c.is_control() { c } else { '?' });
    let mut headers = vec![
        ("Title", title.collect()),
        ("Priority", if message.urgent { "high" } else { "default" }.to_owned()),
        ("Tags", if message.urgent { "rotating_light" } else { "floppy_disk" }.to_owned()),
    ];
    headers.extend(
        ntfy.token.as_ref().map(|token| ("Authorization", format!("Bearer {}", token.reveal()))),
    );
    headers
}

/// The URL of a ping: `URL/start`, `URL` or `URL/fail`, with the query at the end.
fn ping_url(url: &str, event: &str) -> String {
    let (path, query) = match url.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (url, String::new()),
    };
    let path = path.trim_end_matches('/');
    match event {
        "start" | "fail" => format!("{path}/{event}{query}"),
        _ => format!("{path}{query}"),
    }
}

fn post(
    url: &str,
    headers: &[(&str, String)],
    body: &[u8],
    ca: Option<&str>,
) -> Result<(), String> {
    let roots = match ca {
        None => RootCerts::WebPki,
        Some(pem) => {
            let items: Result<Vec<_>, _> = parse_pem(pem.as_bytes()).collect();
            let items = items.map_err(|error| format!("NOTIFY_CA cannot be read: {error}"))?;
            let certificates = items.into_iter().filter_map(|item| match item {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            });
            RootCerts::Specific(Arc::new(certificates.collect()))
        }
    };
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(STEP))
        .max_redirects(3)
        .user_agent(concat!("backup_manager/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build()
        .into();
    let mut request = agent.post(url);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.send(body).map(drop).map_err(|error| error.to_string())
}

fn mail(message: &Message, to: &Mail, ca: Option<&str>) -> Result<(), String> {
    let mut builder = lettre::Message::builder()
        .from(to.from.clone())
        .subject(message.title.as_str())
        .header(ContentType::TEXT_PLAIN);
    for reader in &to.to {
        builder = builder.to(reader.clone());
    }
    let letter = builder.body(message.body.clone()).map_err(|error| error.to_string())?;
    let transport = SmtpTransport::builder_dangerous(to.host.as_str())
        .port(to.port)
        .timeout(Some(STEP))
        .tls(tls(to, ca)?);
    let transport = match &to.login {
        Some((user, password)) => {
            transport.credentials(Credentials::new(user.clone(), password.reveal().to_owned()))
        }
        None => transport,
    };
    transport.build().send(&letter).map(drop).map_err(|error| chain(&error))
}

/// An error with all its sources, because lettre's own message names only its kind.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        below = error.source();
    }
    text
}

fn tls(to: &Mail, ca: Option<&str>) -> Result<Tls, String> {
    if to.security == Security::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(to.host.clone());
    parameters = match ca {
        None => parameters.certificate_store(CertificateStore::WebpkiRoots),
        Some(pem) => {
            let certificates = MailCertificate::from_pem(pem.as_bytes())
                .map_err(|error| format!("NOTIFY_CA cannot be read: {error}"))?;
            parameters.certificate_store(CertificateStore::None).add_root_certificate(certificates)
        }
    };
    let parameters = parameters.build().map_err(|error| chain(&error))?;
    Ok(match to.security {
        Security::Tls => Tls::Wrapper(parameters),
        _ => Tls::Required(parameters),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_keeps_the_query() {
        for (url, event, expected) in [
            ("https://h/ping/id", "start", "https://h/ping/id/start"),
            ("https://h/ping/id/", "fail", "https://h/ping/id/fail"),
            ("https://h/ping/id?create=1", "fail", "https://h/ping/id/fail?create=1"),
            ("https://h/ping/id", "success", "https://h/ping/id"),
        ] {
            assert_eq!(ping_url(url, event), expected);
        }
    }
}
