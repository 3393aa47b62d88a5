//! The settings of the channels that send alerts.

use base64::prelude::{BASE64_STANDARD, Engine};
use lettre::message::Mailbox;

use crate::secret::Secret;

/// `NOTIFY_ON`: the lowest level that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AlertLevel {
    /// A job fails, is too old or damaged, or has recovered.
    Failure,
    /// Also snapshots that lack some entries.
    Problem,
    /// Also every good snapshot.
    Always,
}

/// `SMTP_SECURITY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    StartTls,
    Tls,
    None,
}

impl Security {
    /// The customary port (RFC 8314, RFC 6409, RFC 5321).
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// Alerts by mail.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) to: Vec<Mailbox>,
    pub(crate) from: Mailbox,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) login: Option<(String, Secret)>,
}

/// Alerts by ntfy.
#[derive(Debug, Clone)]
pub(crate) struct Ntfy {
    pub(crate) url: Secret,
    pub(crate) token: Option<Secret>,
}

/// The channels of alerts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Channels {
    pub(crate) mail: Option<Mail>,
    pub(crate) webhook: Option<Secret>,
    pub(crate) ntfy: Option<Ntfy>,
    pub(crate) ping: Option<Secret>,
    /// Certificates in PEM that are trusted instead of the built-in ones.
    pub(crate) ca: Option<String>,
}

impl Channels {
    /// All secrets of the channels, also in the form in which a mail server receives them (RFC 4616: AUTH
    /// PLAIN).
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        let login = self.mail.as_ref().and_then(|mail| mail.login.as_ref());
        let login = login.map(|(user, password)| {
            let plain = BASE64_STANDARD.encode(format!("\0{user}\0{}", password.reveal()));
            let encoded = BASE64_STANDARD.encode(password.reveal());
            [Secret::new(plain), Secret::new(encoded), password.clone()]
        });
        let ntfy = self.ntfy.iter().flat_map(|ntfy| [Some(&ntfy.url), ntfy.token.as_ref()]);
        let others = [self.webhook.as_ref(), self.ping.as_ref()].into_iter().chain(ntfy);
        login.into_iter().flatten().chain(others.flatten().cloned()).collect()
    }
}
