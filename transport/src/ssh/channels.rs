//! Decides how many channels a connection uses.

use crate::ssh::options::Options;

/// The facts known when the number of channels is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The server is known to run a separate process for each channel.
    pub(crate) apart: bool,
    pub(crate) is_far: bool,
    /// The connection has just been made.
    pub(crate) is_early: bool,
}

/// The number of channels that the connection should have.
pub(crate) fn wanted(options: &Options, moment: Moment) -> usize {
    let usual = match (moment.is_far, moment.is_early) {
        (true, _) => options.channels_given.unwrap_or(options.channels.max(options.channels_far)),
        (false, true) => options.channels.min(options.channels_first),
        (false, false) => options.channels_given.unwrap_or(options.channels),
    };
    let allowed = options.channels_given.unwrap_or(if moment.apart { usize::MAX } else { 1 });
    usual.min(allowed).min(options.channel_limit.get().unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::options::ChannelLimit;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    const NEAR: Moment = Moment { apart: true, is_far: false, is_early: false };
    const EARLY: Moment = Moment { is_early: true, ..NEAR };
    const FAR: Moment = Moment { is_far: true, ..NEAR };

    fn given(channels_given: Option<usize>) -> Options {
        Options { channels_given, ..Options::default() }
    }

    #[test]
    fn a_server_that_is_not_known_gets_one_unless_another_number_is_given() {
        let all = |options: &Options, apart: bool| {
            [EARLY, NEAR, FAR].map(|moment| wanted(options, Moment { apart, ..moment }))
        };
        assert_eq!(all(&given(None), true), [2, 4, 8]);
        assert_eq!(all(&given(None), false), [1, 1, 1]);
        assert_eq!(all(&given(Some(3)), true), [2, 3, 3]);
        assert_eq!(all(&given(Some(3)), false), [2, 3, 3]);
        assert_eq!(all(&given(Some(1)), true), [1, 1, 1]);
    }

    #[test]
    fn the_observed_number_of_channels_is_never_exceeded_and_reported_once() {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        let limit = ChannelLimit::new(None, move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let options = Options { channel_limit: limit.clone(), ..given(Some(6)) };
        assert_eq!(wanted(&options, NEAR), 6);
        for most in [3, 3, 5, 0, 2] {
            limit.lower(most);
        }
        assert_eq!((limit.get(), wanted(&options, FAR)), (Some(1), 1));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}
