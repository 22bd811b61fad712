//! One websocket: its requests, each beside the others, and its one writer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use portcullis_core::controller::Request as Wish;
use portcullis_core::queue::Answer;
use portcullis_core::{AskId, ConnectionId};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::watchers::Watchers;
use super::{Cluster, Config, Elsewhere, Handler, Place, Verdict, facades, method, models};
use crate::credentials::Identity;
use crate::env::Env;
use crate::metrics::Limit;
use crate::rpc::{self, Error, Farewell, Incoming, Malformed, Request, Socket, code};

/// What Juju says when it leaves it to the user whether to go elsewhere.
const ELSEWHERE: &str = "redirection to alternative server required";

/// One connection's stay.
pub(super) struct Visit<'a, H> {
    pub(super) handler: &'a H,
    pub(super) config: &'a Config,
    pub(super) connection: ConnectionId,
    pub(super) place: Place,
}

/// How far a party has come. Replaced by the answer to its login, and by nothing else.
#[derive(Clone, Debug)]
enum Phase {
    /// Has not logged in; knows nothing but `Admin`.
    Stranger,
    /// Its login is being decided.
    LoggingIn,
    /// Was sent elsewhere, and may ask where.
    Redirected(Elsewhere),
    /// Is in, and knows everything but `Admin`.
    Known { identity: Arc<Identity>, runs_controller: bool },
}

/// Everything that a method may know of whoever calls it.
pub(super) struct Caller<'a, H> {
    pub(super) handler: &'a H,
    pub(super) config: &'a Config,
    pub(super) connection: ConnectionId,
    pub(super) place: &'a Place,
    pub(super) identity: Arc<Identity>,
    pub(super) runs_controller: bool,
    pub(super) watchers: &'a Watchers,
    serials: &'a AtomicU64,
}

/// What lasts as long as the connection.
#[derive(Default)]
struct Kept {
    /// Numbers the asks.
    serials: AtomicU64,
    watchers: Watchers,
}

impl<H: Handler> Caller<'_, H> {
    /// What clients may know of the whole at this moment.
    pub(super) fn cluster(&self) -> Arc<Cluster> {
        self.handler.cluster().borrow().clone()
    }

    /// Asks the controller under the connection's next number.
    pub(super) async fn ask(&self, wish: Wish, patience: Duration) -> Answer {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let ask = AskId { connection: self.connection, serial };
        self.handler.ask(ask, wish, patience).await
    }

    /// Refuses a bulk call as a whole if it has more items than may be.
    pub(super) fn bounded<T>(&self, items: &[T]) -> Result<(), Error> {
        let (given, most) = (items.len(), self.config.items_max);
        if given <= most {
            self.handler.metrics().most(Limit::Items, given);
            return Ok(());
        }
        self.handler.metrics().refused(Limit::Items);
        let message = format!("{given} items, over the {most} allowed");
        Err(Error::new(message, code::BAD_REQUEST))
    }
}

/// What a request comes down to.
enum Work<'a, H> {
    /// What to answer is known at once.
    Answer(rpc::Outcome),
    /// A login must be decided.
    Login(super::Login),
    /// A method must be called.
    Call(Caller<'a, H>),
}

/// A request that has come to its end.
struct Done {
    answer: rpc::Answer,
    phase: Option<Phase>,
}

/// How a visit ends.
enum End {
    /// With a word to the other side.
    Said { code: CloseCode, reason: String },
    /// Without: there is nobody to hear it.
    Gone,
}

impl<H: Handler> Visit<'_, H> {
    /// Serves the connection until either side ends it.
    pub(super) async fn run<E, S>(
        &self,
        env: E,
        socket: &mut Socket<S>,
        hangup: Pin<&mut (impl Future<Output = Farewell> + Send)>,
    ) where
        E: Env,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if let End::Said { code, reason } = self.serve(&env, socket, hangup).await {
            tracing::debug!(connection = self.connection.0, reason, "connection closed");
            let deadline = env.now() + self.config.close_within;
            tokio::select! {
                biased;
                () = env.sleep_until(deadline) => {}
                () = socket.close(code, &reason) => {}
            }
        }
    }

    async fn serve<E, S>(
        &self,
        env: &E,
        socket: &mut Socket<S>,
        mut hangup: Pin<&mut (impl Future<Output = Farewell> + Send)>,
    ) -> End
    where
        E: Env,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let kept = Kept::default();
        let mut phase = Phase::Stranger;
        let mut running = FuturesUnordered::new();
        loop {
            let room = socket.room() > 0;
            let incoming = tokio::select! {
                biased;
                farewell = &mut hangup => {
                    let (code, reason) = farewell.frame();
                    return End::Said { code, reason };
                }
                Some(done) = running.next(), if room => {
                    let Done { answer, phase: next } = done;
                    phase = next.unwrap_or(phase);
                    socket.push(answer.request_id, answer.write());
                    continue;
                }
                incoming = socket.next() => incoming,
            };
            let text = match incoming {
                Incoming::Text(text) => text,
                Incoming::Room => continue,
                Incoming::Foul { code, what } => {
                    if code == CloseCode::Size {
                        self.handler.metrics().refused(Limit::Message);
                    }
                    // The door paces how often this can be said.
                    tracing::info!(connection = self.connection.0, what, "foul, closed");
                    return End::Said { code, reason: what };
                }
                Incoming::Gone => return End::Gone,
            };
            tracing::trace!(connection = self.connection.0, "request of {} bytes", text.len());
            self.handler.metrics().most(Limit::Message, text.len());
            let request = match Request::read(&text) {
                Ok(request) => request,
                Err(Malformed::Message(reason)) => {
                    return End::Said { code: CloseCode::Invalid, reason };
                }
                Err(Malformed::Request { dialect, request_id, what }) => {
                    let outcome = Err(Error::new(what, code::BAD_REQUEST));
                    let answer = rpc::Answer { dialect, request_id, outcome };
                    socket.push(request_id, answer.write());
                    continue;
                }
            };
            if running.len() >= self.config.requests_max {
                self.handler.metrics().refused(Limit::Requests);
                let outcome = Err(try_again(self.config.retry_after));
                socket.push(request.request_id, answer(&request, outcome).write());
                continue;
            }
            let work = self.work(&phase, &request, &kept);
            if let Work::Login(_) = work {
                phase = Phase::LoggingIn;
            }
            // The set has room for one more request than it holds: in the set itself that would be
            // as large as the largest, for as long as the connection idles.
            running.push(Box::pin(self.perform(env, work, request)));
            self.handler.metrics().most(Limit::Requests, running.len());
        }
    }

    /// Decides what is to be done for a request.
    fn work<'a>(&'a self, phase: &Phase, request: &Request, kept: &'a Kept) -> Work<'a, H> {
        let error = |error| Work::Answer(Err(error));
        match (phase, request.facade.as_str()) {
            (Phase::Known { identity, runs_controller }, facade) if facade != "Admin" => {
                match facades::known(&self.place, request) {
                    Err(unknown) => error(unknown),
                    Ok(()) => Work::Call(Caller {
                        handler: self.handler,
                        config: self.config,
                        connection: self.connection,
                        place: &self.place,
                        identity: Arc::clone(identity),
                        runs_controller: *runs_controller,
                        watchers: &kept.watchers,
                        serials: &kept.serials,
                    }),
                }
            }
            (Phase::Known { .. }, _) => error(method::unknown(request)),
            (Phase::Stranger | Phase::LoggingIn | Phase::Redirected(_), "Admin") => {
                self.admin(phase, request)
            }
            (Phase::Stranger | Phase::LoggingIn | Phase::Redirected(_), _) => {
                error(method::unknown(request))
            }
        }
    }

    /// Decides what is to be done for a request to `Admin` before anybody is in.
    fn admin<'a>(&'a self, phase: &Phase, request: &Request) -> Work<'a, H> {
        let error = |message: &str, code| Work::Answer(Err(Error::new(message, code)));
        if request.version != 3 {
            let message = "this version of Juju does not support login from old clients";
            return error(message, code::NOT_SUPPORTED);
        }
        match (request.method.as_str(), phase) {
            ("Login", Phase::LoggingIn) => error("already logged in", ""),
            ("Login", _) => match method::login(&self.place, request) {
                Ok(login) => Work::Login(login),
                Err(malformed) => Work::Answer(Err(malformed)),
            },
            ("RedirectInfo", Phase::Redirected(to)) => {
                Work::Answer(Ok(json!({ "servers": to.servers, "ca-cert": to.authority })))
            }
            ("RedirectInfo", _) => error("not redirected", ""),
            (_, _) => Work::Answer(Err(method::no_method(request))),
        }
    }

    async fn perform<E: Env>(&self, env: &E, work: Work<'_, H>, request: Request) -> Done {
        let since = env.now();
        let (phase, outcome) = match work {
            Work::Answer(outcome) => (None, outcome),
            Work::Call(caller) => (None, method::call(&caller, &request).await),
            Work::Login(login) => {
                let verdict = self.handler.login(self.connection, login).await;
                let (phase, outcome) = self.judged(verdict);
                (Some(phase), outcome)
            }
        };
        self.handler.metrics().called(&request, &outcome, env.now().since(since));
        Done { answer: answer(&request, outcome), phase }
    }

    /// What a verdict makes of the party, and what it is told.
    fn judged(&self, verdict: Verdict) -> (Phase, rpc::Outcome) {
        let error = |message: &str, code| Err(Error::new(message, code));
        match verdict {
            Verdict::Welcome { identity, runs_controller, first } => {
                let cluster = self.handler.cluster().borrow().clone();
                let welcome = method::welcome(&self.place, &identity, &cluster, first);
                let identity = Arc::new(identity);
                (Phase::Known { identity, runs_controller }, Ok(welcome))
            }
            Verdict::Refused => {
                (Phase::Stranger, error("invalid entity name or password", code::UNAUTHORIZED))
            }
            Verdict::NoModel { uuid } => (Phase::Stranger, Err(models::no_model(&uuid))),
            Verdict::TryAgain { retry_after } => (Phase::Stranger, Err(try_again(retry_after))),
            Verdict::Redirect(to) => {
                // libjuju asks where to, and goes there by itself, only if it was not told yet.
                let info = to.consent.then(|| {
                    let mut info = json!({ "servers": to.servers, "ca-cert": to.authority });
                    if let Some(uuid) = &to.controller {
                        info["controller-tag"] = json!(format!("controller-{uuid}"));
                    }
                    info
                });
                let text = if to.consent { ELSEWHERE } else { code::REDIRECT };
                (Phase::Redirected(to), Err(Error { info, ..Error::new(text, code::REDIRECT) }))
            }
        }
    }
}

/// What somebody is told who must come back later.
pub(super) fn try_again(retry_after: Duration) -> Error {
    let info: Value = json!({ "retry-after": retry_after.as_secs_f64() });
    Error { info: Some(info), ..Error::new(code::TRY_AGAIN, code::TRY_AGAIN) }
}

fn answer(request: &Request, outcome: rpc::Outcome) -> rpc::Answer {
    rpc::Answer { dialect: request.dialect, request_id: request.request_id, outcome }
}
