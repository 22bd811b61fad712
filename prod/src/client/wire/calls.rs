//! The task of a connection: it numbers the calls, writes them, and gives each its one result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use portcullis_core::Time;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{CALLS_MAX, Failure};
use crate::env::Env;
use crate::rpc::{Answer, Farewell, Incoming, Request, Socket};

/// One call on its way to the task.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) deadline: Option<Time>,
    pub(super) reply: oneshot::Sender<Result<Value, Failure>>,
}

/// A call without a result.
struct Pending {
    deadline: Option<Time>,
    reply: oneshot::Sender<Result<Value, Failure>>,
}

struct Calls<S> {
    socket: Socket<S>,
    pending: BTreeMap<u64, Pending>,
    /// The same by deadline, where there is one.
    deadlines: BTreeSet<(Time, u64)>,
    numbers: u64,
}

/// Runs a connection until either side ends it. Every call gets a result.
pub(super) async fn run<E, S>(
    env: E,
    socket: Socket<S>,
    mut inbox: mpsc::Receiver<Call>,
    farewell: Arc<OnceLock<Farewell>>,
    close_within: Duration,
) where
    E: Env,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut calls =
        Calls { socket, pending: BTreeMap::new(), deadlines: BTreeSet::new(), numbers: 0 };
    let goodbye = calls.serve(&env, &mut inbox).await;
    if let Some(said) = calls.socket.farewell() {
        // There is one end of a connection, and nobody else tells of it.
        let _ = farewell.set(said);
    }
    inbox.close();
    while let Some(call) = inbox.recv().await {
        // Whoever has stopped listening wants no result.
        let _ = call.reply.send(Err(Failure::NotSent));
    }
    let numbers: Vec<u64> = calls.pending.keys().copied().collect();
    numbers.into_iter().for_each(|number| calls.give_up(number));
    if let Some((code, reason)) = goodbye {
        let deadline = env.now() + close_within;
        tokio::select! {
            biased;
            () = env.sleep_until(deadline) => {}
            () = calls.socket.close(code, &reason) => {}
        }
    }
}

impl<S> Calls<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Returns what to say at the end, if there is anybody to say it to.
    async fn serve<E: Env>(
        &mut self,
        env: &E,
        inbox: &mut mpsc::Receiver<Call>,
    ) -> Option<(CloseCode, String)> {
        loop {
            let first = self.deadlines.first().copied();
            let due = async {
                match first {
                    Some((deadline, number)) => {
                        env.sleep_until(deadline).await;
                        number
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                number = due => self.give_up(number),
                call = inbox.recv() => match call {
                    Some(call) => self.send(call),
                    None => return Some((CloseCode::Normal, String::new())),
                },
                incoming = self.socket.next() => match incoming {
                    Incoming::Text(text) => {
                        if let Err(malformed) = self.answered(&text) {
                            return Some((CloseCode::Invalid, malformed));
                        }
                    }
                    Incoming::Room => {}
                    Incoming::Foul { code, what } => return Some((code, what)),
                    Incoming::Gone => return None,
                },
            }
        }
    }

    fn send(&mut self, call: Call) {
        let Call { mut request, deadline, reply } = call;
        if self.pending.len() >= CALLS_MAX {
            self.forget_abandoned();
        }
        if self.pending.len() >= CALLS_MAX || self.socket.room() == 0 {
            // Whoever has stopped listening wants no result.
            let _ = reply.send(Err(Failure::NotSent));
            return;
        }
        self.numbers += 1;
        request.request_id = self.numbers;
        self.socket.push(self.numbers, request.write());
        self.pending.insert(self.numbers, Pending { deadline, reply });
        self.deadlines.extend(deadline.map(|deadline| (deadline, self.numbers)));
    }

    /// Drops the calls whose callers have stopped listening.
    fn forget_abandoned(&mut self) {
        let abandoned =
            |(number, call): (&u64, &Pending)| call.reply.is_closed().then_some(*number);
        let numbers: Vec<u64> = self.pending.iter().filter_map(abandoned).collect();
        numbers.into_iter().for_each(|number| self.give_up(number));
    }

    /// Ends a call without an answer, and withdraws it if it has not left.
    fn give_up(&mut self, number: u64) {
        let failure = match self.socket.withdraw(number) {
            true => Failure::NotSent,
            false => Failure::Unknown,
        };
        self.end(number, Err(failure));
    }

    fn answered(&mut self, text: &str) -> Result<(), String> {
        let answer = Answer::read(text).map_err(|malformed| malformed.to_string())?;
        if !self.pending.contains_key(&answer.request_id) {
            tracing::debug!(number = answer.request_id, "an answer that came too late");
        }
        self.end(answer.request_id, answer.outcome.map_err(Failure::Answered));
        Ok(())
    }

    fn end(&mut self, number: u64, result: Result<Value, Failure>) {
        let Some(call) = self.pending.remove(&number) else { return };
        if let Some(deadline) = call.deadline {
            self.deadlines.remove(&(deadline, number));
        }
        // Whoever has stopped listening wants no result.
        let _ = call.reply.send(result);
    }
}
