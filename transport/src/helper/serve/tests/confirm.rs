//! Folders that are confirmed instead of listed.

use super::*;

/// The digest of what the far end lists in `folder`, and its subfolders.
fn digest(near: &mut Near, terms: &Terms, folder: u64, below: &[(&str, Digest)]) -> Digest {
    let mut digest = FolderDigest::new(terms.key);
    for (name, meta) in near.list(folder).unwrap() {
        let inside = below.iter().find(|(inside, _)| inside.as_bytes() == name);
        let entry = Entry { name: std::ffi::CString::new(name).unwrap(), meta, extra: None };
        digest.add((&entry).into(), inside.map(|(_, digest)| digest));
    }
    digest.finish()
}

fn confirm(near: &mut Near, folder: u64, digest: Digest, below: bool, entries: u64) -> Answer {
    let expected = SentExpected { digest, below, entries, chain: Vec::new() };
    near.ask(&Request::Confirm { folder, expected });
    let (_, answer, _) = near.next();
    if matches!(answer, Answer::Batch(_)) {
        assert!(matches!(near.next(), (_, Answer::Listed(Ok(())), _)));
    }
    answer
}

#[test]
fn of_a_chain_of_folders_as_many_are_confirmed_as_are_equal() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    let paths = ["", "a", "a/b", "a/b/c"];
    fs::create_dir_all(top.join("a/b/c/d")).unwrap();
    fs::write(top.join("a/b/c/file"), "").unwrap();
    let mut near = Near::greeted(&[]);
    for (number, path) in paths.iter().enumerate() {
        near.root(number as u64, &top.join(path)).unwrap();
    }
    let terms = Terms { key: DigestKey::new([4; 32]), since: None, links: true };
    near.send(CONNECTION, &Request::Terms((&terms).into()));
    let own: Vec<_> = (0..4).map(|folder| digest(&mut near, &terms, folder, &[])).collect();
    let mut confirmed = |digest: Digest, chain: &[Digest]| {
        let chain = chain.to_vec();
        let sent = SentExpected { digest, below: false, entries: 1, chain: chain.clone() };
        near.ask(&Request::Confirm { folder: 0, expected: sent });
        let (_, Answer::Same(same), _) = near.next() else { panic!("not the same") };
        let expected = Expected { terms, digest, below: false, entries: 1, folders: 1, chain };
        same.confirmed(&expected).unwrap().folders.iter().map(|id| id.ino).collect::<Vec<_>>()
    };
    let ids: Vec<_> =
        paths[1..].iter().map(|path| fs::metadata(top.join(path)).unwrap().ino()).collect();
    assert_eq!(confirmed(own[0], &[]), ids[..1]);
    assert_eq!(confirmed(own[0], &own[1..3]), ids[..3]);
    // The last one has two entries.
    assert_eq!(confirmed(own[0], &own[1..]), ids[..3]);
    assert_eq!(confirmed(own[0], &[own[1], [7; 16], own[2]]), ids[..2]);
    assert_eq!(confirmed(own[0], &[[7; 16], own[2]]), ids[..1]);
}

#[test]
fn a_folder_is_confirmed_only_as_long_as_nothing_in_it_changes() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    fs::write(top.join("file"), "").unwrap();
    fs::write(top.join("sub/two names"), "").unwrap();
    fs::hard_link(top.join("sub/two names"), top.join("sub/deep/other name")).unwrap();
    let mut near = Near::greeted(&[]);
    for (number, path) in ["", "sub", "sub/deep"].iter().enumerate() {
        near.root(number as u64, &top.join(path)).unwrap();
    }
    let key = DigestKey::new([4; 32]);
    let terms = Terms { key, since: None, links: true };
    near.send(CONNECTION, &Request::Terms((&terms).into()));
    let inode = |path: &str| {
        let found = fs::metadata(top.join(path)).unwrap();
        (found.dev(), found.ino())
    };
    // One folder: its subfolder, and no entry with several names.
    let own = digest(&mut near, &terms, 0, &[]);
    let Answer::Same(same) = confirm(&mut near, 0, own, false, 2) else { panic!() };
    let expected = |folders, digest, below, entries| Expected {
        terms,
        digest,
        below,
        entries,
        folders,
        chain: Vec::new(),
    };
    let known = same.clone().confirmed(&expected(1, own, false, 2)).unwrap();
    assert_eq!(known.folders.iter().map(|id| (id.dev, id.ino)).collect::<Vec<_>>(), [inode("sub")]);
    assert_eq!(known.several, []);
    assert!(same.clone().confirmed(&expected(2, own, false, 2)).is_err());
    assert!(same.confirmed(&expected(0, own, false, 2)).is_err());
    // The whole tree.
    let deep = digest(&mut near, &terms, 2, &[]);
    let sub = digest(&mut near, &terms, 1, &[("deep", deep)]);
    let all = digest(&mut near, &terms, 0, &[("sub", sub)]);
    let Answer::Same(same) = confirm(&mut near, 0, all, true, 5) else { panic!() };
    let known = same.confirmed(&expected(2, all, true, 5)).unwrap();
    let ids = known.folders.iter().map(|id| (id.dev, id.ino));
    assert_eq!(ids.collect::<Vec<_>>(), [inode("sub"), inode("sub/deep")]);
    let several =
        known.several.iter().map(|one| (one.folder, one.name.to_str().unwrap(), one.links));
    let named = [(1, "two names", 2), (2, "other name", 2)];
    assert_eq!(several.collect::<Vec<_>>(), named);
    // What is not asked for, or not as expected.
    assert!(matches!(confirm(&mut near, 0, own, true, 5), Answer::Differs));
    assert!(matches!(confirm(&mut near, 0, all, true, 4), Answer::Differs));
    assert!(matches!(confirm(&mut near, 0, all, false, 5), Answer::Batch(_)));
    fs::set_permissions(top.join("sub/deep/other name"), fs::Permissions::from_mode(0o600))
        .unwrap();
    assert!(matches!(confirm(&mut near, 0, all, true, 5), Answer::Differs));
    assert!(matches!(confirm(&mut near, 0, own, false, 2), Answer::Same(_)));
    // A file that may have changed since then.
    let since = Some(Time { secs: 5, nanos: 5 });
    near.send(CONNECTION, &Request::Terms((&Terms { since, ..terms }).into()));
    assert!(matches!(confirm(&mut near, 0, own, false, 2), Answer::Batch(_)));
    near.send(CONNECTION, &Request::Terms((&terms).into()));
    fs::remove_file(top.join("file")).unwrap();
    assert!(matches!(confirm(&mut near, 0, own, false, 2), Answer::Batch(_)));
    near.end().unwrap();
}

#[test]
fn a_large_folder_is_confirmed_and_listed_if_it_differs() {
    let (_scratch, mut near) = large_folder();
    let terms = Terms { key: DigestKey::new([4; 32]), since: None, links: true };
    near.send(CONNECTION, &Request::Terms((&terms).into()));
    let all = digest(&mut near, &terms, 1, &[]);
    assert!(matches!(confirm(&mut near, 1, all, false, 3000), Answer::Same(_)));
    let expected = SentExpected { digest: [0; 16], below: false, entries: 3000, chain: Vec::new() };
    near.ask(&Request::Confirm { folder: 1, expected });
    let mut listed = 0;
    loop {
        match near.next() {
            (_, Answer::Batch(entries), _) => listed += entries.len(),
            (_, Answer::Listed(Ok(())), _) => break,
            (_, other, _) => panic!("{other:?}"),
        }
    }
    assert_eq!(listed, 3000);
    near.end().unwrap();
}
