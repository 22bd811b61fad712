//! Those who ask: contenders that strive for one lease and keep it, and claimers that take one
//! after another.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use portcullis::client::Client;
use portcullis::env::Env;
use portcullis_core::controller::Request;
use portcullis_core::lease::{Operation, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::tracker::{self, Tracker};
use portcullis_core::{Machine, Time};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::host::Host;
use super::ledger::{Event, What};
use super::plan::{Plan, Seat};

/// How long a claimer waits for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a claimer waits if nobody leads.
const NO_LEADER: Duration = Duration::from_millis(100);

/// One of those who ask, and what it needs for that.
pub struct Holder {
    pub host: Host,
    pub client: Client,
    pub plan: Arc<Plan>,
    pub seat: Seat,
    pub ledger: mpsc::Sender<Event>,
    /// Nothing is asked before.
    pub go: CancellationToken,
    pub stop: CancellationToken,
}

/// An ask on its way.
struct Under<'a> {
    what: What,
    asked: Time,
    answer: Pin<Box<dyn Future<Output = Answer> + Send + 'a>>,
}

impl Holder {
    /// Does as Juju's unit agents do: claims, keeps what it has, and waits for what it has not.
    pub async fn contend(self) {
        let work = async {
            self.go.cancelled().await;
            self.strive().await;
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Claims one lease after another, each as soon as the one before is answered.
    pub async fn claim_on(self) {
        let work = async {
            self.go.cancelled().await;
            for count in 0.. {
                self.claim_fresh(count).await;
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = work => {}
        }
    }

    async fn strive(&self) {
        let (key, holder) = self.plan.contended(self.seat);
        let config = tracker::Config {
            duration: self.plan.duration,
            renew_after: self.plan.renew_after,
            ..tracker::Config::new(key, holder)
        };
        let seed = self.host.seed().child("unit", u64::from(self.seat.lease));
        let mut tracker = Tracker::new(config, seed);
        let mut out = Vec::new();
        let mut settled = false;
        let mut under: Option<Under<'_>> = None;
        // The client holds asks back while there is no connection, so there is always somebody to
        // ask; what was under way when a connection broke comes back as unknown.
        tracker.handle(self.host.now(), tracker::Input::Ready, &mut out);
        loop {
            for output in out.drain(..) {
                match output {
                    tracker::Output::Ask { request, patience } => {
                        under = Some(self.ask(request, patience, tracker.leading(), !settled));
                    }
                    tracker::Output::Lead { .. } => {}
                    tracker::Output::Follow => {
                        self.tell(Event::Lost { seat: self.seat, at: self.host.now() }).await;
                    }
                }
            }
            let due = async {
                match tracker.poll_timeout() {
                    Some(timeout) => self.host.sleep_until(timeout.at).await,
                    None => pending().await,
                }
            };
            let answered = async {
                match &mut under {
                    Some(under) => under.answer.as_mut().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = due => tracker.handle_timeout(self.host.now(), &mut out),
                answer = answered => {
                    let Under { what, asked, .. } = under.take().expect("it was answered");
                    let at = self.host.now();
                    settled |= definite(&answer);
                    let (seat, told) = (self.seat, answer.clone());
                    self.tell(Event::Answered { seat, what, asked, at, answer: told }).await;
                    tracker.handle(at, tracker::Input::Answered { answer }, &mut out);
                }
            }
        }
    }

    /// Asks. The window of a grant is counted from before the ask leaves.
    fn ask(&self, request: Request, patience: Duration, leading: bool, first: bool) -> Under<'_> {
        let asked = self.host.now();
        let until = asked + self.plan.duration;
        let what = match &request {
            Request::Wait(_) => What::Wait,
            Request::Apply(_) if leading => What::Extend { until },
            Request::Apply(_) => What::Claim { until, first },
        };
        Under { what, asked, answer: Box::pin(self.client.ask(request, patience)) }
    }

    async fn claim_fresh(&self, count: u64) {
        let (key, holder) = self.plan.fresh(self.seat, count);
        let operation = Operation::Claim { key, holder, duration: self.plan.duration };
        let asked = self.host.now();
        let answer = self.client.ask(Request::Apply(operation), PATIENCE).await;
        let at = self.host.now();
        let rest = match &answer {
            Answer::Overloaded { retry_after } => *retry_after,
            Answer::NotLeader { .. }
            | Answer::Refused { .. }
            | Answer::Expired
            | Answer::Cancelled
            | Answer::Unknown => NO_LEADER,
            Answer::Done { .. } | Answer::Released => Duration::ZERO,
        };
        let what = What::Claim { until: asked + self.plan.duration, first: count == 0 };
        self.tell(Event::Answered { seat: self.seat, what, asked, at, answer }).await;
        if !rest.is_zero() {
            self.host.sleep_until(at + rest).await;
        }
    }

    async fn tell(&self, event: Event) {
        // Nobody listens any more only when all is over.
        let _ = self.ledger.send(event).await;
    }
}

/// Whether a claimant knows by it who has the lease.
fn definite(answer: &Answer) -> bool {
    match answer {
        Answer::Done { .. } | Answer::Refused { refusal: Refusal::Held { .. }, .. } => true,
        Answer::Refused { refusal: Refusal::NotHeld | Refusal::Void | Refusal::Full, .. }
        | Answer::Released
        | Answer::Overloaded { .. }
        | Answer::NotLeader { .. }
        | Answer::Expired
        | Answer::Cancelled
        | Answer::Unknown => false,
    }
}
