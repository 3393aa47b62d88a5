//! The settings of what happens around a run: alerts and hooks.

use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use ureq::http::Uri;

use crate::config::alert_channels::{Level, Security};
use crate::config::layers::list;
use crate::config::layers::value::{Checked, Given, Raw, decimal, give, text, wrong};
use crate::config::mistake::{Mistake, Origin};
use crate::config::setting::Key;
use crate::secret::Secret;

/// Longest time that a hook may be given: a week.
const MAX_SECONDS: f64 = 604_800.0;

/// What one place gives of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Around {
    pub(crate) notify_on: Option<Given<Level>>,
    pub(crate) mail_to: Option<Given<Vec<Mailbox>>>,
    pub(crate) mail_from: Option<Given<Mailbox>>,
    pub(crate) smtp_host: Option<Given<(String, Option<u16>)>>,
    pub(crate) smtp_security: Option<Given<Security>>,
    pub(crate) smtp_user: Option<Given<String>>,
    pub(crate) smtp_password: Option<Given<Secret>>,
    pub(crate) webhook_url: Option<Given<Secret>>,
    pub(crate) ntfy_url: Option<Given<Secret>>,
    pub(crate) ntfy_token: Option<Given<Secret>>,
    pub(crate) ping_url: Option<Given<Secret>>,
    pub(crate) notify_ca: Option<Given<String>>,
    /// Before, after, on failure.
    pub(crate) hooks: [Option<Given<String>>; 3],
    pub(crate) hook_timeout: Option<Given<Duration>>,
}

impl Around {
    /// Takes in one value; what is wrong with it goes to `mistakes`.
    pub(crate) fn set(&mut self, key: Key, raw: &Raw, origin: Origin, mistakes: &mut Vec<Mistake>) {
        match key {
            Key::NotifyOn => give(&mut self.notify_on, level(raw), origin, mistakes),
            Key::MailTo => give(&mut self.mail_to, mailboxes(raw), origin, mistakes),
            Key::MailFrom => give(&mut self.mail_from, mailbox(raw), origin, mistakes),
            Key::SmtpHost => give(&mut self.smtp_host, host(raw), origin, mistakes),
            Key::SmtpSecurity => give(&mut self.smtp_security, security(raw), origin, mistakes),
            Key::SmtpUser => give(&mut self.smtp_user, text(raw), origin, mistakes),
            Key::SmtpPassword => give(&mut self.smtp_password, secret(raw), origin, mistakes),
            Key::WebhookUrl => give(&mut self.webhook_url, url(raw), origin, mistakes),
            Key::NtfyUrl => give(&mut self.ntfy_url, url(raw), origin, mistakes),
            Key::NtfyToken => give(&mut self.ntfy_token, token(raw), origin, mistakes),
            Key::PingUrl => give(&mut self.ping_url, url(raw), origin, mistakes),
            Key::NotifyCa => give(&mut self.notify_ca, certificates(raw), origin, mistakes),
            Key::PreBackup => give(&mut self.hooks[0], text(raw), origin, mistakes),
            Key::PostBackup => give(&mut self.hooks[1], text(raw), origin, mistakes),
            Key::OnFailure => give(&mut self.hooks[2], text(raw), origin, mistakes),
            Key::HookTimeoutS => give(&mut self.hook_timeout, seconds(raw), origin, mistakes),
            // The table of settings is taken apart by `Layer::set` first.
            _ => {}
        }
    }
}

fn level(raw: &Raw) -> Checked<Level> {
    match text(raw)?.to_ascii_lowercase().as_str() {
        "failure" => Ok(Level::Failure),
        "problem" => Ok(Level::Problem),
        "always" => Ok(Level::Always),
        other => wrong(format!("'{other}' is no level; write failure, problem or always")),
    }
}

pub(crate) fn security(raw: &Raw) -> Checked<Security> {
    match text(raw)?.to_ascii_lowercase().as_str() {
        "starttls" => Ok(Security::StartTls),
        "tls" => Ok(Security::Tls),
        "none" => Ok(Security::None),
        other => wrong(format!("'{other}' is no encryption; write starttls, tls or none")),
    }
}

fn mailbox(raw: &Raw) -> Checked<Mailbox> {
    one_mailbox(&text(raw)?)
}

fn mailboxes(raw: &Raw) -> Checked<Vec<Mailbox>> {
    let items: Vec<String> = match raw {
        Raw::List(items) => items.clone(),
        raw => list::split(text(raw)?.as_bytes())
            .iter()
            .map(|item| String::from_utf8_lossy(item).into_owned())
            .collect(),
    };
    if items.is_empty() {
        return wrong("it names nobody; write for example me@example.org");
    }
    items.iter().map(|item| one_mailbox(item)).collect()
}

fn one_mailbox(text: &str) -> Checked<Mailbox> {
    let text = text.trim();
    // A plain address first: the other form wants names to be quoted.
    let plain = text.parse::<Address>().map(|address| Mailbox::new(None, address));
    plain
        .or_else(|_| text.parse())
        .map_err(|_| vec![format!("'{text}' is no mail address; write for example me@example.org")])
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
        _ => wrong(format!("it is no mail server; {form}")),
    }
}

/// No mistake in a secret repeats it.
fn secret(raw: &Raw) -> Checked<Secret> {
    match raw {
        Raw::Text(value) => match value.to_str() {
            Some(value) => Ok(Secret::new(value)),
            None => wrong("it is not valid UTF-8; write it anew"),
        },
        _ => wrong("it is no text; write one value in quotes"),
    }
}

fn token(raw: &Raw) -> Checked<Secret> {
    let token = secret(raw)?;
    match token.reveal().trim() {
        trimmed if trimmed.chars().all(|c| c.is_ascii_graphic()) => Ok(Secret::new(trimmed)),
        _ => wrong("it holds characters that no token has; write it anew"),
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
        wrong(
            "it is no URL of the web; write it from https:// on (it is not shown: it may be a secret)",
        )
    }
}

fn certificates(raw: &Raw) -> Checked<String> {
    let text = text(raw)?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        Ok(text)
    } else {
        wrong("it holds no certificate; write NOTIFY_CA_FILE with the path of a PEM file")
    }
}

fn seconds(raw: &Raw) -> Checked<Duration> {
    let seconds = decimal(raw, "3600")?;
    if (1.0..=MAX_SECONDS).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        wrong(format!("{seconds} seconds is out of range; write 1 to {MAX_SECONDS}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Layer;
    use crate::config::resolve::alerts::notify;

    fn layer(pairs: &[(Key, &str)]) -> (Layer, Vec<String>) {
        let (mut layer, mut mistakes) = (Layer::defaults(&mut Vec::new()), Vec::new());
        for (key, value) in pairs {
            layer.set(*key, &Raw::Text(value.into()), Origin::variable("V"), &mut mistakes);
        }
        let _ = notify(&[&layer], &mut mistakes);
        (layer, mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn bad_values_are_named_with_what_to_write() {
        for (pairs, expected) in [
            (&[(Key::NotifyOn, "never")][..], "write failure, problem or always"),
            (&[(Key::SmtpSecurity, "ssl")], "write starttls, tls or none"),
            (&[(Key::MailTo, "a@b.example")], "SMTP_HOST=mail.example.org"),
            (&[(Key::SmtpHost, "mail.example")], "MAIL_TO=me@example.org"),
            (&[(Key::MailTo, "nobody")], "'nobody' is no mail address"),
            (&[(Key::MailFrom, "a@b.example\nBcc: x@y.example")], "is no mail address"),
            (&[(Key::SmtpHost, "mail:port")], "write host, host:port"),
            (&[(Key::HookTimeoutS, "0")], "write 1 to"),
            (&[(Key::NotifyCa, "/etc/ca.pem")], "NOTIFY_CA_FILE"),
            (&[(Key::NtfyToken, "a b")], "write it anew"),
        ] {
            let (_, mistakes) = layer(pairs);
            assert!(mistakes.join("\n").contains(expected), "{expected}: {mistakes:?}");
        }
        let mail = [(Key::MailTo, "a@b.example"), (Key::SmtpHost, "mail.example")];
        for (more, expected) in [
            (&[(Key::SmtpUser, "me")][..], "SMTP_PASSWORD_FILE"),
            (&[(Key::SmtpPassword, "x")], "write SMTP_USER"),
            (
                &[(Key::SmtpUser, "me"), (Key::SmtpPassword, "x"), (Key::SmtpSecurity, "none")],
                "for all to read",
            ),
        ] {
            let (_, mistakes) = layer(&[&mail[..], more].concat());
            assert!(mistakes.join("\n").contains(expected), "{expected}: {mistakes:?}");
        }
    }

    #[test]
    fn no_mistake_and_no_debug_output_repeats_a_secret() {
        for (key, value) in [
            (Key::WebhookUrl, "hxxps://h.example/hunter22"),
            (Key::PingUrl, "hunter22"),
            (Key::NtfyUrl, "ftp://h.example/hunter22"),
            (Key::NtfyToken, "hunter22 \u{1}"),
        ] {
            let (layer, mistakes) = layer(&[(key, value)]);
            assert_eq!(mistakes.len(), 1, "{key:?}");
            assert!(
                !mistakes[0].contains("hunter22") && !format!("{layer:?}").contains("hunter22")
            );
        }
        let (layer, mistakes) = layer(&[(Key::WebhookUrl, "https://h.example/hunter22")]);
        assert_eq!(mistakes, Vec::<String>::new());
        assert!(!format!("{layer:?}").contains("hunter22"));
    }

    #[test]
    fn the_sender_is_the_one_who_logs_in_or_reads() {
        let base =
            [(Key::MailTo, "A B <a@b.example>, c@d.example"), (Key::SmtpHost, "m.example:26")];
        let login = [(Key::SmtpUser, "me@b.example"), (Key::SmtpPassword, "x")];
        for (pairs, from) in [
            (base.to_vec(), "A B <a@b.example>"),
            ([&base[..], &login].concat(), "me@b.example"),
            ([&base[..], &login, &[(Key::MailFrom, "x@y.example")]].concat(), "x@y.example"),
        ] {
            let (layer, mistakes) = layer(&pairs);
            assert_eq!(mistakes, Vec::<String>::new());
            let (_, channels) = notify(&[&layer], &mut Vec::new()).unwrap();
            let mail = channels.mail.unwrap();
            assert_eq!((mail.from.to_string().as_str(), mail.to.len(), mail.port), (from, 2, 26));
        }
    }
}
