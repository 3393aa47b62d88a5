//! Changes modes and owners of entries: `--chmod`, `--usermap`, `--groupmap`, `--chown`. Pure.

use crate::entry::{Kind, Meta};

/// The permission bits of a mode.
const BITS: u32 = 0o7777;

/// Changes of a mode, applied in the given order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chmod {
    changes: Vec<ModeChange>,
    /// The bits that `+x` without a class does not set: the umask of the user who gave the option.
    umask: u32,
}

/// A single change of a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ModeChange {
    only: Option<AppliesTo>,
    /// Classes, one bit each: 0o100 user, 0o010 group, 0o001 others.
    classes: u32,
    action: ModeOperation,
    what: ModeBits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AppliesTo {
    Folders,
    Others,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModeOperation {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModeBits {
    /// All permission bits.
    Octal(u32),
    /// `bits` of the classes, and `special` ones (setuid, setgid, sticky). `cleared` are the
    /// special bits that `=` clears. `if_any` (`X`): execute permission only where the mode already
    /// has some.
    Bits { bits: u32, special: u32, cleared: u32, if_any: bool },
    /// The bits of another class; the value is that class's shift.
    Of(u32),
}

/// A `--chmod` argument that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a mode change; write for example Du=rwx,Fgo-w or D755,F644")]
pub struct BadChmod(String);

impl Chmod {
    /// No changes. `umask` applies to later changes that name no class.
    #[must_use]
    pub fn with_umask(umask: u32) -> Self {
        Self { changes: Vec::new(), umask }
    }

    /// Parses comma-separated changes in the syntax of rsync(1), `--chmod`, and appends them.
    ///
    /// # Errors
    /// The first change that cannot be parsed; then nothing is appended.
    pub fn add(&mut self, text: &str) -> Result<(), BadChmod> {
        let read = |item: &str| self.read(item).ok_or_else(|| BadChmod(item.to_owned()));
        let changes: Vec<Vec<ModeChange>> = text.split(',').map(read).collect::<Result<_, _>>()?;
        self.changes.extend(changes.into_iter().flatten());
        Ok(())
    }

    fn read(&self, item: &str) -> Option<Vec<ModeChange>> {
        let (only, rest) = match (item.strip_prefix('D'), item.strip_prefix('F')) {
            (Some(rest), _) => (Some(AppliesTo::Folders), rest),
            (_, Some(rest)) => (Some(AppliesTo::Others), rest),
            _ => (None, item),
        };
        if rest.starts_with(|first: char| first.is_digit(8)) {
            let mode = u32::from_str_radix(rest, 8).ok().filter(|mode| *mode <= BITS)?;
            let what = ModeBits::Octal(mode);
            return Some(vec![ModeChange {
                only,
                classes: 0o111,
                action: ModeOperation::Set,
                what,
            }]);
        }
        let names = rest.len() - rest.trim_start_matches(['u', 'g', 'o', 'a']).len();
        let (who, rest) = rest.split_at(names);
        let named = who.chars().fold(0, |classes, letter| classes | class(letter));
        let mut letters = rest.chars();
        let action = match letters.next()? {
            '+' => ModeOperation::Add,
            '-' => ModeOperation::Remove,
            '=' => ModeOperation::Set,
            _ => return None,
        };
        let classes = if named == 0 { 0o111 } else { named };
        // `a` means all classes, but not their special bits.
        let set_ids = who.chars().filter(|letter| *letter != 'a');
        let set_ids = set_ids.fold(0, |bits, letter| bits | set_id_of(class(letter)));
        if let "u" | "g" | "o" = letters.as_str() {
            let shift = class(letters.next()?).trailing_zeros();
            return Some(vec![ModeChange { only, classes, action, what: ModeBits::Of(shift) }]);
        }
        let (mut each, mut special, mut if_any) = (0, 0, false);
        for letter in letters {
            match letter {
                'r' => each |= 4,
                'w' => each |= 2,
                'x' => each |= 1,
                'X' => (each, if_any) = (each | 1, true),
                's' => special |= if set_ids == 0 { 0o4000 } else { set_ids },
                't' => special |= 0o1000,
                _ => return None,
            }
        }
        let withheld = if named == 0 { self.umask } else { 0 };
        let cleared = if special == 0 { 0 } else { set_ids };
        let what = ModeBits::Bits { bits: (classes * each) & !withheld, special, cleared, if_any };
        Some(vec![ModeChange { only, classes, action, what }])
    }

    /// The mode to store for an entry whose mode is `mode`.
    #[must_use]
    pub fn apply(&self, kind: Kind, mode: u32) -> u32 {
        let executable = mode & 0o111 != 0 || kind == Kind::Folder;
        self.changes.iter().fold(mode, |mode, change| match change.only {
            Some(AppliesTo::Folders) if kind != Kind::Folder => mode,
            Some(AppliesTo::Others) if kind == Kind::Folder => mode,
            _ => change.apply(mode, executable),
        })
    }
}

impl ModeChange {
    fn apply(self, mode: u32, executable: bool) -> u32 {
        // `=` clears the bits of its classes, and their special bits only when it sets special
        // bits.
        let (bits, cleared) = match self.what {
            ModeBits::Octal(bits) => (bits, BITS),
            ModeBits::Bits { bits, special, cleared, if_any } => {
                let bits = if if_any && !executable { bits & !0o111 } else { bits };
                (bits | special, (self.classes * 7) | cleared)
            }
            ModeBits::Of(shift) => {
                let sticky = if self.classes & 1 == 0 { 0 } else { 0o1000 };
                let special = set_id_of(self.classes) | sticky;
                (self.classes * ((mode >> shift) & 7), (self.classes * 7) | special)
            }
        };
        match self.action {
            ModeOperation::Add => mode | bits,
            ModeOperation::Remove => mode & !bits,
            ModeOperation::Set => mode & !cleared | bits,
        }
    }
}

fn class(letter: char) -> u32 {
    match letter {
        'u' => 0o100,
        'g' => 0o010,
        'o' => 0o001,
        _ => 0o111,
    }
}

fn set_id_of(classes: u32) -> u32 {
    (if classes & 0o100 == 0 { 0 } else { 0o4000 })
        | (if classes & 0o010 == 0 { 0 } else { 0o2000 })
}

/// A set of user or group ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// From the first to the second, inclusive.
    Range(u32, u32),
    /// The listed ids.
    OneOf(Vec<u32>),
    /// All ids except the listed ones.
    NoneOf(Vec<u32>),
}

impl Ids {
    fn contain(&self, id: u32) -> bool {
        match self {
            Self::Range(low, high) => (*low..=*high).contains(&id),
            Self::OneOf(ids) => ids.contains(&id),
            Self::NoneOf(ids) => !ids.contains(&id),
        }
    }
}

/// A mapping of ids. The first match applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping(Vec<(Ids, u32)>);

impl Mapping {
    /// Maps `from` to `to`, unless an earlier mapping matches.
    pub fn add(&mut self, from: Ids, to: u32) {
        self.0.push((from, to));
    }

    /// The id that replaces `id`.
    #[must_use]
    pub fn map(&self, id: u32) -> u32 {
        self.0.iter().find(|(from, _)| from.contain(id)).map_or(id, |(_, to)| *to)
    }
}

/// The changes that a job applies to the metadata of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataMap {
    /// Changes of modes.
    pub chmod: Chmod,
    /// Changes of owners.
    pub users: Option<Mapping>,
    /// Changes of groups.
    pub groups: Option<Mapping>,
}

impl MetadataMap {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.chmod.changes.is_empty() && self.users.is_none() && self.groups.is_none()
    }

    /// Applies the changes to the metadata of one entry.
    pub fn apply(&self, meta: &mut Meta) {
        // A symlink has no mode of its own (symlink(7)).
        if meta.kind != Kind::Symlink {
            meta.mode = self.chmod.apply(meta.kind, meta.mode);
        }
        if let Some(users) = &self.users {
            meta.uid = users.map(meta.uid);
        }
        if let Some(groups) = &self.groups {
            meta.gid = groups.map(meta.gid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, kind: Kind, mode: u32) -> u32 {
        let mut chmod = Chmod::with_umask(0o022);
        chmod.add(text).unwrap();
        chmod.apply(kind, mode)
    }

    #[test]
    fn modes_change_as_rsyncs_page_says() {
        for (text, kind, mode, expected) in [
            ("D2775,F664", Kind::Folder, 0o700, 0o2775),
            ("D2775,F664", Kind::File, 0o4755, 0o664),
            ("Dg+s,ug+w,Fo-w,+X", Kind::File, 0o646, 0o664),
            ("Dg+s,ug+w,Fo-w,+X", Kind::File, 0o546, 0o775),
            ("Dg+s,ug+w,Fo-w,+X", Kind::Folder, 0o500, 0o2731),
            ("u=rwX,go=", Kind::File, 0o4644, 0o4600),
            ("+w", Kind::File, 0o444, 0o644),
            ("a+w", Kind::File, 0o444, 0o666),
            ("g=u", Kind::File, 0o2640, 0o660),
            ("g-o", Kind::File, 0o664, 0o624),
            ("u=s", Kind::File, 0o777, 0o4077),
            ("=t", Kind::Folder, 0o777, 0o1000),
            ("600", Kind::Fifo, 0o777, 0o600),
        ] {
            let found = changed(text, kind, mode);
            assert_eq!(found, expected, "{text} {kind:?} {mode:o} -> {found:o} not {expected:o}");
        }
    }

    #[test]
    fn text_that_is_no_change_of_modes_is_refused() {
        for text in ["", "u", "u+q", "8", "77777", "u+r,,g+r", "ugr", "D", "u=rg", "+-r", "z=r"] {
            assert!(Chmod::default().add(text).is_err(), "{text}");
        }
    }
}
