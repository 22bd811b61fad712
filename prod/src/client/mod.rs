//! The client library: core's [`Agent`] with a network around it, for agents and tools alike.
//!
//! The machine decides where to dial, when to come back and what an answer means; what is here dials,
//! logs in and calls.

pub mod remember;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::addresses;
use portcullis_core::agent::{self, Agent, Input, Output};
use portcullis_core::controller::Request;
use portcullis_core::queue::Answer;
use portcullis_core::{Address, Time};
use rustls::ClientConfig;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::api::Place;
use crate::drive::{Shell, drive};
use crate::env::Env;
use crate::rpc::Farewell;
use crate::tls;
use wire::{Failure, Line, NotIn, Pass};

/// Most arrivals that wait for the machine; who has another one waits.
const INBOX_MAX: usize = 1_024;
/// How much longer than its patience an answer is waited for, for the way there and back.
const ON_THE_WAY: Duration = Duration::from_secs(2);

/// Everything a client needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Limits of the machine, and the lease to strive for, if any.
    pub agent: agent::Config,
    /// Where controllers are. At least one.
    pub addresses: Vec<Address>,
    /// How controllers are proved; see [`tls::agent_client`](crate::tls::agent_client).
    pub tls: Arc<ClientConfig>,
    /// Who logs in.
    pub pass: Pass,
    /// What about.
    pub place: Place,
    /// Whether to be told of every change of where controllers are, and by which facade: agents
    /// are, users learn it with each login.
    pub follows: Option<Follows>,
}

/// The facade that tells an agent of its kind where controllers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// Machines.
    Machiner,
    /// Units.
    Uniter,
}

impl Follows {
    /// The one for whoever has this tag; none for users.
    pub fn of(tag: &str) -> Option<Follows> {
        match tag.split_once('-')?.0 {
            "machine" => Some(Follows::Machiner),
            "unit" => Some(Follows::Uniter),
            _ => None,
        }
    }

    /// Its name, and the latest version that controllers have.
    fn facade(self) -> (&'static str, u64) {
        match self {
            Follows::Machiner => ("Machiner", 5),
            Follows::Uniter => ("Uniter", 19),
        }
    }
}

/// How a client stands.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The connection, once a controller has let the client in.
    pub line: Option<Line>,
    /// Why the last attempt failed, in words.
    pub trouble: Option<String>,
    /// Whether a controller has said that this name and password will not do.
    pub refused: bool,
    /// The fencing number, while the agent leads.
    pub leads: Option<u64>,
    /// Where that connection leads, or the last one did.
    pub address: Option<Address>,
    /// How often a controller has let the client in.
    pub logins: u64,
    /// How often one that had let it in has sent it elsewhere, and when it did last.
    pub moves: u64,
    pub moved_at: Option<Time>,
    /// How often one has sent it elsewhere that had not let it in.
    pub redirects: u64,
    /// Where controllers are, in the order in which to try them; empty until some are told of that
    /// the client was not started with. See [`remember`].
    pub addresses: Vec<Address>,
}

/// A running client; its clones are the same one. It stops when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct Client {
    inbox: mpsc::Sender<Arrival>,
    standing: watch::Receiver<Standing>,
}

impl Client {
    /// Starts to look for a controller.
    pub fn start<E: Env>(env: &E, config: Config) -> Client {
        let (inbox, arrivals) = mpsc::channel(INBOX_MAX);
        let (standing_out, standing) = watch::channel(Standing::default());
        let machine = Agent::new(config.agent.clone(), config.addresses.clone(), env.seed());
        let surroundings = Surroundings {
            dial_within: config.agent.dialer.dial_within,
            config: Arc::new(config),
            env: env.clone(),
            inbox: inbox.downgrade(),
            generation: 0,
            line: None,
            cut: CancellationToken::new(),
            trust: BTreeMap::new(),
            dialled: None,
            replies: BTreeMap::new(),
            tokens: 0,
            standing: standing_out,
        };
        let first = inbox.clone();
        let driven = drive(env.clone(), machine, surroundings, arrivals);
        env.spawn(async move {
            // The inbox is empty: there is room.
            let _ = first.try_send(Arrival::Told(Input::Started));
            drop(first);
            driven.await;
        });
        Client { inbox, standing }
    }

    /// Asks, over whatever connection there is or comes by then, and waits for the one answer.
    pub async fn ask(&self, request: Request, patience: Duration) -> Answer {
        let (reply, answer) = oneshot::channel();
        let asked = Arrival::Asked { request, patience, reply };
        if self.inbox.send(asked).await.is_err() {
            return Answer::Cancelled;
        }
        answer.await.unwrap_or(Answer::Unknown)
    }

    /// How the client stands, as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Drops the connection as if the network had.
    pub async fn cut(&self) {
        // Refused only if the client has stopped, and then there is none.
        let _ = self.inbox.send(Arrival::Cut).await;
    }
}

/// What arrives at a client.
enum Arrival {
    /// Something for the machine, whichever connection is up.
    Told(Input),
    /// A controller sends the client to others, which an authority in PEM proves.
    Redirected { generation: u64, to: Vec<Address>, authority: String },
    /// A controller ends the connection, and sends the client to others of its own cluster.
    Moved { generation: u64, to: Vec<Address> },
    /// Something about one connection; of no interest if there is another by now.
    Heard { generation: u64, input: Input },
    /// A dial has brought a connection.
    Opened { generation: u64, line: Line },
    /// An attempt has failed.
    Trouble { generation: u64, input: Input, trouble: String, refused: bool },
    /// The client's user asks.
    Asked { request: Request, patience: Duration, reply: oneshot::Sender<Answer> },
    /// The client's user drops the connection.
    Cut,
}

/// The shell of one client.
struct Surroundings<E: Env> {
    config: Arc<Config>,
    dial_within: Duration,
    env: E,
    inbox: mpsc::WeakSender<Arrival>,
    /// Counts the connections, so that what is heard of an old one is not taken for the present.
    generation: u64,
    line: Option<Line>,
    /// Ends the tasks of the present connection.
    cut: CancellationToken,
    /// What proves the controllers that the client was sent to, where that is not the configured
    /// authority. One redirect forgets what another said.
    trust: BTreeMap<Address, Arc<ClientConfig>>,
    /// The controller of the present connection, and what proves it if that is not the configured
    /// authority.
    dialled: Option<(Address, Option<Arc<ClientConfig>>)>,
    replies: BTreeMap<u64, oneshot::Sender<Answer>>,
    tokens: u64,
    standing: watch::Sender<Standing>,
}

impl<E: Env> Surroundings<E> {
    /// Runs a task of the present connection; it ends with that, and what it says comes back.
    fn run(&self, task: impl Future<Output = Arrival> + Send + 'static) {
        let (inbox, cut) = (self.inbox.clone(), self.cut.clone());
        self.env.spawn(async move {
            let arrival = tokio::select! {
                biased;
                () = cut.cancelled() => return,
                arrival = task => arrival,
            };
            if let Some(inbox) = inbox.upgrade() {
                // Refused only if the client has stopped.
                let _ = inbox.send(arrival).await;
            }
        });
    }

    fn hang_up(&mut self) {
        self.generation += 1;
        self.cut.cancel();
        self.cut = CancellationToken::new();
        self.line = None;
        self.standing.send_modify(|standing| standing.line = None);
    }

    fn dial(&mut self, now: Time, address: Address) {
        self.hang_up();
        let (env, config, generation) = (self.env.clone(), self.config.clone(), self.generation);
        let deadline = now + self.dial_within;
        let trusted = self.trust.get(&address).cloned();
        let tls = trusted.clone().unwrap_or_else(|| config.tls.clone());
        self.dialled = Some((address.clone(), trusted));
        self.run(async move {
            let opened = async {
                let stream = env.connect(&address).await.map_err(|error| error.to_string())?;
                wire::open(&env, stream, &tls, address.as_str(), &config.place, deadline)
                    .await
                    .map_err(|error| error.to_string())
            };
            match opened.await {
                Ok(line) => Arrival::Opened { generation, line },
                Err(error) => Arrival::Trouble {
                    generation,
                    input: Input::Failed,
                    trouble: format!("{address}: {error}"),
                    refused: false,
                },
            }
        });
    }

    fn opened(&mut self, line: Line) -> Input {
        let (gone, generation) = (line.clone(), self.generation);
        self.run(async move {
            match gone.gone().await {
                Some(Farewell::Redirect(to)) => Arrival::Moved { generation, to },
                Some(Farewell::Closed(_)) | None => {
                    Arrival::Heard { generation, input: Input::Disconnected }
                }
            }
        });
        self.line = Some(line);
        Input::Connected
    }

    /// Goes where the controller says, and believes there whom it says: it was proved itself.
    fn redirected(&mut self, to: Vec<Address>, authority: &str) -> Input {
        self.trust.clear();
        let said = match tls::trusting(authority) {
            Ok(tls) => {
                self.trust = to.iter().map(|address| (address.clone(), tls.clone())).collect();
                format!("redirected to {} addresses", to.len())
            }
            Err(error) => format!("redirected, with an authority that is none: {error}"),
        };
        tracing::debug!(said, "no connection");
        self.standing.send_modify(|standing| {
            standing.trouble = Some(said);
            standing.redirects += 1;
        });
        // By the configured authority, if theirs is none: that may well be the same.
        Input::Redirected { to }
    }

    /// Goes where the controller says, which is proved as it was proved itself.
    fn moved(&mut self, to: Vec<Address>) -> Input {
        if let Some((_, Some(tls))) = &self.dialled {
            self.trust.extend(to.iter().map(|address| (address.clone(), tls.clone())));
        }
        let now = self.env.now();
        self.standing.send_modify(|standing| match standing.line.take() {
            Some(_) => {
                standing.moves += 1;
                standing.moved_at = Some(now);
            }
            None => standing.redirects += 1,
        });
        Input::Redirected { to }
    }

    /// The cluster that has let the client in is proved everywhere as it was here.
    fn trust_where_it_is(&mut self, addresses: &[Address]) {
        self.trust.clear();
        if let Some((here, Some(tls))) = &self.dialled {
            let known = addresses.iter().chain([here]);
            self.trust.extend(known.map(|address| (address.clone(), tls.clone())));
        }
    }

    fn login(&self, now: Time) {
        let Some(line) = self.line.clone() else { return };
        let (pass, generation) = (self.config.pass.clone(), self.generation);
        let deadline = now + self.dial_within;
        self.run(async move {
            let trouble = |input, error: NotIn| {
                let refused = matches!(error, NotIn::Refused(_));
                Arrival::Trouble { generation, input, trouble: error.to_string(), refused }
            };
            match line.login(&pass, deadline).await {
                Ok(welcome) => {
                    let addresses = addresses::to_dial(&welcome.servers);
                    Arrival::Heard { generation, input: Input::LoggedIn { addresses } }
                }
                Err(error) => match error {
                    NotIn::TryAgain { retry_after } => {
                        trouble(Input::Refused { retry_after }, error)
                    }
                    NotIn::Redirected { servers, authority } => Arrival::Redirected {
                        generation,
                        to: addresses::to_dial(&servers),
                        authority,
                    },
                    NotIn::Refused(_) => {
                        trouble(Input::Refused { retry_after: Duration::ZERO }, error)
                    }
                    NotIn::NoAnswer => trouble(Input::Disconnected, error),
                },
            }
        });
    }

    /// Has the controller tell of every change of where controllers are, for as long as the
    /// connection lasts.
    fn follow(&self) {
        let (Some(line), Some(follows)) = (self.line.clone(), self.config.follows) else { return };
        let (inbox, generation, cut) = (self.inbox.clone(), self.generation, self.cut.clone());
        let told = async move {
            let (facade, version) = follows.facade();
            let mut watcher = line.watch_addresses(facade, version).await?;
            loop {
                let servers = watcher.next().await?;
                let input = Input::Told { addresses: addresses::to_dial(&servers) };
                let Some(inbox) = inbox.upgrade() else { return Ok(()) };
                // Refused only if the client has stopped.
                let _ = inbox.send(Arrival::Heard { generation, input }).await;
            }
        };
        self.env.spawn(async move {
            let told: Result<(), Failure> = tokio::select! {
                biased;
                () = cut.cancelled() => return,
                told = told => told,
            };
            if let Err(error) = told {
                tracing::debug!(%error, "not told of where controllers are until the next login");
            }
        });
    }

    fn ping(&self, now: Time) {
        let Some(line) = self.line.clone() else { return };
        let (deadline, generation) = (now + self.config.agent.ping_within, self.generation);
        self.run(async move {
            match line.ping(deadline).await {
                Ok(()) => Arrival::Heard { generation, input: Input::Ponged },
                // The machine has its own deadline, and hangs up by it.
                Err(_) => std::future::pending().await,
            }
        });
    }

    fn send(&self, now: Time, serial: u64, request: Request, patience: Duration) {
        let Some(line) = self.line.clone() else { return };
        let (deadline, generation) = (now + patience + ON_THE_WAY, self.generation);
        self.run(async move {
            let answer = line.ask(&request, patience, deadline).await.unwrap_or_else(|error| {
                tracing::warn!(%request, %error, "not allowed");
                // Like an ask that ran out of time, it had no effect and never will.
                Answer::Expired
            });
            Arrival::Heard { generation, input: Input::Answered { serial, answer } }
        });
    }
}

impl<E: Env> Shell<Agent> for Surroundings<E> {
    type Arrival = Arrival;

    fn admit(&mut self, _: &Agent, arrival: Arrival) -> Option<Input> {
        match arrival {
            Arrival::Told(input) => Some(input),
            Arrival::Heard { generation, .. }
            | Arrival::Opened { generation, .. }
            | Arrival::Redirected { generation, .. }
            | Arrival::Moved { generation, .. }
            | Arrival::Trouble { generation, .. }
                if generation != self.generation =>
            {
                None
            }
            Arrival::Heard { input: Input::Disconnected, .. } => {
                // Nobody is to see a connection that is gone.
                self.hang_up();
                Some(Input::Disconnected)
            }
            Arrival::Heard { input, .. } => {
                if let Input::LoggedIn { addresses } = &input {
                    self.trust_where_it_is(addresses);
                    let line = self.line.clone();
                    let address = self.dialled.as_ref().map(|(address, _)| address.clone());
                    self.standing.send_modify(|standing| {
                        standing.logins += 1;
                        (standing.line, standing.address) = (line, address);
                        (standing.trouble, standing.refused) = (None, false);
                    });
                    self.follow();
                }
                Some(input)
            }
            Arrival::Opened { line, .. } => Some(self.opened(line)),
            Arrival::Redirected { to, authority, .. } => Some(self.redirected(to, &authority)),
            Arrival::Moved { to, .. } => Some(self.moved(to)),
            Arrival::Trouble { input, trouble, refused, .. } => {
                tracing::debug!(trouble, "no connection");
                self.standing.send_modify(|standing| {
                    standing.trouble = Some(trouble);
                    standing.refused = refused;
                });
                Some(input)
            }
            Arrival::Asked { request, patience, reply } => {
                self.tokens += 1;
                self.replies.insert(self.tokens, reply);
                Some(Input::Asked { token: self.tokens, request, patience })
            }
            Arrival::Cut => {
                self.hang_up();
                Some(Input::Disconnected)
            }
        }
    }

    fn act(&mut self, _: &Agent, now: Time, output: Output) -> Option<Input> {
        match output {
            Output::Dial { address } => self.dial(now, address),
            Output::Login => self.login(now),
            Output::Hangup => self.hang_up(),
            Output::Ping => self.ping(now),
            Output::Remember { addresses } => {
                self.standing.send_modify(|standing| standing.addresses = addresses);
            }
            Output::Send { serial, request, patience } => {
                self.send(now, serial, request, patience);
            }
            Output::Answer { token, answer } => {
                if let Some(reply) = self.replies.remove(&token) {
                    // Whoever asked may have lost interest.
                    let _ = reply.send(answer);
                }
            }
            Output::Lead { fence } => {
                self.standing.send_modify(|standing| standing.leads = Some(fence));
            }
            Output::Follow => self.standing.send_modify(|standing| standing.leads = None),
        }
        None
    }
}
