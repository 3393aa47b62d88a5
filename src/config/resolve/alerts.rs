//! Resolves hooks and alert channels.

use crate::config::alert_channels::{Channels, Level, Mail, Ntfy, Security};
use crate::config::layers::alert_settings::Around;
use crate::config::layers::value::Given;
use crate::config::layers::{Layer, first};
use crate::config::mistake::Mistake;
use crate::config::types::Hooks;

/// The commands around a run. A default gives the time, so that there is none only after a mistake.
pub(crate) fn hooks(layers: &[&Layer]) -> Option<Hooks> {
    let hook = |which: usize| {
        value(layers, |around| around.hooks[which].as_ref()).filter(|command| !command.is_empty())
    };
    let timeout = value(layers, |around| around.hook_timeout.as_ref())?;
    Some(Hooks { pre: hook(0), post: hook(1), on_failure: hook(2), timeout })
}

/// Who is told, and of what. `None` when something is wrong with it.
pub(crate) fn notify(layers: &[&Layer], mistakes: &mut Vec<Mistake>) -> Option<(Level, Channels)> {
    let channels = Channels {
        mail: mail(layers, mistakes)?,
        webhook: value(layers, |around| around.webhook_url.as_ref()),
        ntfy: value(layers, |around| around.ntfy_url.as_ref())
            .map(|url| Ntfy { url, token: value(layers, |around| around.ntfy_token.as_ref()) }),
        ping: value(layers, |around| around.ping_url.as_ref()),
        ca: value(layers, |around| around.notify_ca.as_ref()),
    };
    Some((value(layers, |around| around.notify_on.as_ref())?, channels))
}

pub(crate) fn mail(layers: &[&Layer], mistakes: &mut Vec<Mistake>) -> Option<Option<Mail>> {
    let to = given(layers, |around| around.mail_to.as_ref());
    let host = given(layers, |around| around.smtp_host.as_ref());
    let (to, host) = match (to, host) {
        (None, None) => return Some(None),
        (Some(to), None) => {
            let what = "mail needs a server too; write for example SMTP_HOST=mail.example.org";
            mistakes.push(to.origin.mistake(what));
            return None;
        }
        (None, Some(host)) => {
            let what = "mail needs somebody to read it; write for example MAIL_TO=me@example.org";
            mistakes.push(host.origin.mistake(what));
            return None;
        }
        (Some(to), Some(host)) => (to.value.clone()?, host.value.clone()?),
    };
    let user = given(layers, |around| around.smtp_user.as_ref());
    let password = given(layers, |around| around.smtp_password.as_ref());
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
    let security = value(layers, |around| around.smtp_security.as_ref())?;
    if let (Security::None, Some((given, _))) = (security, user.zip(login.as_ref()))
        && !is_local(&host.0)
    {
        mistakes.push(given.origin.mistake(
            "the password would go through the network for all to read; write SMTP_SECURITY=starttls",
        ));
        return None;
    }
    let by_login = || login.as_ref().and_then(|(user, _)| user.parse().ok());
    let from = value(layers, |around| around.mail_from.as_ref());
    let from = from.or_else(by_login).or_else(|| to.first().cloned())?;
    let port = host.1.unwrap_or(security.port());
    Some(Some(Mail { to, from, host: host.0, port, security, login }))
}

/// Whether it is this machine, to which nobody listens in.
pub(crate) fn is_local(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1")
}

pub(crate) fn given<'a, T>(
    layers: &[&'a Layer],
    field: impl Fn(&'a Around) -> Option<&'a Given<T>>,
) -> Option<&'a Given<T>> {
    first(layers, |layer| field(&layer.around))
}

pub(crate) fn value<'a, T: Clone + 'a>(
    layers: &[&'a Layer],
    field: impl Fn(&'a Around) -> Option<&'a Given<T>>,
) -> Option<T> {
    given(layers, field).and_then(|given| given.value.clone())
}
