//! Finds out which file capabilities this process lacks, and what a snapshot therefore cannot keep.

/// The Linux capabilities (linux/capability.h) that a backup uses: bit, name, and the effect of lacking it.
const NEEDED: [(u32, &str, &str); 4] = [
    (0, "CHOWN", "owners cannot be set"),
    (2, "DAC_READ_SEARCH", "files of others may be unreadable"),
    (3, "FOWNER", "modes and times of others' files cannot be set"),
    (27, "MKNOD", "device nodes cannot be made"),
];
/// `CAP_DAC_OVERRIDE` includes the read permission of `CAP_DAC_READ_SEARCH`.
const DAC_OVERRIDE: u32 = 1;

/// The missing capabilities, from the text of `/proc/self/status` (proc_pid_status(5)). Empty if none is
/// missing.
pub(crate) fn missing(status: &str) -> Vec<String> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(held) = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()) else {
        return Vec::new();
    };
    let has = |bit: u32| held >> bit & 1 == 1;
    let reads = |bit| bit == 2 && has(DAC_OVERRIDE);
    let missing = NEEDED.iter().filter(|(bit, ..)| !has(*bit) && !reads(*bit));
    missing.map(|(_, name, means)| format!("{means} ({name})")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        for (held, expected) in [
            ("000001ffffffffff", ""),
            // Docker's default set.
            ("00000000a80425fb", ""),
            ("0000000008000009", "files of others may be unreadable (DAC_READ_SEARCH)"),
            ("000000000800000f", ""),
            (
                "0000000000000006",
                "owners cannot be set (CHOWN), modes and times of others' files cannot be set (FOWNER), device nodes cannot be made (MKNOD)",
            ),
        ] {
            let status = format!("Name:\tx\nCapEff:\t{held}\nCapBnd:\t0\n");
            assert_eq!(missing(&status).join(", "), expected, "{held}");
        }
        assert_eq!(missing("nothing"), [""; 0]);
    }
}
