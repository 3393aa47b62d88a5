//! Stops a run at the end of its window.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chrono::Utc;
use engine::Stop;

use crate::schedule::window::{OpenHours, WindowState};

/// How often the clock is looked at. It may be set, and the machine may sleep.
const LOOK: Duration = Duration::from_secs(1);

/// The stop of one run: requested with that of all work, and at the end of the window.
pub(crate) struct WindowStop {
    pub(crate) stop: Arc<Stop>,
    watch: Option<(Sender<()>, JoinHandle<()>)>,
}

impl WindowStop {
    /// Watches the clock until it is dropped. Without `hours` there is nothing to watch.
    pub(crate) fn new(all: &Arc<Stop>, hours: Option<OpenHours>) -> Self {
        let stop = Arc::new(Stop::within(all));
        let watch = hours.map(|hours| {
            let (sender, ended) = mpsc::channel::<()>();
            let asked = Arc::clone(&stop);
            let thread = thread::spawn(move || {
                while let WindowState::Open { .. } = hours.at(Utc::now()) {
                    if ended.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
                asked.ask();
            });
            (sender, thread)
        });
        Self { stop, watch }
    }
}

impl Drop for WindowStop {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.watch.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}
