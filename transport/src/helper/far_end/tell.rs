//! Reports to the near end what happens while this end copies: some events at a time, and the counters every second.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use engine::{Event, Monitor, Progress, Stop};
use serde_json::Value;

use crate::helper::protocol::copy::EVENT_MAX;
use crate::helper::protocol::report::{SentProgress, SentReport, SentResult};
use crate::helper::read::HelperSource;

/// The interval of the reports while nothing happens. Without them the near end takes this one for dead.
const BEAT: Duration = Duration::from_secs(1);

/// Events that wait. A thread that has one more waits.
const WAITING: usize = 256;

/// Bytes of events after which a report is full. One event more must still fit into a message.
const FULL: usize = 128 * 1024;

/// What goes into the reports.
enum Item {
    Event(Value, usize),
    Result(SentResult),
}

/// Collects the events of a copy for the near end.
pub(crate) struct Teller(SyncSender<Item>);

impl Teller {
    /// Starts the thread that reports. It ends after the result. It requests `stop` when the near end wants no more, or is
    /// gone, and stores the rate that the near end wants; zero: no limit.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start(
        (source, rate): (Arc<HelperSource>, Arc<AtomicU64>),
        progress: Arc<Progress>,
        stop: &Arc<Stop>,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (items, waiting) = sync_channel(WAITING);
        let stop = Arc::clone(stop);
        let thread = std::thread::Builder::new().name("reports".to_owned()).spawn(move || {
            let tell = |report: &SentReport| match serde_json::to_vec(report)
                .ok()
                .and_then(|what| source.tell(what))
            {
                Some(wanted) => rate.store(wanted.unwrap_or(0), Ordering::Relaxed),
                None => stop.ask(),
            };
            report_all(&waiting, &progress, tell);
        })?;
        Ok((Self(items), thread))
    }

    /// Reports the result.
    pub(crate) fn end(&self, result: SentResult) {
        let _ = self.0.send(Item::Result(result));
    }
}

impl Monitor for Teller {
    fn event(&self, event: &Event) {
        // The near end counts nothing by checkpoints.
        if matches!(event, Event::Checkpoint) {
            return;
        }
        let Ok(value) = serde_json::to_value(event) else { return };
        let length = value.to_string().len();
        if length <= EVENT_MAX {
            // The thread ends after the result.
            let _ = self.0.send(Item::Event(value, length));
        }
    }
}

/// Reports what waits until the result is reported.
fn report_all(waiting: &Receiver<Item>, progress: &Progress, tell: impl Fn(&SentReport)) {
    loop {
        let (mut report, mut bytes) = (SentReport::default(), 0);
        let mut next = match waiting.recv_timeout(BEAT) {
            Ok(item) => Some(item),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        while let Some(item) = next.take() {
            match item {
                Item::Event(value, length) => {
                    report.events.push(value);
                    bytes += length;
                }
                Item::Result(result) => report.result = Some(result),
            }
            if bytes < FULL && report.result.is_none() {
                next = waiting.try_recv().ok();
            }
        }
        report.progress = SentProgress::of(progress);
        let is_last = report.result.is_some();
        tell(&report);
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use engine::threads::lock;

    use super::*;

    #[test]
    fn events_arrive_in_order_and_the_result_last() {
        let (items, waiting) = sync_channel(WAITING);
        let told = Mutex::new(Vec::new());
        for number in 0..3 {
            items.send(Item::Event(Value::from(number), FULL / 2)).unwrap();
        }
        items.send(Item::Result(SentResult::Busy)).unwrap();
        report_all(&waiting, &Progress::default(), |report| {
            lock(&told).push((report.events.clone(), report.result.clone()));
        });
        let told = told.into_inner().unwrap();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0], (vec![Value::from(0), Value::from(1)], None));
        assert_eq!(told[1], (vec![Value::from(2)], Some(SentResult::Busy)));
    }
}
