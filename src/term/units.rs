//! Formats sizes, counts and durations for people.

pub(crate) use engine::entry::human::{bytes, count, counted};

/// Seconds in the two largest units: `0.4 s`, `12 s`, `3 min 20 s`, `3 h 12 min`, `5 d 2 h`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, never below 0"
    )]
    let whole = seconds as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    if minutes == 0 {
        format!("{whole} s")
    } else if hours == 0 {
        format!("{minutes} min {} s", whole % 60)
    } else if days == 0 {
        format!("{hours} h {} min", minutes % 60)
    } else {
        format!("{days} d {} h", hours % 24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [
            (-1.0, "0.0 s"),
            (0.44, "0.4 s"),
            (12.9, "12 s"),
            (200.0, "3 min 20 s"),
            (11_520.0, "3 h 12 min"),
            (439_200.0, "5 d 2 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
