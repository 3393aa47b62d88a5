//! The network thread as the threads of a source see it.

use std::rc::Rc;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use engine::source::{ConnectionReport, Transport};
use engine::threads::{lock, unpoisoned};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::ssh::connect::connect_error::ConnectError;
use crate::ssh::connect::connection::NotOpened;
use crate::ssh::event_loop::{Aside, Network};
use crate::ssh::options::{ChannelLimit, Traffic};
use crate::ssh::scheduler::{Offers, Scheduler};
use crate::ssh::service::Service;

/// A connection whose network thread runs, and the threads that deliver its answers.
pub(crate) struct Connected<C> {
    commands: Option<UnboundedSender<C>>,
    asides: UnboundedSender<Aside>,
    quit: Arc<Notify>,
    limit: ChannelLimit,
    traffic: Traffic,
    /// The network thread is the first.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<C> Connected<C> {
    /// Starts the network thread, called `name`, and waits for the first connection. Returns what the far end offers.
    /// `commands` leads to the thread, `delivery` are threads that end with it.
    ///
    /// # Errors
    /// If no connection can be made.
    pub(crate) fn start<T>(
        name: &str,
        network: Network<T>,
        commands: UnboundedSender<C>,
        delivery: impl IntoIterator<Item = JoinHandle<()>>,
    ) -> Result<(Self, Offers<T>), ConnectError>
    where
        C: Send + 'static,
        T: Scheduler<Command = C>,
        T::Service: Send,
    {
        let local = |error| ConnectError::Local { action: "start a thread", error };
        let quit = Arc::clone(&network.quit.notify);
        let limit = network.options.channel_limit.clone();
        let traffic = network.options.traffic.clone();
        let (ready, connected) = sync_channel(1);
        let (asides, to_do) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || network.run(&ready, to_do))
            .map_err(local)?;
        let threads = std::iter::once(thread).chain(delivery).collect();
        let (commands, threads) = (Some(commands), Mutex::new(threads));
        let this = Self { commands, asides, quit, limit, traffic, threads };
        match connected.recv() {
            Ok(result) => result.map(|offers| (this, offers)),
            Err(_) => Err(local(std::io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// The number of channels that the host was observed to accept.
    pub(crate) fn channel_limit(&self) -> &ChannelLimit {
        &self.limit
    }

    /// Asks another service of the host, on a further channel of the connection; returns what it offers.
    ///
    /// # Errors
    /// The host accepts no further channel, or is not known to, or what runs there is not the service.
    pub(crate) fn ask<S: Service + Send>(&self, service: S) -> Result<S::Offers, NotOpened> {
        let (answer, answered) = sync_channel(1);
        let aside: Aside = Box::new(move |connection| {
            let channel = connection.channel(&Rc::new(service));
            Box::pin(async move {
                let _ = answer.send(channel.await.map(|opened| opened.offers));
            })
        });
        // The network thread drops what it does not carry out.
        self.asides.send(aside).map_err(|_| NotOpened::NoWay)?;
        answered.recv().unwrap_or(Err(NotOpened::NoWay))
    }

    /// The bytes on the line so far, for a far end that is a `transport`.
    pub(crate) fn report(&self, transport: Transport) -> ConnectionReport {
        let (sent, received) = self.traffic.get();
        ConnectionReport { transport, sent, received }
    }

    /// Ends the connection; any thread may call it.
    pub(crate) fn stop(&self) {
        self.quit.notify_one();
    }

    /// Ends the connection and waits until `ssh` and the network thread have ended. A sink must not call it.
    pub(crate) fn close(&self) {
        self.stop();
        let mut threads = lock(&self.threads);
        let network = (!threads.is_empty()).then(|| threads.remove(0));
        drop(threads);
        let _ = network.map(JoinHandle::join);
    }

    /// The way to the network thread.
    pub(crate) fn commands(&self) -> Option<&UnboundedSender<C>> {
        self.commands.as_ref()
    }

    /// Sends a command. Calls `refuse` with it when the network thread has ended because it was stopped.
    pub(crate) fn send(&self, command: C, refuse: impl FnOnce(C)) {
        if let Some(commands) = &self.commands
            && let Err(refused) = commands.send(command)
        {
            refuse(refused.0);
        }
    }
}

impl<C> Drop for Connected<C> {
    fn drop(&mut self) {
        self.quit.notify_one();
        self.commands = None;
        let this = std::thread::current().id();
        // If a sink holds the last reference, one of these threads runs this code and must not join itself.
        let threads = unpoisoned(self.threads.get_mut());
        if threads.iter().all(|thread| thread.thread().id() != this) {
            for thread in threads.drain(..) {
                let _ = thread.join();
            }
        }
    }
}
