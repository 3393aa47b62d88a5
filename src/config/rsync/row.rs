//! What a row of the table of rsync options says.

use crate::config::rsync::parsed::RsyncOptions;

/// One option of rsync's, or one of ours beside them.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name without the dashes; empty for the few that are a letter only.
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    /// Other long names of it.
    pub(crate) aliases: &'static [&'static str],
    /// Whether rsync knows it with `--no-` too.
    pub(crate) negatable: bool,
    /// What stands for its value in the docs, when it takes one.
    pub(crate) value: Option<&'static str>,
    /// Where it can have an effect.
    pub(crate) side: Side,
    pub(crate) handling: Handling,
    /// For the docs: what it does. For messages as well: why it does not do what rsync's does.
    pub(crate) about: &'static str,
}

/// For which sources an option has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Both,
    /// Sources of this machine only: why not for remote ones.
    Local(&'static str),
    /// Remote sources only: why not for those of this machine.
    Remote(&'static str),
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Handling {
    /// It does what it says; `false` for its `--no-` form.
    Switch(fn(&mut RsyncOptions, bool)),
    /// It does what it says with its value, or what is wrong with that.
    Value(fn(&mut RsyncOptions, &[u8]) -> Result<(), String>),
    /// As `Value`; `None` for its `--no-` form.
    Setting(fn(&mut RsyncOptions, Option<&[u8]>) -> Result<(), String>),
    /// It is so whether it is given or not.
    Always,
    /// It is taken and changes nothing.
    NoEffect,
    /// It is refused.
    Refused,
}

impl Row {
    const fn new(long: &'static str, handling: Handling, about: &'static str) -> Self {
        Self {
            long,
            short: None,
            aliases: &[],
            negatable: false,
            value: None,
            side: Side::Both,
            handling,
            about,
        }
    }

    /// An option that switches something on, or with `--no-` off.
    pub(crate) const fn switch(
        long: &'static str,
        set: fn(&mut RsyncOptions, bool),
        about: &'static str,
    ) -> Self {
        Self::new(long, Handling::Switch(set), about)
    }

    /// An option that has a value.
    pub(crate) const fn value(
        long: &'static str,
        value: &'static str,
        set: fn(&mut RsyncOptions, &[u8]) -> Result<(), String>,
        about: &'static str,
    ) -> Self {
        Self { value: Some(value), ..Self::new(long, Handling::Value(set), about) }
    }

    /// An option that has a value, or with `--no-` none.
    pub(crate) const fn setting(
        long: &'static str,
        value: &'static str,
        set: fn(&mut RsyncOptions, Option<&[u8]>) -> Result<(), String>,
        about: &'static str,
    ) -> Self {
        let row = Self::new(long, Handling::Setting(set), about);
        Self { value: Some(value), negatable: true, ..row }
    }

    /// An option that says what is so anyway.
    pub(crate) const fn always(long: &'static str, about: &'static str) -> Self {
        Self::new(long, Handling::Always, about)
    }

    /// An option that changes nothing here.
    pub(crate) const fn no_effect(long: &'static str, about: &'static str) -> Self {
        Self::new(long, Handling::NoEffect, about)
    }

    /// An option that is not taken.
    pub(crate) const fn refused(long: &'static str, about: &'static str) -> Self {
        Self::new(long, Handling::Refused, about)
    }

    pub(crate) const fn short(self, letter: char) -> Self {
        Self { short: Some(letter), ..self }
    }

    pub(crate) const fn or(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// rsync knows its `--no-` form.
    pub(crate) const fn no(self) -> Self {
        Self { negatable: true, ..self }
    }

    pub(crate) const fn with(self, value: &'static str) -> Self {
        Self { value: Some(value), ..self }
    }

    pub(crate) const fn local(self, why_not_remote: &'static str) -> Self {
        Self { side: Side::Local(why_not_remote), ..self }
    }

    pub(crate) const fn remote(self) -> Self {
        Self { side: Side::Remote("the sources are on this machine"), ..self }
    }

    /// Whether `long` is one of its names.
    pub(crate) fn is_called(&self, long: &str) -> bool {
        self.names().any(|name| name == long)
    }

    /// Its long names, without the dashes.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        let own = (!self.long.is_empty()).then_some(self.long);
        own.into_iter().chain(self.aliases.iter().copied())
    }

    /// Its name as it is written.
    #[cfg(test)]
    pub(crate) fn written(&self) -> String {
        match (self.long, self.short) {
            ("", Some(letter)) => format!("-{letter}"),
            (long, _) => format!("--{long}"),
        }
    }
}
