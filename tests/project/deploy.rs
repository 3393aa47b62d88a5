//! The files in `deploy/` and the compose file: what they expose of a machine, and what they
//! permit.

use std::fs;
use std::path::Path;
use std::process::Command;

use fixtures::need;

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
fn the_unit_for_one_of_several_hosts_differs_only_in_what_belongs_to_its_host() {
    let [one, each] = ["backup_manager", "backup_manager@"]
        .map(|name| text(&format!("deploy/systemd/{name}.service")));
    let (one, each) = (lines(&one), lines(&each));
    let differs: Vec<_> = each.iter().filter(|line| !one.contains(line)).collect();
    assert_eq!(
        differs,
        [
            &"Description=Snapshot backup of %i",
            &"Environment=CONFIG_FILE=/etc/backup_manager/%i.toml BACKUPS_DIR=/backups BACKUP_NAME_PREFIX=%i",
            &"RuntimeDirectory=backup_manager/%i",
            &"Environment=TMPDIR=/run/backup_manager/%i",
        ]
    );
    assert_eq!(one.len(), each.len());
    assert!(one.contains(&"SuccessExitStatus=143"), "a run that its window ends has not failed");
    need!(need::tool("systemd-analyze"));
    assert_valid(&["backup_manager@.service", "backup_manager@.timer"], "backup_manager@");
}

#[test]
fn the_page_is_served_by_a_user_of_its_own_who_only_reads() {
    let unit = text("deploy/systemd/backup_manager-web.service");
    for line in [
        "DynamicUser=yes",
        "AmbientCapabilities=CAP_DAC_READ_SEARCH",
        "CapabilityBoundingSet=CAP_DAC_READ_SEARCH",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
    ] {
        assert!(lines(&unit).contains(&line), "{line}");
    }
    assert!(!unit.contains("ReadWritePaths"), "it writes nothing");
    need!(need::tool("systemd-analyze"));
    assert_valid(&["backup_manager-web.service"], "backup_manager-web");
}

/// systemd finds nothing wrong in these units.
fn assert_valid(units: &[&str], names: &str) {
    let done = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(units.iter().map(|unit| format!("deploy/systemd/{unit}")))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("systemd-analyze");
    let said = String::from_utf8_lossy(&done.stderr);
    // The program may not be installed here.
    let wrong = |line: &&str| line.contains(names) && !line.contains("/usr/local/bin");
    assert_eq!(said.lines().filter(wrong).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn several_hosts_in_kubernetes_come_from_one_list() {
    let list = "deploy/kubernetes/hosts/config.toml";
    let hosts = text(list);
    let prefixes: Vec<_> = lines(&hosts)
        .into_iter()
        .filter_map(|line| line.strip_prefix("BACKUP_NAME_PREFIX = "))
        .collect();
    assert!(prefixes.len() > 1, "{prefixes:?}");
    // The program reads it without a mistake.
    let status = Command::new(env!("CARGO_BIN_EXE_backup_manager"))
        .env_clear()
        .args(["status", "--config", list])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(status.status.success(), "{said}{}", String::from_utf8_lossy(&status.stderr));
    for prefix in &prefixes {
        assert!(said.contains(prefix.trim_matches('"')), "{prefix}: {said}");
    }
    let job = text("deploy/kubernetes/hosts/backup_manager.yaml");
    let image = format!("image: ism1/backup_manager:{}", env!("CARGO_PKG_VERSION"));
    assert!(lines(&job).contains(&image.as_str()), "{image}");
    for host in lines(&hosts).into_iter().filter_map(|line| line.strip_prefix("REMOTE_SRC_HOST = "))
    {
        assert!(!job.contains(host.trim_matches('"')), "{host} is in the list only");
    }
    need!(need::tool("kubectl"));
    let made = Command::new("kubectl")
        .args(["kustomize", "deploy/kubernetes/hosts"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("kubectl");
    let made = String::from_utf8_lossy(&made.stdout);
    for line in hosts.lines().filter(|line| !line.is_empty()) {
        assert!(lines(&made).contains(&line.trim()) || line.starts_with('#'), "{line}: {made}");
    }
    // The name of the list has a hash, also where the pod mounts it.
    let names: Vec<_> = lines(&made)
        .into_iter()
        .filter_map(|line| line.strip_prefix("name: backup-manager-hosts-"))
        .collect();
    assert!(names.len() == 2 && names[0] == names[1], "{made}");
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
