//! The completion scripts of shells.

use fixtures::run::Run;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

#[test]
fn shells_complete_what_the_help_shows_and_nothing_else() {
    for (shell, starts) in
        [("bash", "--"), ("zsh", "'--"), ("fish", "-l "), ("elvish", "--"), ("powershell", "'--")]
    {
        let script = Run::new(BIN).arg("completions").arg(shell).expect(0).stdout;
        for shown in ["dry-run", "heal-from", "backups-dir", "version"] {
            assert!(script.contains(&format!("{starts}{shown}")), "{shell} completes {shown}");
        }
        for verb in ["restore", "own-hash", "sync-file-system", "try-hosts"] {
            assert_eq!(script.contains(verb), verb == "restore", "{shell}: {verb}");
        }
        assert!(!script.contains(&format!("{starts}part")), "{shell} completes --part");
    }
}
