//! Decides which job starts next. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// What a job needs for itself alone while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The host of its sources; `None`: this machine.
    pub(crate) host: Option<String>,
    /// The rotating disks of its backups folder.
    pub(crate) disks: BTreeSet<String>,
}

impl Needs {
    fn excludes(&self, other: &Self) -> bool {
        self.host == other.host || !self.disks.is_disjoint(&other.disks)
    }
}

/// The position in `waiting` of the job that starts next beside those that run: the first one that needs nothing that
/// they have.
pub(crate) fn next(waiting: &[Needs], running: &[Needs], at_once: usize) -> Option<usize> {
    if running.len() >= at_once {
        return None;
    }
    waiting.iter().position(|job| !running.iter().any(|other| job.excludes(other)))
}

/// The disks that several of `jobs` need, each with the positions of these jobs.
pub(crate) fn shared_disks(jobs: &[Needs]) -> BTreeMap<&str, Vec<usize>> {
    let mut disks: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (position, job) in jobs.iter().enumerate() {
        for disk in &job.disks {
            disks.entry(disk).or_default().push(position);
        }
    }
    disks.retain(|_, jobs| jobs.len() > 1);
    disks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `web on sda sdb`; without a host: `- on sda`.
    fn needs(text: &str) -> Needs {
        let (host, disks) = text.split_once(" on").unwrap_or((text, ""));
        Needs {
            host: (host != "-").then(|| host.to_owned()),
            disks: disks.split_whitespace().map(str::to_owned).collect(),
        }
    }

    fn all(texts: &[&str]) -> Vec<Needs> {
        texts.iter().map(|text| needs(text)).collect()
    }

    #[test]
    fn the_first_job_that_needs_nothing_of_the_others_starts() {
        for (waiting, running, at_once, expected) in [
            (&["a", "b"][..], &[][..], 1, Some(0)),
            (&["a", "b"], &["c"], 1, None),
            (&["a", "b"], &["c"], 2, Some(0)),
            (&["a", "b"], &["a"], 2, Some(1)),
            (&["a", "a"], &["a"], 4, None),
            (&["-"], &["-"], 4, None),
            (&["-"], &["a"], 4, Some(0)),
            (&["a on sda", "b on sdb"], &["c on sda"], 4, Some(1)),
            (&["a on sda sdb"], &["c on sdb sdc"], 4, None),
            (&["a on sda"], &["c"], 4, Some(0)),
            (&[], &["a"], 4, None),
        ] {
            assert_eq!(next(&all(waiting), &all(running), at_once), expected, "{waiting:?}");
        }
    }

    #[test]
    fn disks_of_one_job_only_are_not_shared() {
        let jobs = all(&["a on sda sdb", "b on sdb", "c", "d on sdc"]);
        assert_eq!(shared_disks(&jobs), [("sdb", vec![0, 1])].into());
    }

    proptest! {
        #[test]
        fn every_job_runs_once_and_never_beside_one_that_it_excludes(
            jobs in proptest::collection::vec((0_u8..4, 0_u8..4), 1..20),
            at_once in 1_usize..6,
            ends in proptest::collection::vec(0_usize..100, 20),
        ) {
            let jobs = jobs.iter().map(|(host, disk)| needs(&format!("h{host} on d{disk}")));
            let mut waiting: Vec<Needs> = jobs.collect();
            let (total, mut started, mut running) = (waiting.len(), 0, Vec::new());
            for end in ends.iter().cycle() {
                while let Some(index) = next(&waiting, &running, at_once) {
                    let job = waiting.remove(index);
                    prop_assert!(running.len() < at_once);
                    let apart = running.iter().all(|other: &Needs| {
                        other.host != job.host && other.disks.is_disjoint(&job.disks)
                    });
                    prop_assert!(apart);
                    running.push(job);
                    started += 1;
                }
                if running.is_empty() { break; }
                running.remove(end % running.len());
            }
            prop_assert_eq!(started, total);
        }
    }
}
