//! A row of the table of rsync options.

use crate::config::rsync::parsed::RsyncOptions;

/// One option of rsync, or an additional one of this program.
#[derive(Debug)]
pub(crate) struct OptionRow {
    /// The name without the dashes; empty for options that are only a letter.
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    /// Other long names of the option.
    pub(crate) aliases: &'static [&'static str],
    /// Whether rsync also has the form with `--no-`.
    pub(crate) negatable: bool,
    /// The placeholder for the value in the docs, if the option takes one.
    pub(crate) value: Option<&'static str>,
    /// The sources for which the option has an effect.
    pub(crate) side: OptionSide,
    pub(crate) handling: Handling,
    /// What the option does, for the docs. If it differs from rsync's: the reason, also for messages.
    pub(crate) about: &'static str,
}

/// For which sources an option has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptionSide {
    Both,
    /// Local sources only, with the reason why not for remote ones.
    Local(&'static str),
    /// Remote sources only, with the reason why not for local ones.
    Remote(&'static str),
}

/// How an option is handled.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Handling {
    /// A switch; the argument is `false` for the `--no-` form.
    Switch(fn(&mut RsyncOptions, bool)),
    /// An option with a value; the function returns what is wrong with the value.
    Value(fn(&mut RsyncOptions, &[u8]) -> Result<(), String>),
    /// Like `Value`; the argument is `None` for the `--no-` form.
    Setting(fn(&mut RsyncOptions, Option<&[u8]>) -> Result<(), String>),
    /// The behaviour is always on, whether the option is given or not.
    Always,
    /// The option is accepted and has no effect.
    NoEffect,
    /// The option is refused.
    Refused,
}

impl OptionRow {
    const fn new(long: &'static str, handling: Handling, about: &'static str) -> Self {
        Self {
            long,
            short: None,
            aliases: &[],
            negatable: false,
            value: None,
            side: OptionSide::Both,
            handling,
            about,
        }
    }

    /// An option that switches something on, or off with `--no-`.
    pub(crate) const fn switch(
        long: &'static str,
        set: fn(&mut RsyncOptions, bool),
        about: &'static str,
    ) -> Self {
        Self::new(long, Handling::Switch(set), about)
    }

    /// An option with a value.
    pub(crate) const fn value(
        long: &'static str,
        value: &'static str,
        set: fn(&mut RsyncOptions, &[u8]) -> Result<(), String>,
        about: &'static str,
    ) -> Self {
        Self { value: Some(value), ..Self::new(long, Handling::Value(set), about) }
    }

    /// An option with a value, or without one in the `--no-` form.
    pub(crate) const fn setting(
        long: &'static str,
        value: &'static str,
        set: fn(&mut RsyncOptions, Option<&[u8]>) -> Result<(), String>,
        about: &'static str,
    ) -> Self {
        let row = Self::new(long, Handling::Setting(set), about);
        Self { value: Some(value), negatable: true, ..row }
    }

    /// An option whose behaviour is always on.
    pub(crate) const fn always(long: &'static str, about: &'static str) -> Self {
        Self::new(long, Handling::Always, about)
    }

    /// An option without an effect in this program.
    pub(crate) const fn no_effect(long: &'static str, about: &'static str) -> Self {
        Self::new(long, Handling::NoEffect, about)
    }

    /// An option that is refused.
    pub(crate) const fn refused(long: &'static str, about: &'static str) -> Self {
        Self::new(long, Handling::Refused, about)
    }

    pub(crate) const fn short(self, letter: char) -> Self {
        Self { short: Some(letter), ..self }
    }

    pub(crate) const fn or(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// Marks an option that rsync also has in the `--no-` form.
    pub(crate) const fn no(self) -> Self {
        Self { negatable: true, ..self }
    }

    pub(crate) const fn with(self, value: &'static str) -> Self {
        Self { value: Some(value), ..self }
    }

    pub(crate) const fn local(self, why_not_remote: &'static str) -> Self {
        Self { side: OptionSide::Local(why_not_remote), ..self }
    }

    pub(crate) const fn remote(self) -> Self {
        Self { side: OptionSide::Remote("the sources are on this machine"), ..self }
    }

    /// Whether `long` is one of its names.
    pub(crate) fn is_called(&self, long: &str) -> bool {
        self.names().any(|name| name == long)
    }

    /// The long names, without the dashes.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        let own = (!self.long.is_empty()).then_some(self.long);
        own.into_iter().chain(self.aliases.iter().copied())
    }

    /// The name with its dashes.
    #[cfg(test)]
    pub(crate) fn written(&self) -> String {
        match (self.long, self.short) {
            ("", Some(letter)) => format!("-{letter}"),
            (long, _) => format!("--{long}"),
        }
    }
}
