//! One connection of a client: TLS, websocket, login, and many calls at once.
//!
//! Decides what a caller may believe. A call whose answer is missing is *unknown*: it may have been
//! done. Only one that never left this process is known not to have been, and says so.

mod calls;

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use portcullis_core::Time;
use portcullis_core::addresses::HostPort;
use portcullis_core::controller::Request as Wish;
use portcullis_core::queue;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite;

use crate::api::{Asked, LeaseList, Named, Outcome, Place, StatusReport};
use crate::env::Env;
use crate::rpc::{self, Farewell, Limits, Socket, code, nullable};
use crate::tls;
use calls::Call;

/// Most calls of one connection without an answer; more are not sent.
pub const CALLS_MAX: usize = 1_024;
/// Longest message taken from a controller, in bytes.
pub const MESSAGE_MAX: usize = 1024 * 1024;
/// What is waited for if a controller that says `try again` does not say for how long.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Longest time to say goodbye in.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// The controller could not be proved, or the stream broke meanwhile.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// What answered is no API port, or not one for this path.
    #[error("websocket: {0}")]
    Websocket(#[source] Box<tungstenite::Error>),
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
}

/// Why a call brought no response.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The controller answered with an error.
    #[error(transparent)]
    Answered(#[from] rpc::Error),
    /// It never left this process, and so had no effect.
    #[error("not sent")]
    NotSent,
    /// It left, and no answer came: nobody knows whether it had an effect.
    #[error("no answer: it may have been done")]
    Unknown,
}

/// Why a login did not succeed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotIn {
    /// The controller says no.
    #[error("refused: {0}")]
    Refused(rpc::Error),
    /// The controller says to come back.
    #[error("try again in {retry_after:?}")]
    TryAgain { retry_after: Duration },
    /// The controller says to go to one of these.
    #[error("redirected")]
    Redirected { servers: Vec<Vec<HostPort>>, authority: String },
    /// There was no answer.
    #[error("no answer to the login")]
    NoAnswer,
}

/// What a controller says to whoever it lets in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Welcome {
    /// Every controller's addresses.
    #[serde(default, deserialize_with = "nullable")]
    pub servers: Vec<Vec<HostPort>>,
    /// The cluster: `controller-UUID`.
    pub controller_tag: String,
    /// The version that the controller speaks.
    pub server_version: String,
}

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Such as `unit-mysql-0`.
    pub tag: String,
    /// How it is proved.
    pub password: String,
}

/// A connection; its clones are the same one. It closes when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct Line {
    calls: mpsc::Sender<Call>,
    farewell: Arc<OnceLock<Farewell>>,
}

/// Shakes hands over a stream that was dialled, and runs the connection as a task of the host.
///
/// `authority` is the host and port that the controller is told it was reached by.
pub async fn open<E: Env>(
    env: &E,
    stream: E::Stream,
    config: &Arc<ClientConfig>,
    authority: &str,
    place: &Place,
    deadline: Time,
) -> Result<Line, NotOpened> {
    let path = match place {
        Place::Controller => "/api".to_owned(),
        Place::Model(uuid) => format!("/model/{uuid}/api"),
    };
    let limits = Limits { message_max: MESSAGE_MAX, outbox_max: CALLS_MAX };
    let shake = async {
        let stream = tls::dial_api(config, stream).await.map_err(NotOpened::Tls)?;
        let url = format!("wss://{authority}{path}");
        client_async_with_config(url, stream, Some(limits.websocket()))
            .await
            .map_err(|error| NotOpened::Websocket(Box::new(error)))
    };
    let (websocket, _) = within(env, deadline, shake).await.ok_or(NotOpened::TimedOut)??;
    let (calls, inbox) = mpsc::channel(CALLS_MAX);
    let farewell = Arc::new(OnceLock::new());
    let socket = Socket::new(websocket, limits);
    env.spawn(calls::run(env.clone(), socket, inbox, farewell.clone(), CLOSE_WITHIN));
    Ok(Line { calls, farewell })
}

impl Line {
    /// Returns when the connection is gone, whoever ended it, with what the controller said then.
    pub async fn gone(&self) -> Option<Farewell> {
        self.calls.closed().await;
        self.farewell.get().cloned()
    }

    /// Logs in.
    pub async fn login(&self, pass: &Pass, deadline: Time) -> Result<Welcome, NotIn> {
        let params = json!({ "auth-tag": pass.tag, "credentials": pass.password });
        match self.read("Admin", 3, "Login", params, Some(deadline)).await {
            Ok(welcome) => Ok(welcome),
            Err(Failure::Answered(error)) if error.code == code::TRY_AGAIN => {
                Err(NotIn::TryAgain { retry_after: retry_after(&error) })
            }
            // With information, it is to strangers, and left to whoever uses the client.
            Err(Failure::Answered(error))
                if error.code == code::REDIRECT && error.info.is_none() =>
            {
                self.redirect(deadline).await
            }
            Err(Failure::Answered(error)) => Err(NotIn::Refused(error)),
            Err(Failure::NotSent | Failure::Unknown) => Err(NotIn::NoAnswer),
        }
    }

    /// Says that this client is there.
    pub async fn ping(&self, deadline: Time) -> Result<(), Failure> {
        self.call("Pinger", 1, "Ping", json!({}), Some(deadline)).await.map(|_| ())
    }

    /// Asks the lease service, and says exactly what it answered; an error is a request that is not
    /// allowed or not understood. A wait for a release ends with the release or the connection,
    /// everything else by the deadline.
    pub async fn ask(
        &self,
        wish: &Wish,
        patience: Duration,
        deadline: Time,
    ) -> Result<queue::Answer, rpc::Error> {
        let deadline = match wish {
            Wish::Apply(_) => Some(deadline),
            Wish::Wait(_) => None,
        };
        let (method, asked) = Asked::for_wish(wish, patience);
        match self.read::<Outcome>("Portcullis", 1, method, given(&asked), deadline).await {
            Ok(outcome) => Ok(outcome.into()),
            // The connection has no room for another request: the lease service never saw it.
            Err(Failure::Answered(error)) if error.code == code::TRY_AGAIN => {
                Ok(queue::Answer::Overloaded { retry_after: retry_after(&error) })
            }
            Err(Failure::Answered(error)) => Err(error),
            Err(Failure::NotSent) => Ok(queue::Answer::Expired),
            Err(Failure::Unknown) => Ok(queue::Answer::Unknown),
        }
    }

    /// Reads one page of the leases: those of a namespace or model, if given, after one of them.
    pub async fn leases(
        &self,
        namespace: Option<&str>,
        model: Option<&str>,
        after: Option<&Named>,
        deadline: Time,
    ) -> Result<LeaseList, Failure> {
        let params = json!({ "namespace": namespace, "model": model, "after": after });
        self.read("Portcullis", 1, "List", params, Some(deadline)).await
    }

    /// Reads the figures of the controller at the other end.
    pub async fn status(&self, deadline: Time) -> Result<StatusReport, Failure> {
        self.read("Portcullis", 1, "Status", json!({}), Some(deadline)).await
    }

    /// Makes a watcher of where controllers are, by the facade for this kind of agent.
    pub async fn watch_addresses(
        &self,
        facade: &'static str,
        version: u64,
    ) -> Result<Whereabouts, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Made {
            watcher_id: String,
        }
        let made = self.read(facade, version, "WatchAPIHostPorts", json!({}), None).await;
        let Made { watcher_id } = made?;
        Ok(Whereabouts { line: self.clone(), facade, version, watcher: watcher_id })
    }

    /// Calls a method. Without a deadline it ends with its answer or the connection.
    pub async fn call(
        &self,
        facade: &str,
        version: u64,
        method: &str,
        params: Value,
        deadline: Option<Time>,
    ) -> Result<Value, Failure> {
        self.call_on(facade, version, "", method, params, deadline).await
    }

    /// Calls a method of one object, such as a watcher.
    pub async fn call_on(
        &self,
        facade: &str,
        version: u64,
        id: &str,
        method: &str,
        params: Value,
        deadline: Option<Time>,
    ) -> Result<Value, Failure> {
        let request = rpc::Request {
            facade: facade.into(),
            id: id.into(),
            version,
            method: method.into(),
            params,
            ..rpc::Request::default()
        };
        let (reply, answer) = oneshot::channel();
        // No room means that the task has fallen behind by as much as it may have under way.
        self.calls.try_send(Call { request, deadline, reply }).map_err(|_| Failure::NotSent)?;
        // The task answers every call; if it was dropped with its host, nobody knows.
        answer.await.unwrap_or(Err(Failure::Unknown))
    }

    async fn read<T: for<'a> Deserialize<'a>>(
        &self,
        facade: &str,
        version: u64,
        method: &str,
        params: Value,
        deadline: Option<Time>,
    ) -> Result<T, Failure> {
        let response = self.call(facade, version, method, params, deadline).await?;
        T::deserialize(&response).map_err(|error| {
            tracing::warn!(facade, method, %error, "a response that makes no sense");
            Failure::Unknown
        })
    }

    async fn redirect(&self, deadline: Time) -> Result<Welcome, NotIn> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Info {
            servers: Vec<Vec<HostPort>>,
            #[serde(default, deserialize_with = "nullable")]
            ca_cert: String,
        }
        match self.read("Admin", 3, "RedirectInfo", json!({}), Some(deadline)).await {
            Ok(Info { servers, ca_cert: authority }) => {
                Err(NotIn::Redirected { servers, authority })
            }
            Err(Failure::Answered(error)) => Err(NotIn::Refused(error)),
            Err(Failure::NotSent | Failure::Unknown) => Err(NotIn::NoAnswer),
        }
    }
}

/// Tells where controllers are, and again at every change.
#[derive(Debug)]
pub struct Whereabouts {
    line: Line,
    facade: &'static str,
    version: u64,
    watcher: String,
}

impl Whereabouts {
    /// Every controller's addresses; the first time at once, then when they have changed. Ends with
    /// the connection.
    pub async fn next(&mut self) -> Result<Vec<Vec<HostPort>>, Failure> {
        #[derive(Deserialize)]
        struct Told {
            #[serde(default, deserialize_with = "nullable")]
            servers: Vec<Vec<HostPort>>,
        }
        let watcher = &self.watcher;
        self.line.call_on("NotifyWatcher", 1, watcher, "Next", json!({}), None).await?;
        let told = self.line.read(self.facade, self.version, "APIHostPorts", json!({}), None);
        let Told { servers } = told.await?;
        Ok(servers)
    }
}

/// How long an error says to wait before the next try.
fn retry_after(error: &rpc::Error) -> Duration {
    let seconds = error.info.as_ref().and_then(|info| info.get("retry-after")?.as_f64());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(RETRY_AFTER)
}

fn given(params: &impl Serialize) -> Value {
    json!(params)
}

/// What comes of it, if it comes by the deadline.
async fn within<E: Env, T>(env: &E, deadline: Time, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = env.sleep_until(deadline) => None,
        done = work => Some(done),
    }
}
