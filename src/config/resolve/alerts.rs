//! Resolves hooks and alert channels.

use crate::config::checks::value::GivenValue;
use crate::config::layers::first;
use crate::config::mistake::Mistake;
use crate::config::setting::Layer;
use crate::config::types::Hooks;
use crate::config::values::alert_channels::{AlertLevel, Channels, Mail, Ntfy, Security};

/// The commands around a run. The time limit has a default, so `None` follows only from a mistake.
pub(crate) fn hooks(layers: &[&Layer]) -> Option<Hooks> {
    let hook = |field: fn(&Layer) -> Option<&GivenValue<String>>| {
        value(layers, field).filter(|command| !command.is_empty())
    };
    let timeout = value(layers, |layer| layer.hook_timeout.as_ref())?;
    Some(Hooks {
        pre: hook(|layer| layer.pre_backup.as_ref()),
        post: hook(|layer| layer.post_backup.as_ref()),
        on_failure: hook(|layer| layer.on_failure.as_ref()),
        timeout,
    })
}

/// The alert channels and their level. `None` if a setting is wrong.
pub(crate) fn notify(
    layers: &[&Layer],
    mistakes: &mut Vec<Mistake>,
) -> Option<(AlertLevel, Channels)> {
    let channels = Channels {
        mail: mail(layers, mistakes)?,
        webhook: value(layers, |layer| layer.webhook_url.as_ref()),
        ntfy: value(layers, |layer| layer.ntfy_url.as_ref())
            .map(|url| Ntfy { url, token: value(layers, |layer| layer.ntfy_token.as_ref()) }),
        ping: value(layers, |layer| layer.ping_url.as_ref()),
        ca: value(layers, |layer| layer.notify_ca.as_ref()),
    };
    Some((value(layers, |layer| layer.notify_on.as_ref())?, channels))
}

pub(crate) fn mail(layers: &[&Layer], mistakes: &mut Vec<Mistake>) -> Option<Option<Mail>> {
    let to = first(layers, |layer| layer.mail_to.as_ref());
    let host = first(layers, |layer| layer.smtp_host.as_ref());
    let (to, host) = match (to, host) {
        (None, None) => return Some(None),
        (Some(to), None) => {
            let what = "mail needs a server too; write for example SMTP_HOST=mail.example.org";
            mistakes.push(to.origin.mistake(what));
            return None;
        }
        (None, Some(host)) => {
            let what = "mail needs a recipient; write for example MAIL_TO=me@example.org";
            mistakes.push(host.origin.mistake(what));
            return None;
        }
        (Some(to), Some(host)) => (to.value.clone()?, host.value.clone()?),
    };
    let user = first(layers, |layer| layer.smtp_user.as_ref());
    let password = first(layers, |layer| layer.smtp_password.as_ref());
    let login = match (user, password) {
        (None, None) => None,
        (Some(user), Some(password)) => Some((user.value.clone()?, password.value.clone()?)),
        (Some(one), None) => {
            mistakes.push(one.origin.mistake(
                "a user needs a password; write SMTP_PASSWORD_FILE=/run/secrets/smtp_password",
            ));
            return None;
        }
        (None, Some(one)) => {
            mistakes.push(one.origin.mistake("a password needs a user; write SMTP_USER"));
            return None;
        }
    };
    let security = value(layers, |layer| layer.smtp_security.as_ref())?;
    if let (Security::None, Some((given, _))) = (security, user.zip(login.as_ref()))
        && !is_local(&host.0)
    {
        mistakes.push(given.origin.mistake(
            "the password would go through the network unencrypted; write SMTP_SECURITY=starttls",
        ));
        return None;
    }
    let by_login = || login.as_ref().and_then(|(user, _)| user.parse().ok());
    let from = value(layers, |layer| layer.mail_from.as_ref());
    let from = from.or_else(by_login).or_else(|| to.first().cloned())?;
    let port = host.1.unwrap_or(security.port());
    Some(Some(Mail { to, from, host: host.0, port, security, login }))
}

/// Whether the host is the local machine, so that no network is involved.
pub(crate) fn is_local(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1")
}

fn value<'a, T: Clone + 'a>(
    layers: &[&'a Layer],
    field: impl Fn(&'a Layer) -> Option<&'a GivenValue<T>>,
) -> Option<T> {
    first(layers, field).and_then(|given| given.value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checks::value::Raw;
    use crate::config::mistake::SettingOrigin;
    use crate::config::setting::Key;

    fn layer(pairs: &[(Key, &str)]) -> (Layer, Vec<String>) {
        let (mut layer, mut mistakes) = (Layer::defaults(&mut Vec::new()), Vec::new());
        for (key, value) in pairs {
            layer.set(*key, &Raw::Text(value.into()), SettingOrigin::variable("V"), &mut mistakes);
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
            (&[(Key::MailTo, "nobody")], "'nobody' is not a mail address"),
            (&[(Key::MailFrom, "a@b.example\nBcc: x@y.example")], "is not a mail address"),
            (&[(Key::SmtpHost, "mail:port")], "write host, host:port"),
            (&[(Key::HookTimeoutS, "0")], "write 1 to"),
            (&[(Key::NotifyCa, "/etc/ca.pem")], "NOTIFY_CA_FILE"),
            (&[(Key::NtfyToken, "a b")], "write it again"),
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
                "through the network unencrypted",
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
