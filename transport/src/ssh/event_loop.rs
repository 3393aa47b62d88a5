//! The network thread: connects through ssh, reads and writes every channel, and reconnects after the
//! connection is lost.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{interval, sleep, timeout};

use crate::ssh::channel_io::{Loss, receive, send};
use crate::ssh::channels::{Moment, wanted};
use crate::ssh::connect::connect_error::ConnectError;
use crate::ssh::connect::connection::{Connection, Further, NotOpened, OpenedChannel, was_refused};
use crate::ssh::line::{Line, Way};
use crate::ssh::options::Options;
use crate::ssh::outbox::Outbox;
use crate::ssh::scheduler::{Offers, Scheduler};
use crate::ssh::service::Service;

/// Maximum number of commands accepted before the thread sends.
const ORDERS: usize = 256;

/// How often the thread checks whether the connection is still wanted.
const POLL: Duration = Duration::from_millis(100);

/// How long the thread uses only the first channels to a nearby host.
const FIRST: Duration = Duration::from_secs(2);

/// The error for requests that are still unanswered when the connection is stopped.
const STOPPED: &str = "it was stopped";

/// Opens a channel to another service than the usual one. The future ends when that is done.
pub(crate) type Aside = Box<dyn FnOnce(&Connection) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// What the thread receives at its start.
pub(crate) struct Network<T: Scheduler> {
    pub(crate) way: Way,
    pub(crate) options: Options,
    pub(crate) service: T::Service,
    pub(crate) commands: UnboundedReceiver<T::Command>,
    pub(crate) quit: Quit,
    /// Creates the talker on the network thread.
    pub(crate) scheduler: Box<dyn FnOnce() -> T + Send>,
    /// Notified when the talker can continue although no answer arrived.
    pub(crate) wake: Arc<Notify>,
}

/// How the thread learns that it must end.
pub(crate) struct Quit {
    /// Notified when the thread must end.
    pub(crate) notify: Arc<Notify>,
    /// Polled: returns true when the connection is no longer wanted.
    pub(crate) stopped: Box<dyn Fn() -> bool + Send>,
}

impl Quit {
    /// Ends the thread when `stopped` returns true, or when `notify` is notified.
    pub(crate) fn new(stopped: impl Fn() -> bool + Send + 'static) -> Self {
        Self { notify: Arc::new(Notify::new()), stopped: Box::new(stopped) }
    }

    /// Waits until the thread must end.
    pub(crate) async fn wanted(&self) {
        while !(self.stopped)() {
            tokio::select! {
                () = self.notify.notified() => return,
                () = sleep(POLL) => {}
            }
        }
    }
}

/// If the connection ends within this time after a channel was refused, the refusal is taken as the cause.
const CONSEQUENCE: Duration = Duration::from_millis(500);

/// Why a connection ended.
enum End {
    Quit,
    /// The reason, and the number of open channels if the thread was opening another one.
    Lost(String, Option<usize>),
}

impl<T: Scheduler> Network<T> {
    /// Runs until the thread must end. Sends the result of the first connection to `ready`: what the far
    /// end offers.
    pub(crate) fn run(
        self,
        ready: &SyncSender<Result<Offers<T>, ConnectError>>,
        asides: UnboundedReceiver<Aside>,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => {
                LocalSet::new().block_on(&runtime, self.work(ready, asides));
                // The remaining tasks only wait, so they can be dropped.
                runtime.shutdown_background();
            }
            Err(error) => {
                let _ = ready.send(Err(ConnectError::Local { action: "start a thread", error }));
            }
        }
    }

    async fn work(
        self,
        ready: &SyncSender<Result<Offers<T>, ConnectError>>,
        mut asides: UnboundedReceiver<Aside>,
    ) {
        let Self { mut way, options, service, mut commands, quit, scheduler, wake } = self;
        let (service, scheduler) = (Rc::new(service), Rc::new(RefCell::new(scheduler())));
        let mut opened = tokio::select! {
            opened = way.open(&options, &service) => opened,
            () = quit.wanted() => Err(ConnectError::Stopped),
        };
        match opened {
            Ok((_, ref channel, _)) => drop(ready.send(Ok(channel.offers))),
            Err(error) => return drop(ready.send(Err(error))),
        }
        let mut tries = 0;
        loop {
            let mut learned = false;
            let (why, last) = match opened {
                Ok((connection, channel, further)) => {
                    let serving = Serving::new(&scheduler, &wake, &quit);
                    let asked = (&mut commands, &mut asides);
                    let channels = (channel, further);
                    let end = serving.serve(&connection, &service, channels, &options, asked).await;
                    let words = connection.last_words();
                    let why = match end {
                        End::Quit => None,
                        End::Lost(why, over) => {
                            if let Some(most) = over {
                                options.channel_limit.lower(most);
                                learned = true;
                            }
                            Some(words.map_or(why.clone(), |words| format!("{why} ({words})")))
                        }
                    };
                    scheduler.borrow_mut().reset(why.as_deref().unwrap_or(STOPPED));
                    connection.close().await;
                    match why {
                        None => return close_commands(&scheduler, STOPPED, commands),
                        Some(why) => (why, !way.is_repeatable()),
                    }
                }
                Err(error) => (error.to_string(), error.is_final()),
            };
            tries = if scheduler.borrow_mut().progressed() { 0 } else { tries };
            if last || tries >= options.tries {
                drop(asides);
                return give_up(
                    &scheduler,
                    &format!("the connection was lost: {why}"),
                    commands,
                    &quit,
                )
                .await;
            }
            if !learned {
                options.loss_report.lost(&why);
            }
            let pause = match learned {
                true => Duration::ZERO,
                false => options.pause.saturating_mul(1 << tries.min(10)),
            };
            tries += 1;
            opened = tokio::select! {
                opened = async {
                    sleep(pause).await;
                    way.open(&options, &service).await
                } => opened,
                () = quit.wanted() => return close_commands(&scheduler, STOPPED, commands),
            };
        }
    }
}

/// Fails every command with the reason of the loss, until the thread must end.
async fn give_up<T: Scheduler>(
    scheduler: &RefCell<T>,
    why: &str,
    mut commands: UnboundedReceiver<T::Command>,
    quit: &Quit,
) {
    scheduler.borrow_mut().give_up(why);
    loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            () = quit.wanted() => None,
        };
        let Some(command) = command else { return close_commands(scheduler, why, commands) };
        let mut scheduler = scheduler.borrow_mut();
        scheduler.command(command);
        // Without channels `pump` cannot fail.
        let _ = scheduler.pump();
    }
}

/// Fails all outstanding commands with the reason of the loss, and closes the command queue.
fn close_commands<T: Scheduler>(
    scheduler: &RefCell<T>,
    why: &str,
    mut commands: UnboundedReceiver<T::Command>,
) {
    let mut scheduler = scheduler.borrow_mut();
    scheduler.give_up(why);
    commands.close();
    while let Ok(command) = commands.try_recv() {
        scheduler.command(command);
    }
    let _ = scheduler.pump();
}

/// The state of one open connection.
struct Serving<'a, T> {
    scheduler: Rc<RefCell<T>>,
    wake: Arc<Notify>,
    quit: &'a Quit,
    lost: UnboundedSender<Loss>,
    losses: UnboundedReceiver<Loss>,
}

impl<'a, T: Scheduler> Serving<'a, T> {
    fn new(scheduler: &Rc<RefCell<T>>, wake: &Arc<Notify>, quit: &'a Quit) -> Self {
        let (lost, losses) = unbounded_channel();
        let (scheduler, wake) = (Rc::clone(scheduler), Arc::clone(wake));
        Self { scheduler, wake, quit, lost, losses }
    }

    async fn serve(
        mut self,
        connection: &Line,
        service: &Rc<T::Service>,
        (first, mut further): (OpenedChannel<Offers<T>>, Further<Offers<T>>),
        options: &Options,
        (commands, asides): (&mut UnboundedReceiver<T::Command>, &mut UnboundedReceiver<Aside>),
    ) -> End {
        // Dropping the set aborts all tasks.
        let mut tasks = JoinSet::new();
        let apart = connection.keeps_channels_apart(&**service, &first.offers);
        self.begin(first.counted(&options.traffic), apart, &mut tasks);
        let (mut opening, mut open, began) = (1 + further.len(), 1, Instant::now());
        let mut refused: Option<Instant> = None;
        let mut tick = interval(POLL.min(options.answer_timeout / 4));
        loop {
            tokio::select! {
                biased;
                () = self.quit.notify.notified() => return End::Quit,
                Some(loss) = self.losses.recv() => {
                    return match loss {
                        Loss::Ended(why) => End::Lost(why, accepted(connection, further, refused, open)),
                        Loss::Broken(violation) => {
                            let protocol = T::Service::PROTOCOL;
                            let why = format!("the server broke the {protocol} protocol: {violation}");
                            End::Lost(why, None)
                        }
                    };
                }
                Some(opened) = further.join_next() => match opened {
                    Ok(Ok(channel)) => {
                        let moment = Moment { apart, is_far: true, is_early: false };
                        if open >= wanted(options, moment) {
                            // This channel was requested before the server had sent its greeting, on the
                            // assumption of more channels than this server gets.
                            continue;
                        }
                        open += 1;
                        self.begin(channel.counted(&options.traffic), apart, &mut tasks);
                    }
                    Ok(Err(NotOpened::NotKnown)) => opening -= 1,
                    Ok(Err(NotOpened::NoWay | NotOpened::Broken)) => {}
                    // The host accepts fewer channels: continue with those that are open.
                    Ok(Err(NotOpened::Refused)) | Err(_) => refused = Some(Instant::now()),
                },
                command = commands.recv() => {
                    let Some(command) = command else { return End::Quit };
                    let mut scheduler = self.scheduler.borrow_mut();
                    scheduler.command(command);
                    for _ in 0..ORDERS {
                        let Ok(command) = commands.try_recv() else { break };
                        scheduler.command(command);
                    }
                }
                () = self.wake.notified() => {}
                Some(aside) = asides.recv() => {
                    // Another server may end the connection over one channel too many.
                    if apart && let Line::Ssh(connection) = connection {
                        let (limit, aside) = (options.answer_timeout, aside(connection));
                        tasks.spawn_local(async move { drop(timeout(limit, aside).await) });
                    }
                }
                _ = tick.tick() => {
                    if (self.quit.stopped)() {
                        return End::Quit;
                    }
                    if self.scheduler.borrow().stalled(Instant::now(), options.answer_timeout) {
                        let why = format!("no answer within {} seconds", options.answer_timeout.as_secs());
                        return End::Lost(why, accepted(connection, further, refused, open));
                    }
                }
            }
            let mut scheduler = self.scheduler.borrow_mut();
            if let Err(error) = scheduler.pump() {
                let why = format!("cannot write to ssh: {error}");
                return End::Lost(why, accepted(connection, further, refused, open));
            }
            let is_early = began.elapsed() < FIRST;
            let moment = Moment { apart, is_far: scheduler.is_far(), is_early };
            drop(scheduler);
            // A server that may end the connection over one channel too many is asked for one after the other,
            // so that the number of those that it accepted is known.
            while opening < wanted(options, moment)
                && (apart || (further.is_empty() && refused.is_none()))
            {
                opening += 1;
                connection.open_further(service, &mut further);
            }
        }
    }

    /// Registers an open channel and starts its receiving and sending tasks.
    fn begin(&self, channel: OpenedChannel<Offers<T>>, apart: bool, tasks: &mut JoinSet<()>) {
        let (to, from, frames, session) =
            (Rc::new(channel.to), channel.from, channel.frames, channel.session);
        let outbox = Outbox::new(Rc::clone(&to), frames.traffic().clone(), channel.compression);
        let full = outbox.full();
        let number = self.scheduler.borrow_mut().add_channel(outbox, channel.offers, apart);
        let (scheduler, lost) = (Rc::clone(&self.scheduler), self.lost.clone());
        tasks.spawn_local(async move {
            let _session = session;
            let Err(why) = receive(&scheduler, number, &from, frames).await;
            let _ = lost.send(why);
        });
        let (scheduler, lost) = (Rc::clone(&self.scheduler), self.lost.clone());
        tasks.spawn_local(async move {
            let Err(error) = send(&scheduler, number, &to, &full).await;
            let _ = lost.send(Loss::unwritable(&error));
        });
    }
}

/// The number of channels that the host accepted, if it ended the connection while another one was being opened or
/// shortly after it refused one. The channels end together with the connection, so they may be found to have ended
/// before it.
fn accepted<O: 'static>(
    connection: &Line,
    mut further: Further<O>,
    refused: Option<Instant>,
    open: usize,
) -> Option<usize> {
    let lately = refused.is_some_and(|when| when.elapsed() < CONSEQUENCE);
    let mut over = lately || connection.asked() > 0;
    while let Some(joined) = further.try_join_next() {
        over |= was_refused(joined);
    }
    over.then_some(open)
}
