//! Workers that run on exactly one controller (seed 003): core's [`Singular`] with a lease service
//! around it, and a runner that starts and stops work by its flag.
//!
//! The lease service is whoever [`Asks`]: the node itself, within a controller
//! ([`Node::responsible`](crate::node::Node::responsible)), or a [`Client`] anywhere else. What must
//! run where the leader is needs none: [`Responsible::leading`] raises the same flag by that.
//!
//! ```
//! use std::path::PathBuf;
//! use std::time::Duration;
//!
//! use portcullis::singular::{Asks, Responsible, Runner, runner};
//! use portcullis::tokio_env::{Ports, Tokio};
//! use portcullis_core::GlobalTime;
//! use portcullis_core::controller::Request;
//! use portcullis_core::lease::{Entry, Key, Leases, Operation, SINGULAR_CONTROLLER};
//! use portcullis_core::queue::Answer;
//! use portcullis_core::singular::{Config, DURATION};
//!
//! /// A lease service of one: a table that nobody else uses.
//! #[derive(Clone, Default)]
//! struct Alone(std::sync::Arc<std::sync::Mutex<Leases>>);
//!
//! impl Asks for Alone {
//!     async fn ask(&self, request: Request, _: Duration) -> Answer {
//!         let Request::Apply(operation) = request else { return Answer::Released };
//!         let now = GlobalTime(0);
//!         let command = portcullis_core::lease::Command { operation, void_after: now };
//!         let entry = Entry { now, commands: [command].into() };
//!         let outcome = self.0.lock().unwrap().apply(&entry).outcomes.remove(0);
//!         match outcome {
//!             Ok(done) => Answer::Done { index: 1, done },
//!             Err(refusal) => Answer::Refused { index: 1, refusal },
//!         }
//!     }
//! }
//!
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! runtime.block_on(async {
//!     let env = Tokio::start(PathBuf::new(), Ports::Own).unwrap();
//!     let model = "deadbeef-0bad-400d-8000-4b1d0d06f00d";
//!     let key = Key::new(SINGULAR_CONTROLLER, model, "provisioner");
//!     let config = Config::new(key, "controller-1".into(), DURATION);
//!     let responsible = Responsible::start(&env, Alone::default(), config);
//!
//!     let (ran, mut runs) = tokio::sync::mpsc::channel(1);
//!     let runner = Runner::start(&env, responsible, runner::Config::new("provisioner"), {
//!         move |stop, fence| {
//!             let ran = ran.clone();
//!             async move {
//!                 // Whatever it writes anywhere else, it writes with the fence.
//!                 ran.send(fence).await.map_err(|error| error.to_string())?;
//!                 stop.cancelled().await;
//!                 Ok(())
//!             }
//!         }
//!     });
//!     assert_eq!(runs.recv().await, Some(1));
//!     runner.stop().await;
//! });
//! ```

mod leading;
pub mod runner;

use std::time::Duration;

use portcullis_core::Time;
use portcullis_core::controller::Request;
use portcullis_core::lease::Key;
use portcullis_core::queue::Answer;
use portcullis_core::singular::{Config, Input, Output, Singular};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::client::Client;
use crate::drive::{Shell, drive};
use crate::env::Env;

pub use runner::Runner;

/// Most arrivals that wait for the machine: one answer at a time, and the end.
const INBOX_MAX: usize = 4;

/// A way to the lease service.
pub trait Asks: Clone + Send + Sync + 'static {
    /// Asks, and waits for the one answer: for a wait as long as it takes, for all else about as
    /// long as `patience`.
    fn ask(&self, request: Request, patience: Duration) -> impl Future<Output = Answer> + Send;
}

impl Asks for Client {
    async fn ask(&self, request: Request, patience: Duration) -> Answer {
        Client::ask(self, request, patience).await
    }
}

/// A flag that is raised: what must run once may run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The number of the grant. It grows with every holder, so whoever is written to can refuse
    /// what comes from one before.
    pub fence: u64,
    /// When what runs must have ended, whatever happens, on the clock of this host; later with each
    /// extension. The end of time for what runs where the leader is, which no clock ends.
    pub until: Time,
}

/// Whether this process is responsible for something; its clones are the same one. When the last is
/// dropped the flag goes down, and the lease runs out by itself; [`release`](Responsible::release)
/// gives it up at once.
#[derive(Clone, Debug)]
pub struct Responsible {
    inbox: mpsc::Sender<Arrival>,
    flag: watch::Receiver<Option<Flag>>,
    left: CancellationToken,
}

impl Responsible {
    /// Strives for the lease from now on. The times must be without
    /// [`fault`](portcullis_core::singular::Config::fault).
    pub fn start<E: Env>(env: &E, asks: impl Asks, config: Config) -> Responsible {
        let (inbox, arrivals) = mpsc::channel(INBOX_MAX);
        let (flag_out, flag) = watch::channel(None);
        let left = CancellationToken::new();
        let surroundings = Surroundings {
            key: config.key.clone(),
            env: env.clone(),
            asks,
            inbox: inbox.downgrade(),
            flag: flag_out,
            under_way: CancellationToken::new(),
            left: left.clone(),
        };
        let machine = Singular::new(config, env.seed());
        // There is room: nobody else has the other end yet.
        let _ = inbox.try_send(Arrival::Told(Input::Ready));
        env.spawn(drive(env.clone(), machine, surroundings, arrivals));
        Responsible { inbox, flag, left }
    }

    /// The flag as it changes; none while it is lowered. Lowered for good once this is gone.
    pub fn flag(&self) -> watch::Receiver<Option<Flag>> {
        self.flag.clone()
    }

    /// The flag, if it is raised at this time of the host's clock. A process that was stopped for
    /// long must not believe what it knew, and finds out here before anybody has lowered it.
    pub fn held(&self, now: Time) -> Option<Flag> {
        self.flag.borrow().filter(|flag| now < flag.until)
    }

    /// Lowers the flag, and gives the lease up if it is held, so that another need not wait until
    /// it runs out. Only for once that what must run once has ended.
    pub async fn release(self) {
        // Refused only if it has left already.
        let _ = self.inbox.send(Arrival::Told(Input::Ended)).await;
        self.left.cancelled().await;
    }
}

/// What arrives at a flag.
#[derive(Debug)]
enum Arrival {
    Told(Input),
}

/// The shell of one flag.
struct Surroundings<E: Env, A> {
    key: Key,
    env: E,
    asks: A,
    inbox: mpsc::WeakSender<Arrival>,
    flag: watch::Sender<Option<Flag>>,
    /// Ends the ask under way, of whose answer nothing is to be made.
    under_way: CancellationToken,
    left: CancellationToken,
}

impl<E: Env, A: Asks> Surroundings<E, A> {
    fn ask(&mut self, request: Request, patience: Duration) {
        self.under_way.cancel();
        self.under_way = CancellationToken::new();
        let (asks, inbox, cut) = (self.asks.clone(), self.inbox.clone(), self.under_way.clone());
        self.env.spawn(async move {
            let answer = tokio::select! {
                biased;
                () = cut.cancelled() => return,
                answer = asks.ask(request, patience) => answer,
            };
            if let Some(inbox) = inbox.upgrade() {
                // Refused only if nobody strives any more.
                let _ = inbox.send(Arrival::Told(Input::Answered { answer })).await;
            }
        });
    }
}

impl<E: Env, A: Asks> Shell<Singular> for Surroundings<E, A> {
    type Arrival = Arrival;

    fn admit(&mut self, _: &Singular, Arrival::Told(input): Arrival) -> Option<Input> {
        Some(input)
    }

    fn act(&mut self, _: &Singular, _: Time, output: Output) -> Option<Input> {
        match output {
            Output::Ask { request, patience } => self.ask(request, patience),
            Output::Raise { fence, until } => {
                info!(lease = self.key.lease(), fence, "responsible");
                self.flag.send_replace(Some(Flag { fence, until }));
            }
            Output::Prolong { until } => self.flag.send_modify(|flag| {
                if let Some(flag) = flag {
                    flag.until = until;
                }
            }),
            Output::Lower => {
                info!(lease = self.key.lease(), "not responsible");
                self.flag.send_replace(None);
            }
            Output::Leave => self.left.cancel(),
        }
        None
    }
}

impl<E: Env, A> Drop for Surroundings<E, A> {
    fn drop(&mut self) {
        self.under_way.cancel();
        self.flag.send_replace(None);
        self.left.cancel();
    }
}
