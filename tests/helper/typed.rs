//! `serve` that somebody types, and command lines that it cannot serve.

use fixtures::run::Run;

use crate::BIN;

#[test]
fn serve_on_a_terminal_says_what_it_is_for() {
    let done = Run::new(BIN).arg("serve").env("TERM", "xterm").on_a_terminal().wait();
    done.assert_code(2).assert_says("there is nothing to type here");
}

#[test]
fn a_root_that_cannot_be_served_is_named_with_what_to_do() {
    for (root, why) in [
        ("home", "--root home: it must be an absolute path; write it from / on"),
        ("/nonexistent/folder", "create the folder, or correct the path"),
    ] {
        let done = Run::new(BIN).args(&["serve", "--root", root]).expect(1);
        done.assert_says(why);
    }
}
