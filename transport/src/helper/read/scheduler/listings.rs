//! Processes the answers to listings.

use std::io;

use engine::SourceError;

use crate::delivery::ListingPart;
use crate::helper::protocol::message::Answer;
use crate::helper::read::channel::WRONG;
use crate::helper::read::scheduler::HelperScheduler;
use crate::ssh::framing::Violation;

const NOTHING: Violation = Violation("nothing of a listing");

/// The number of entries is looked at after so many messages.
const LOOK_AT_NAMES: usize = 64;

impl HelperScheduler {
    /// Processes an answer to the listing `id`; returns whether it is the last one.
    pub(super) fn listing_answer(
        &mut self,
        channel: usize,
        id: u64,
        answer: Answer,
        bytes: usize,
    ) -> Result<bool, Violation> {
        let Some(listing) = self.listings.get_mut(&id) else { return Err(WRONG) };
        match answer {
            Answer::Batch(entries) if entries.is_empty() => Err(NOTHING),
            Answer::Batch(entries) => {
                self.channels[channel].listed(bytes)?;
                listing.entries(id, entries, &self.asked, &mut self.delivery)?;
                if listing.has_too_many_bad_names() {
                    let why = "it lists too many names that no entry can have";
                    self.end_listing(id, Err(unlisted(why)));
                }
                self.end_endless();
                Ok(false)
            }
            Answer::Unreadable(name, error) => {
                self.channels[channel].listed(bytes)?;
                listing.unreadable(id, &name, error.into(), &mut self.delivery);
                self.end_endless();
                Ok(false)
            }
            Answer::Same(same) => {
                // One that breaks the protocol is requested again.
                listing.same(same)?;
                self.listings.remove(&id);
                self.delivery.listed(id, ListingPart::End(Ok(())));
                Ok(true)
            }
            Answer::Differs => {
                listing.differs()?;
                self.listings.remove(&id);
                self.delivery.listed(id, ListingPart::End(Ok(())));
                Ok(true)
            }
            Answer::Listed(result) => {
                self.listings.remove(&id);
                self.delivery.listed(id, ListingPart::End(result.map_err(SourceError::from)));
                Ok(true)
            }
            _ => Err(WRONG),
        }
    }

    /// Ends the listing with the most entries if the far end lists more entries in all open folders than they have.
    fn end_endless(&mut self) {
        self.names += 1;
        if !self.names.is_multiple_of(LOOK_AT_NAMES) {
            return;
        }
        let names = self.listings.iter().map(|(id, listing)| (listing.names(), *id));
        let (all, most) = names.fold((0, (0, 0)), |(all, most), it| (all + it.0, most.max(it)));
        let (_, id) = most;
        if all > self.most_names {
            self.end_listing(id, Err(unlisted("its listing does not end")));
        }
    }

    /// Ends a listing for the engine, and drops what still comes of it.
    pub(super) fn end_listing(&mut self, id: u64, result: Result<(), SourceError>) {
        let Some(listing) = self.listings.remove(&id) else { return };
        self.abandon(listing.asked);
        self.delivery.listed(id, ListingPart::End(result));
    }
}

fn unlisted(why: &str) -> SourceError {
    SourceError::Unreadable { action: "list", error: io::Error::other(why) }
}
