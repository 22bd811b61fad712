//! Work that runs by a flag, before a lease service that answers as it is told.

#[path = "common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::World;
use portcullis::env::Env;
use portcullis::singular::{Asks, Responsible, Runner, runner};
use portcullis_core::GlobalTime;
use portcullis_core::controller::Request;
use portcullis_core::lease::{Done, Key, Operation, SINGULAR_CONTROLLER};
use portcullis_core::queue::Answer;
use portcullis_core::singular::Config;
use tokio::sync::{mpsc, watch};

/// Answers grants with the fence that is set, or nothing at all while there is none.
#[derive(Clone)]
struct Service {
    fence: watch::Receiver<Option<u64>>,
    revoked: Arc<watch::Sender<bool>>,
    env: World,
}

impl Asks for Service {
    async fn ask(&self, request: Request, patience: Duration) -> Answer {
        let fence = *self.fence.borrow();
        let done = match (request, fence) {
            (Request::Apply(Operation::Revoke { .. }), _) => {
                self.revoked.send_replace(true);
                Done::Revoked
            }
            (_, Some(fence)) => Done::Granted { fence, expiry: GlobalTime(0) },
            (_, None) => {
                self.env.sleep_until(self.env.now() + patience).await;
                return Answer::Unknown;
            }
        };
        Answer::Done { index: 1, done }
    }
}

/// Short, for nothing here hurries the clock.
const DURATION: Duration = Duration::from_millis(900);

struct Stage {
    env: World,
    fence: watch::Sender<Option<u64>>,
    revoked: watch::Receiver<bool>,
    responsible: Responsible,
}

fn stage() -> Stage {
    let env = World::new(1);
    let (fence, fences) = watch::channel(Some(1));
    let (revoked_out, revoked) = watch::channel(false);
    let service = Service { fence: fences, revoked: Arc::new(revoked_out), env: env.clone() };
    let key = Key::new(SINGULAR_CONTROLLER, "m", "work");
    let config = Config::new(key, "controller-1".into(), DURATION);
    let responsible = Responsible::start(&env, service, config);
    Stage { env, fence, revoked, responsible }
}

#[tokio::test]
async fn work_ends_when_answers_stop_and_goes_on_under_the_next_fence() {
    let Stage { env, fence, responsible, mut revoked } = stage();
    let (say, mut said) = mpsc::channel(4);
    let runner = Runner::start(&env, responsible.clone(), runner::Config::new("work"), {
        move |stop, fence| {
            let say = say.clone();
            async move {
                let _ = say.send(("began", fence)).await;
                stop.cancelled().await;
                let _ = say.send(("ended", fence)).await;
                Ok(())
            }
        }
    });
    assert_eq!(said.recv().await, Some(("began", 1)));
    let held = responsible.held(env.now()).expect("it runs under a flag");
    fence.send_replace(None);
    assert_eq!(said.recv().await, Some(("ended", 1)));
    assert_eq!(responsible.held(held.until), None, "whoever looks finds out by itself");
    fence.send_replace(Some(3));
    assert_eq!(said.recv().await, Some(("began", 3)));
    runner.stop().await;
    assert_eq!(said.recv().await, Some(("ended", 3)));
    assert!(*revoked.borrow_and_update(), "the lease is given up");
}

#[tokio::test]
async fn work_that_does_not_end_is_dropped_and_then_started_anew() {
    let Stage { env, fence, responsible, revoked } = stage();
    let (say, mut said) = mpsc::channel(4);
    let _runner = Runner::start(&env, responsible, runner::Config::new("work"), {
        move |_, fence| {
            let say = say.clone();
            async move {
                let _dropped = Dropped(say.clone());
                let _ = say.send(("began", fence)).await;
                std::future::pending().await
            }
        }
    });
    assert_eq!(said.recv().await, Some(("began", 1)));
    fence.send_replace(None);
    assert_eq!(said.recv().await, Some(("dropped", 0)));
    fence.send_replace(Some(2));
    assert_eq!(said.recv().await, Some(("began", 2)));
    assert!(!*revoked.borrow(), "nothing was given up");
}

struct Dropped(mpsc::Sender<(&'static str, u64)>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.try_send(("dropped", 0));
    }
}

#[tokio::test]
async fn work_that_fails_is_started_again() {
    let Stage { env, responsible, .. } = stage();
    let (say, mut said) = mpsc::channel(4);
    let mut config = runner::Config::new("work");
    config.backoff.first = Duration::from_millis(1);
    let runner = Runner::start(&env, responsible, config, {
        move |_, fence| {
            let say = say.clone();
            async move {
                let _ = say.send(fence).await;
                Err("out of luck".to_owned())
            }
        }
    });
    for _ in 0..4 {
        assert_eq!(said.recv().await, Some(1));
    }
    runner.stop().await;
}
