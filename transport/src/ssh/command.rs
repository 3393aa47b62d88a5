//! A command on a host whose input and output are streams of this process.

use std::rc::Rc;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use engine::threads::lock;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::ssh::connect::address::Address;
use crate::ssh::connect::connect_error::ConnectError;
use crate::ssh::connect::connection::{Connection, OpenedChannel};
use crate::ssh::event_loop::Quit;
use crate::ssh::line::Streams;
use crate::ssh::options::Options;
use crate::ssh::service::Service;

/// Whether the connection is to end.
type Watch = Mutex<Option<Box<dyn Fn() -> bool + Send>>>;

/// A command that runs on a host. Dropping it ends the connection.
pub(crate) struct RunningCommand<O> {
    /// What the command offered in its greeting.
    pub(crate) offers: O,
    /// What is behind the greetings.
    pub(crate) streams: Option<Streams>,
    /// What arrived together with the greeting of the far end, and is no more in the streams.
    pub(crate) behind: Vec<u8>,
    watch: Arc<Watch>,
    quit: Arc<Notify>,
    thread: Option<JoinHandle<Option<String>>>,
}

/// Connects to a host and starts what `service` says. `stopped` is polled several times a second; when it returns true, the
/// connection ends.
///
/// # Errors
/// See [`ConnectError`].
pub(crate) fn run<S: Service + Send>(
    address: Address,
    options: Options,
    service: S,
    stopped: impl Fn() -> bool + Send + 'static,
) -> Result<RunningCommand<S::Offers>, ConnectError> {
    let local = |error| ConnectError::Local { action: "start a thread", error };
    let watch: Arc<Watch> = Arc::default();
    let watched = Arc::clone(&watch);
    let is_over = move || stopped() || lock(&watched).as_ref().is_some_and(|watch| watch());
    let quit = Quit::new(is_over);
    let notify = Arc::clone(&quit.notify);
    let (ready, opened) = sync_channel(1);
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(local(error)));
                return None;
            }
        };
        let words = LocalSet::new().block_on(&runtime, async move {
            let service = Rc::new(service);
            let connected = tokio::select! {
                opened = Connection::open(&address, &options, &service, true) => {
                    opened.map_err(|failed| failed.error)
                }
                () = quit.wanted() => Err(ConnectError::Stopped),
            };
            let (connection, channel, _) = match connected {
                Ok(connected) => connected,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return None;
                }
            };
            let streams = blocking(channel).map_err(local);
            let _ = ready.send(streams);
            quit.wanted().await;
            let words = connection.last_words();
            connection.close().await;
            words
        });
        runtime.shutdown_background();
        words
    };
    let thread = std::thread::Builder::new().name("ssh-command".to_owned()).spawn(work);
    let thread = Some(thread.map_err(local)?);
    let broken = || local(std::io::ErrorKind::BrokenPipe.into());
    let (offers, streams, behind) = opened.recv().map_err(|_| broken())??;
    Ok(RunningCommand { offers, streams: Some(streams), behind, watch, quit: notify, thread })
}

/// The streams of a channel, and what the far end sent together with its greeting.
fn blocking<O>(channel: OpenedChannel<O>) -> std::io::Result<(O, Streams, Vec<u8>)> {
    let OpenedChannel { to, from, offers, frames, .. } = channel;
    let streams = Streams { to: to.into_blocking_fd()?, from: from.into_blocking_fd()? };
    Ok((offers, streams, frames.rest().to_vec()))
}

impl<O> RunningCommand<O> {
    /// Ends the connection when `watch` returns true, too.
    pub(crate) fn watch(&self, watch: impl Fn() -> bool + Send + 'static) {
        *lock(&self.watch) = Some(Box::new(watch));
    }

    /// Ends the connection, and returns what ssh wrote to its error output.
    pub(crate) fn close(mut self) -> Option<String> {
        self.quit.notify_one();
        self.thread.take().and_then(|thread| thread.join().ok().flatten())
    }
}

impl<O> Drop for RunningCommand<O> {
    fn drop(&mut self) {
        self.quit.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
