use std::fs::{create_dir_all, set_permissions, write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use crate::fs::dir::resolve::{Resolved, untrusted};

fn top() -> tempfile::TempDir {
    let top = tempfile::tempdir().unwrap();
    create_dir_all(top.path().join("a/b/c")).unwrap();
    top
}

/// The path, relative to the top, to which `path` resolves, or the symlink that is refused.
fn led(top: &tempfile::TempDir, path: &str) -> String {
    let real = top.path().canonicalize().unwrap();
    let below = |path: &Path| {
        path.strip_prefix(&real)
            .map_or_else(|_| path.to_owned(), Path::to_owned)
            .display()
            .to_string()
    };
    match Resolved::at(&real.join(path)) {
        Ok(way) if way.missing.is_empty() => below(&way.real),
        Ok(way) => format!("{} missing {}", below(&way.real), way.missing.len()),
        Err(error) => match untrusted(&error) {
            Some(link) => format!("{} refused for {}", below(&link.link), below(&link.at)),
            None => format!("{:?}", error.kind()),
        },
    }
}

#[test]
fn a_path_resolves_as_in_the_kernel() {
    let top = top();
    let at = |path: &str| top.path().join(path);
    write(at("file"), "").unwrap();
    symlink("b/c", at("a/relative")).unwrap();
    symlink(at("a/b"), at("absolute")).unwrap();
    symlink("../absolute/../b/./c/", at("a/long")).unwrap();
    symlink("none", at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    for (path, expected) in [
        ("a/b/c", "a/b/c"),
        ("a/./b//c/", "a/b/c"),
        ("a/b/../b", "a/b"),
        ("a/relative", "a/b/c"),
        ("a/relative/.", "a/b/c"),
        ("absolute/c", "a/b/c"),
        ("a/long", "a/b/c"),
        ("file", "file"),
        ("file/x", "NotADirectory"),
        ("a/new/er", "a missing 2"),
        ("a/new/../x", "NotFound"),
        ("absolute/new", "a/b missing 1"),
        ("dangling", "NotFound"),
        ("loop", "FilesystemLoop"),
    ] {
        assert_eq!(led(&top, path), expected, "{path}");
    }
    assert!(Resolved::at(&at("absolute")).unwrap().is_link);
    assert!(!Resolved::at(&at("absolute/c")).unwrap().is_link);
    let here = Resolved::at(Path::new(".")).unwrap();
    let meta = std::fs::metadata(".").unwrap();
    assert_eq!(here.node.meta().unwrap().id.map(|id| id.ino), Some(meta.ino()));
}

#[test]
fn a_symlink_is_followed_only_where_no_other_user_can_have_created_it() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let top = top();
    let at = |path: &str| top.path().join(path);
    let mode =
        |path: &str, mode| set_permissions(at(path), PermissionsExt::from_mode(mode)).unwrap();
    create_dir_all(at("home/u/own")).unwrap();
    create_dir_all(at("tmp/shared")).unwrap();
    let links = [
        "link",
        "users",
        "home/u/users",
        "home/u/roots",
        "home/u/own/roots",
        "tmp/users",
        "tmp/roots",
        "tmp/shared/roots",
    ];
    for link in links {
        symlink(top.path().canonicalize().unwrap().join("a/b"), at(link)).unwrap();
    }
    for path in ["home/u", "users", "home/u/users", "tmp/users"] {
        lchown(at(path), Some(1000), Some(1000)).unwrap();
    }
    mode("tmp", 0o1777);
    mode("tmp/shared", 0o777);
    for (path, expected) in [
        ("link/c", "a/b/c"),
        ("home/u/own", "home/u/own"),
        ("home/u/users", "home/u/users refused for home/u/users"),
        ("home/u/roots", "home/u/roots refused for home/u"),
        ("home/u/own/roots/c", "home/u/own/roots refused for home/u"),
        ("users", "users refused for users"),
        ("tmp/users", "tmp/users refused for tmp/users"),
        ("tmp/roots", "a/b"),
        ("tmp/shared/roots", "tmp/shared/roots refused for tmp/shared"),
    ] {
        assert_eq!(led(&top, path), expected, "{path}");
    }
    mode("tmp/shared", 0o775);
    assert_eq!(led(&top, "tmp/shared/roots"), "a/b");
    lchown(at("tmp/shared"), None, Some(1000)).unwrap();
    assert_eq!(led(&top, "tmp/shared/roots"), "tmp/shared/roots refused for tmp/shared");
}
