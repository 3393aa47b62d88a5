//! The release workflow: it is YAML, and what it calls exists.

use std::fs;
use std::path::Path;
use std::process::Command;

use fixtures::need;
use fixtures::need::Missing;
use fixtures::run::Run;

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(path).expect("a file of the checkout")
}

const WORKFLOW: &str = ".github/workflows/release.yml";
const PYTHON: &str = "/usr/bin/python3";

/// Requires Debian's Python with its YAML parser.
fn yaml() -> Result<(), Missing> {
    let import = Command::new(PYTHON).args(["-c", "import yaml"]).output();
    let is_there = import.is_ok_and(|import| import.status.success());
    if is_there { Ok(()) } else { Err(Missing("needs python3-yaml".to_owned())) }
}

#[test]
fn the_release_workflow_is_yaml_with_steps() {
    need!(yaml());
    let script = "import sys, yaml\n\
        jobs = yaml.safe_load(open(sys.argv[1]))['jobs']\n\
        print(*[step.get('run') or step['uses'] for job in jobs.values() for step in job['steps']], sep='\\n')";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(WORKFLOW);
    let done = Run::new(PYTHON).arg("-c").arg(script).arg(path).expect(0);
    for step in ["make dist", "gh release create", "docker buildx build"] {
        assert!(done.stdout.contains(step), "{step}: {}", done.stdout);
    }
}

#[test]
fn the_release_workflow_calls_targets_that_exist_and_installs_what_they_need() {
    let (workflow, makefile) = (text(WORKFLOW), text("Makefile"));
    let called = workflow.split("make ").skip(1).filter_map(|rest| rest.split_whitespace().next());
    let targets: Vec<_> = called.collect();
    assert_eq!(targets, ["dist", "helpers"]);
    assert!(targets.iter().all(|target| makefile.contains(&format!("\n{target}:"))));
    // The packages that deploy/packages/tools.sh names for aarch64.
    for package in ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "dpkg", "rpm"] {
        assert!(workflow.contains(package), "{package}");
    }
    let image = "image: ism1/backup_manager";
    assert!(text("docker-compose.yml").contains(image), "the image that the workflow pushes");
}
