//! The files in `deploy/` and the compose file: what they expose of a machine, and what they
//! permit.

use std::fs;
use std::path::Path;

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .expect("a file of this checkout")
}

/// The lines of a unit or YAML file without comments.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn the_unit_that_runs_backups_hides_nothing_of_a_source() {
    let unit = text("deploy/systemd/backup_manager.service");
    // systemd.exec(5): each of these shows an empty folder, or none.
    for hides in [
        "PrivateTmp",
        "ProtectHome",
        "ProtectKernelModules",
        "PrivateDevices",
        "PrivateMounts",
        "InaccessiblePaths",
        "TemporaryFileSystem",
        "RootDirectory",
        "ProtectProc",
        "PrivateUsers",
    ] {
        let found: Vec<_> =
            lines(&unit).into_iter().filter(|line| line.starts_with(hides)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
    for needed in ["ProtectSystem=strict", "NoNewPrivileges=yes", "RuntimeDirectory=backup_manager"]
    {
        assert!(lines(&unit).contains(&needed), "{needed}");
    }
}

#[test]
fn snapshots_are_verified_by_default_at_idle_priority() {
    let unit = text("deploy/systemd/backup_manager-verify.service");
    let unit = lines(&unit);
    for line in
        ["ExecStart=/usr/local/bin/backup_manager verify --rolling 30d", "IOSchedulingClass=idle"]
    {
        assert!(unit.contains(&line), "{line}");
    }
    for crontab in ["src/daemon/first_crontab", "deploy/cron/backup_manager"] {
        let text = text(crontab);
        let verify = lines(&text).into_iter().find(|line| line.contains("verify --rolling 30d"));
        assert!(verify.is_some_and(|line| line.contains("nice -n 19 ionice -c 3 ")), "{crontab}");
    }
}

#[test]
fn containers_get_what_they_need_and_no_more() {
    let compose = text("docker-compose.yml");
    for line in [
        "cap_drop: [ALL]",
        "security_opt: [\"no-new-privileges:true\"]",
        "- BACKUPS_MODE=0700",
        "- /:/host_fs:ro",
        "- /host_fs/run",
    ] {
        assert!(lines(&compose).contains(&line), "{line}");
    }
    let job = text("deploy/kubernetes/backup_manager.yaml");
    let image = format!("image: ism1/backup_manager:{}", env!("CARGO_PKG_VERSION"));
    assert!(lines(&job).contains(&image.as_str()), "{image}");
}
