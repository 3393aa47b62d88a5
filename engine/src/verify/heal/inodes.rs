//! Heals damaged inodes: a new inode replaces each under all of its names, in all snapshots.

use std::collections::HashMap;

use crate::snapshot::name::{SnapshotName, SnapshotState};
use crate::verify::heal::side::{NameIn, Recorded, borne, split};
use crate::verify::heal::{Heal, Healing};
use crate::verify::inode_names;
use crate::verify::outcome::Damage;

/// Names of one inode that were recorded alike.
struct Alike {
    recorded: Recorded,
    names: Vec<NameIn>,
}

impl Heal<'_> {
    /// Heals the inodes of `damaged`. `all` are the complete and incomplete snapshots of the job.
    pub(super) fn inodes(&mut self, all: &[SnapshotName], damaged: &[Damage]) {
        let mut by_number: HashMap<u64, Damage> = HashMap::new();
        for damage in damaged {
            for (snapshot, path) in &damage.names {
                let ours = self.our(snapshot).ok();
                let meta = ours.and_then(|ours| ours.on_disk(path).ok().flatten());
                if let Some(id) = meta.and_then(|meta| meta.id) {
                    let one = Damage { names: Vec::new(), ..damage.clone() };
                    by_number.entry(id.ino).or_insert(one);
                }
            }
        }
        // Names can have come and gone since the check, which had no lock.
        let mut groups = Vec::new();
        for damage in inode_names::of_all(self.ours.repository, all, by_number) {
            groups.extend(self.alike(damage.names));
        }
        self.look_for_twins(&groups);
        for Alike { recorded, names } in &groups {
            names.first().into_iter().for_each(|name| self.note_lacking(name, recorded));
        }
        for Alike { recorded, names } in groups {
            if self.context.stop.asked() {
                return;
            }
            self.replace(&recorded, names);
        }
    }

    /// Finds all names that the other side has for the inodes of `groups`: the side that is healed can have a good inode
    /// under one of them, for example after a healing that was killed.
    fn look_for_twins(&mut self, groups: &[Alike]) {
        if self.maker.is_none() {
            return;
        }
        let mut wanted: HashMap<u64, Damage> = HashMap::new();
        for first in groups.iter().filter_map(|group| group.names.first()) {
            if let Some(number) = self.number_there(first) {
                let none = Damage { what: String::new(), bytes: 0, names: Vec::new() };
                wanted.insert(number, none);
            }
        }
        let found = inode_names::by_number(self.other.repository, &self.history, wanted);
        self.names_there.extend(found.into_iter().map(|(number, found)| (number, found.names)));
    }

    /// The names of an inode by what was recorded for them.
    fn alike(&mut self, names: Vec<NameIn>) -> Vec<Alike> {
        let mut groups: Vec<Alike> = Vec::new();
        let (mut loose, mut borne_hash) = (Vec::new(), None);
        for name in names {
            let ours = self.our(&name.0);
            let recorded =
                ours.as_ref().ok().and_then(|ours| ours.recorded(&name.1).ok().flatten());
            match recorded {
                Some(recorded) => match groups.iter_mut().find(|one| one.recorded == recorded) {
                    Some(group) => group.names.push(name),
                    None => groups.push(Alike { recorded, names: vec![name] }),
                },
                None => {
                    let (parent, file_name) = split(&name.1);
                    let dir = ours.ok().and_then(|ours| ours.folder(&parent).ok());
                    borne_hash = borne_hash.or(dir.and_then(|dir| borne(&dir, &file_name).ok()));
                    loose.push(name);
                }
            }
        }
        if groups.is_empty() {
            let recorded = Recorded { meta: None, content: borne_hash.unwrap_or_default() };
            groups.push(Alike { recorded, names: Vec::new() });
        }
        // Names in incomplete snapshots, and in those without a manifest, belong to the same path elsewhere.
        for name in loose {
            let same =
                groups.iter().position(|one| one.names.iter().any(|(_, path)| *path == name.1));
            match same.or((groups.len() == 1).then_some(0)) {
                Some(number) => groups[number].names.push(name),
                None => self.left(vec![name], "nothing records what it held"),
            }
        }
        groups
    }

    /// Gives all of `names` one new inode that is what was recorded.
    pub(super) fn replace(&mut self, recorded: &Recorded, names: Vec<NameIn>) {
        let is_complete = |name: &NameIn| name.0.state == SnapshotState::Complete;
        let (complete, unsealed): (Vec<_>, Vec<_>) = names.into_iter().partition(is_complete);
        let Some(first) = complete.first().cloned() else { return };
        if self.is_good(&first, recorded) {
            for name in complete {
                let result = match self.maker {
                    Some(_) => Healing::Healed,
                    None => Healing::Would,
                };
                self.report(name, result);
            }
            return;
        }
        if let Some(why) = self.needed(&first, recorded) {
            return self.left(complete, &why);
        }
        let sources = complete.clone();
        let mut rest: Vec<NameIn> = complete;
        // The incomplete snapshot first: a run must not find the damaged inode there once the mark is gone.
        rest.extend(unsealed);
        let mut placed = Vec::new();
        let number = self.number_there(&first);
        let mut twin = self.twin(&sources, recorded, number);
        while !rest.is_empty() {
            let made = match twin
                .take()
                .map_or_else(|| self.copied_from_other(&sources, recorded), |twin| Ok(Some(twin)))
            {
                Ok(Some(made)) => made,
                Ok(None) => {
                    rest.retain(is_complete);
                    for name in rest {
                        self.report(name, Healing::Would);
                    }
                    return;
                }
                Err(why) => {
                    rest.retain(is_complete);
                    self.left(rest, &why);
                    break;
                }
            };
            let mut is_used_up = false;
            while let Some(name) = rest.pop() {
                match self.put(&made, &name, !rest.is_empty(), true) {
                    Ok(is_moved) => {
                        is_used_up = is_moved;
                        placed.push(name);
                    }
                    Err(why) if is_complete(&name) => self.left(vec![name], &why),
                    Err(why) => {
                        // The resumed run keeps what it finds there.
                        let why = format!("{} has it too, and there: {why}", name.0);
                        rest.retain(is_complete);
                        self.left(std::mem::take(&mut rest), &why);
                    }
                }
                if is_used_up {
                    break;
                }
            }
            if !is_used_up {
                self.drop_made(&made);
            }
        }
        if let (Some(number), Some(name)) = (number, placed.iter().find(|&name| is_complete(name)))
        {
            self.twins.insert(number, name.clone());
        }
        for name in placed.into_iter().filter(is_complete) {
            self.prove(name, recorded);
        }
    }

    /// Reports what was put in place, after reading it again under its name.
    pub(super) fn prove(&mut self, name: NameIn, recorded: &Recorded) {
        let result = match self.is_good(&name, recorded) {
            true => Healing::Healed,
            false => {
                Healing::Left("it was brought, but does not read as it was backed up".to_owned())
            }
        };
        self.report(name, result);
    }
}
