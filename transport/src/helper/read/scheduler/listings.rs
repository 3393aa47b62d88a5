//! Processes the answers to listings.

use std::io;

use engine::SourceError;

use crate::delivery::{ListingPart, Unwanted};
use crate::helper::protocol::message::Answer;
use crate::helper::read::scheduler::{HelperScheduler, WRONG};
use crate::ssh::framing::Violation;

/// Maximum number of entries in all folders that are being listed. Above it, a far end that sends names without end is
/// more likely. The hashes of this many names take 29 MB.
const ENTRIES_MAX: usize = 3_600_000;

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
        let listing = self.listings.get_mut(&id);
        match answer {
            Answer::Batch(entries) => {
                self.channels[channel].listed(bytes)?;
                if let Some(listing) = listing {
                    listing.entries(id, entries, &self.asked, &mut self.delivery)?;
                    self.end_endless();
                }
                Ok(false)
            }
            Answer::Unreadable(name, error) => {
                self.channels[channel].listed(bytes)?;
                if let Some(listing) = listing {
                    listing.unreadable(id, &name, error.into(), &mut self.delivery);
                    self.end_endless();
                }
                Ok(false)
            }
            Answer::Same(same) => {
                // One that breaks the protocol is requested again.
                if let Some(listing) = listing {
                    listing.same(same)?;
                    self.listings.remove(&id);
                    self.delivery.listed(id, ListingPart::End(Ok(())));
                }
                Ok(true)
            }
            Answer::Differs => {
                if let Some(listing) = listing {
                    listing.differs()?;
                    self.listings.remove(&id);
                    self.delivery.listed(id, ListingPart::End(Ok(())));
                }
                Ok(true)
            }
            Answer::Listed(result) => {
                if self.listings.remove(&id).is_some() {
                    let result = result.map_err(SourceError::from);
                    self.delivery.listed(id, ListingPart::End(result));
                }
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
        if all > ENTRIES_MAX {
            self.cancel(Unwanted::Folder(id));
            self.listings.remove(&id);
            let error = io::Error::other("its listing does not end");
            let error = SourceError::Unreadable { action: "list", error };
            self.delivery.listed(id, ListingPart::End(Err(error)));
        }
    }
}
