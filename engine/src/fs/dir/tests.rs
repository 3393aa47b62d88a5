use super::*;
use crate::entry::c_name;

#[test]
fn no_name_leads_out_of_a_held_folder() {
    let top = tempfile::tempdir().expect("a folder");
    let (inside, outside) = (top.path().join("inside"), top.path().join("outside"));
    std::fs::create_dir(&inside).expect("a folder");
    std::fs::write(&outside, "kept").expect("a file");
    let dir = Dir::at(&inside).expect("it is there");
    dir.create_file(c"own", 0o644).expect("a single name");
    let absolute = c_name(outside.as_os_str().as_encoded_bytes()).expect("no NUL");
    for name in [c"..", c"../outside", c"./own", c"own/", &absolute] {
        assert!(dir.stat(name).is_err(), "{name:?}");
        assert!(dir.child(name).is_err(), "{name:?}");
        assert!(dir.open_file(name).is_err(), "{name:?}");
        assert!(dir.unlink(name).is_err(), "{name:?}");
        assert!(dir.make_folder(name, 0o755).is_err(), "{name:?}");
        assert!(dir.link(name, &dir, c"own").is_err(), "{name:?}");
        assert!(dir.link(c"other", &dir, name).is_err(), "{name:?}");
        assert!(dir.rename_over(c"own", name).is_err(), "{name:?}");
        assert!(dir.rename_over(name, c"own").is_err(), "{name:?}");
    }
    assert_eq!(std::fs::read_to_string(&outside).expect("it is there"), "kept");
}
