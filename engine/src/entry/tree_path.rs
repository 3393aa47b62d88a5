//! The path of a folder as a chain of names, which remains when its handles are closed.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::entry::c_name;

/// A folder of the snapshot.
#[derive(Debug)]
pub(crate) struct TreePath {
    parent: Option<Arc<TreePath>>,
    name: CString,
    /// The path on the source, if the layout defines it here. Below, names are appended.
    origin: Option<PathBuf>,
}

impl TreePath {
    /// The top folder of the snapshot.
    pub(crate) fn top(origin: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self { parent: None, name: CString::default(), origin })
    }

    /// The folder `name` in this one.
    pub(crate) fn child(self: &Arc<Self>, name: &CStr, origin: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self { parent: Some(Arc::clone(self)), name: name.to_owned(), origin })
    }

    /// The folders from the top of the snapshot down to this one.
    pub(crate) fn chain(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let mut chain = Vec::new();
        let mut place = Some(self);
        while let Some(here) = place {
            chain.push(Arc::clone(here));
            place = here.parent.as_ref();
        }
        chain.reverse();
        chain
    }

    /// The parent folder; `None` for the top.
    pub(crate) fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    /// The number of folders above it, up to the top of the snapshot.
    pub(crate) fn depth(&self) -> usize {
        std::iter::successors(self.parent.as_ref(), |place| place.parent.as_ref()).count()
    }

    /// Its name; empty at the top.
    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// The path on the source that the layout defines for it, if any.
    pub(crate) fn origin(&self) -> Option<&PathBuf> {
        self.origin.as_ref()
    }

    /// The path inside the snapshot, without a slash at either end; empty for the top.
    pub(crate) fn inside(self: &Arc<Self>) -> Vec<u8> {
        let chain = self.chain();
        let names: Vec<&[u8]> = chain[1..].iter().map(|place| place.name.as_bytes()).collect();
        names.join(&b'/')
    }

    /// The path of `name` in this folder, inside the snapshot.
    pub(crate) fn inside_of(self: &Arc<Self>, name: &CStr) -> Vec<u8> {
        let mut path = self.inside();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        path
    }

    /// The path of `name` in this folder, on the source.
    pub(crate) fn source_of(self: &Arc<Self>, name: &CStr) -> Vec<u8> {
        let mut path = Vec::new();
        for place in self.chain() {
            match &place.origin {
                Some(origin) => path = origin.as_os_str().as_bytes().to_vec(),
                None => append(&mut path, place.name.as_bytes()),
            }
        }
        append(&mut path, name.to_bytes());
        path
    }
}

impl Drop for TreePath {
    // Dropping a chain of 100,000 folders recursively would overflow the stack.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut place) = next.and_then(Arc::into_inner) {
            next = place.parent.take();
        }
    }
}

fn append(path: &mut Vec<u8>, name: &[u8]) {
    if name.is_empty() {
        return;
    }
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// Converts a path inside the snapshot to a chain of names.
pub(crate) fn place_of(inside: &[u8]) -> Arc<TreePath> {
    let names = inside.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    names.fold(TreePath::top(None), |place, name| match c_name(name) {
        Ok(name) => place.child(&name, None),
        Err(_) => place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_source_and_inside_the_snapshot() {
        let top = TreePath::top(None);
        let home = top.child(c"home", Some("/home".into()));
        let user = home.child(c"u", None);
        assert_eq!(user.inside_of(c"x"), b"home/u/x");
        assert_eq!(user.source_of(c"x"), b"/home/u/x");
        assert_eq!(top.inside(), b"");
        let root = TreePath::top(Some("/".into()));
        assert_eq!(root.child(c"etc", None).source_of(c"x"), b"/etc/x");
    }

    #[test]
    fn a_very_deep_chain_is_dropped() {
        let mut place = TreePath::top(None);
        for _ in 0..300_000 {
            place = place.child(c"d", None);
        }
    }
}
