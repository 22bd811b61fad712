//! Starts work when the flag is raised, and has it ended before the lease can be over.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::Time;
use portcullis_core::backoff::{self, Backoff};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::leading::NEVER;
use super::{Flag, Responsible};
use crate::env::Env;

/// What is run, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the log calls it.
    pub name: Arc<str>,
    /// Wait before work that failed is started again.
    pub backoff: backoff::Config,
    /// Longest wait for work to end when the runner is stopped, and never beyond its lease; or when
    /// its process leads no more, where that is what it runs by.
    pub stop_within: Duration,
}

impl Config {
    /// Juju's engine starts a worker again 3 s after it failed; a second of that is enough here, as
    /// the next wait doubles, and half a minute is the most.
    pub fn new(name: &str) -> Config {
        Config {
            name: name.into(),
            backoff: backoff::Config {
                first: Duration::from_secs(1),
                most: Duration::from_secs(30),
                growth: 200,
            },
            stop_within: Duration::from_secs(10),
        }
    }
}

/// Something that runs while its process is responsible. Dropping this stops it as
/// [`stop`](Runner::stop) does, without waiting.
#[derive(Debug)]
pub struct Runner {
    stop: CancellationToken,
    ended: Option<oneshot::Receiver<()>>,
}

/// How one run of the work ended.
enum Ended {
    /// By itself.
    Done(Result<(), String>),
    /// It was told to, since the flag was lowered or the runner stopped.
    Stopped,
    /// It had to be dropped.
    Aborted,
}

impl Runner {
    /// Runs `work` whenever the flag is raised, with a token that says when to end and the fence to
    /// write with. An error is logged, and the work started again after a wait; `Ok` before being
    /// told to end means that there is nothing to do until the flag is raised anew.
    ///
    /// Work that has not ended by when its lease may be over is dropped, and that is logged as an
    /// error; as a warning where the process stood still for so long that nobody could tell it to
    /// end in time. Nothing can end work that never awaits: the runner does not start it a second
    /// time, and does not give the lease up, but others may be granted it.
    pub fn start<E, F, W>(env: &E, responsible: Responsible, config: Config, work: F) -> Runner
    where
        E: Env,
        F: Fn(CancellationToken, u64) -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), String>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let (tell, ended) = oneshot::channel();
        let running = Running { env: env.clone(), config, responsible, stop: stop.clone(), work };
        env.spawn(async move {
            running.run().await;
            // Whoever stopped the runner may not want to know.
            let _ = tell.send(());
        });
        Runner { stop, ended: Some(ended) }
    }

    /// Has the work end, gives the lease up, and returns when that is done.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(ended) = self.ended.take() {
            // An error says that the host is gone, and the work with it.
            let _ = ended.await;
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Running<E, F> {
    env: E,
    config: Config,
    responsible: Responsible,
    stop: CancellationToken,
    work: F,
}

impl<E, F, W> Running<E, F>
where
    E: Env,
    F: Fn(CancellationToken, u64) -> W + Send + Sync + 'static,
    W: Future<Output = Result<(), String>> + Send + 'static,
{
    async fn run(self) {
        let mut backoff = Backoff::new(self.config.backoff.clone());
        let mut rng = self.env.seed().child("runner", 0).rng();
        let mut done_under = None;
        while let Some(flag) = self.raised(done_under).await {
            let name = &*self.config.name;
            match self.once(flag).await {
                Ended::Done(Ok(())) => {
                    info!(name, "has nothing left to do");
                    backoff.reset();
                    done_under = Some(flag.fence);
                }
                Ended::Stopped => backoff.reset(),
                Ended::Done(Err(error)) => {
                    let wait = backoff.wait(Duration::ZERO, &mut rng);
                    warn!(name, error, ?wait, "failed, and is started again");
                    tokio::select! {
                        biased;
                        () = self.stop.cancelled() => {}
                        () = self.env.sleep_until(self.env.now() + wait) => {}
                    }
                }
                Ended::Aborted => {}
            }
        }
        self.responsible.release().await;
    }

    /// The flag, once it is raised under another fence than that; nothing when it is time to end.
    async fn raised(&self, but: Option<u64>) -> Option<Flag> {
        let mut flag = self.responsible.flag();
        let raised = flag.wait_for(|flag| flag.is_some_and(|flag| Some(flag.fence) != but));
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            raised = raised => *raised.ok()?,
        }
    }

    /// Runs the work once, as a task of its own: if it never awaits, it holds nobody else up.
    async fn once(&self, flag: Flag) -> Ended {
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        // However this ends, the work does not outlive it.
        let _guard = abort.clone().drop_guard();
        let (tell, mut told) = oneshot::channel();
        let (work, aborted) = ((self.work)(stop.clone(), flag.fence), abort.clone());
        self.env.spawn(async move {
            let result = tokio::select! {
                biased;
                () = aborted.cancelled() => return,
                result = work => result,
            };
            // Nobody listens if it was aborted at the same time.
            let _ = tell.send(result);
        });
        let until = tokio::select! {
            biased;
            until = self.lowered(flag) => until,
            result = &mut told => return Ended::Done(gone(result)),
        };
        let (name, fence) = (&*self.config.name, flag.fence);
        let stood_still = self.env.now() >= until;
        stop.cancel();
        tokio::select! {
            biased;
            _ = &mut told => return Ended::Stopped,
            () = self.env.sleep_until(until) => {}
        }
        if stood_still {
            warn!(name, fence, "aborted: the process stood still until its lease may be over");
        } else {
            error!(name, fence, "aborted: did not end before its lease may be over");
        }
        abort.cancel();
        // Its end of the channel goes with it; until then there must be no second one.
        let _ = told.await;
        Ended::Aborted
    }

    /// By when work must have ended that no lease ends.
    fn soon(&self) -> Time {
        self.env.now() + self.config.stop_within
    }

    /// Returns when the work must end, and by when it must have.
    async fn lowered(&self, Flag { fence, mut until }: Flag) -> Time {
        let mut flag = self.responsible.flag();
        loop {
            match *flag.borrow_and_update() {
                Some(flag) if flag.fence == fence => until = flag.until,
                Some(_) | None if until == NEVER => return self.soon(),
                Some(_) | None => return until,
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    return until.min(self.soon());
                }
                changed = flag.changed() => if changed.is_err() { return until },
            }
        }
    }
}

/// What work that is gone without a word is taken to have said.
fn gone(result: Result<Result<(), String>, oneshot::error::RecvError>) -> Result<(), String> {
    result.unwrap_or_else(|_| Err("gone without a result".to_owned()))
}
