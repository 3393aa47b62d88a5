//! Runs work again that a lost connection interrupted.

/// Maximum number of attempts when connections are lost. If every connection breaks, the work itself may be the cause.
const TRIES: u32 = 5;

/// An error that can mean that the connection was lost.
pub(crate) trait MayBeLost: Sized {
    /// Why the connection was lost, if that is the error.
    fn why_lost(&self) -> Option<&str>;

    /// The connection was lost too often, the last time because of `why`. It also keeps an enclosing operation from
    /// starting again.
    fn given_up(why: &str) -> Self;
}

/// Runs `work`, and runs it again after a lost connection. The argument is then `true`: the earlier request may have
/// been carried out.
pub(crate) fn again<T, E: MayBeLost>(mut work: impl FnMut(bool) -> Result<T, E>) -> Result<T, E> {
    let mut number = 0;
    loop {
        let done = work(number > 0);
        number += 1;
        let Err(error) = &done else { return done };
        match error.why_lost() {
            None => return done,
            Some(why) if number == TRIES => return Err(E::given_up(why)),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Error {
        Lost,
        Refused,
        GivenUp(String),
    }

    impl MayBeLost for Error {
        fn why_lost(&self) -> Option<&str> {
            (*self == Self::Lost).then_some("cut")
        }

        fn given_up(why: &str) -> Self {
            Self::GivenUp(why.to_owned())
        }
    }

    #[test]
    fn work_is_done_again_after_a_loss_and_only_then() {
        let mut seen = Vec::new();
        let done = again(|before| {
            seen.push(before);
            if seen.len() < 3 { Err(Error::Lost) } else { Ok(7) }
        });
        assert_eq!((done, seen), (Ok(7), vec![false, true, true]));
        let mut count = 0;
        let refused = again(|_| -> Result<(), Error> {
            count += 1;
            Err(Error::Refused)
        });
        assert_eq!((refused, count), (Err(Error::Refused), 1));
        let mut count = 0;
        let given_up = again(|_| -> Result<(), Error> {
            count += 1;
            Err(Error::Lost)
        });
        assert_eq!((given_up, count), (Err(Error::GivenUp("cut".to_owned())), 5));
    }
}
