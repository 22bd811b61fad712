//! What openraft runs on: madsim's tasks and clock.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use madsim::task::{JoinError, JoinHandle};
use madsim::time::TimeHandle;
use openraft::{AsyncRuntime, OptionalSend};
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_sim::SimRuntime;

/// The same, with randomness from the seed of each host.
pub type Runtime = DeterministicRng<Madsim>;

/// A runtime of openraft. Its hosts draw from [`Runtime`], and never from this.
pub struct Madsim(madsim::runtime::Runtime);

impl fmt::Debug for Madsim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Madsim")
    }
}

/// Waits for a time.
///
/// madsim's own sleep lasts at least a millisecond and puts a timer on its heap whenever it is
/// polled; this one ends when it should, and has one timer for each task that polls it.
pub struct Sleep {
    timer: madsim::time::Sleep,
    polled_by: Option<Waker>,
}

impl Sleep {
    pub fn until(time: &TimeHandle, deadline: Instant) -> Sleep {
        let mut timer = time.sleep_until(deadline);
        Pin::new(&mut timer).reset(deadline);
        Sleep { timer, polled_by: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.timer.is_elapsed() {
            return Poll::Ready(());
        }
        if self.polled_by.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        self.polled_by = Some(context.waker().clone());
        Pin::new(&mut self.timer).poll(context)
    }
}

/// The time was up first.
#[derive(Debug, thiserror::Error)]
#[error("the time is up")]
pub struct Elapsed;

/// A future that is given up at some time. What is ready by then wins.
pub struct Timeout<T> {
    future: Pin<Box<T>>,
    sleep: Sleep,
}

impl<T: Future> Future for Timeout<T> {
    type Output = Result<T::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => Pin::new(&mut self.sleep).poll(context).map(|()| Err(Elapsed)),
        }
    }
}

impl AsyncRuntime for Madsim {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = <SimRuntime as AsyncRuntime>::ThreadLocalRng;

    // Tokio's wake in the order of waiting; its watch does not, so that is openraft's simulated
    // one.
    type Mpsc = <SimRuntime as AsyncRuntime>::Mpsc;
    type Watch = <SimRuntime as AsyncRuntime>::Watch;
    type Oneshot = <SimRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <SimRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        madsim::task::spawn(future)
    }

    fn sleep(duration: Duration) -> Sleep {
        let time = TimeHandle::current();
        Sleep::until(&time, time.now_instant() + duration)
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        Sleep::until(&TimeHandle::current(), deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Madsim::sleep(duration) }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Instant,
        future: F,
    ) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Madsim::sleep_until(deadline) }
    }

    fn is_panic(error: &JoinError) -> bool {
        error.is_panic()
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Runtime::thread_rng()
    }

    fn new(_: usize) -> Madsim {
        Madsim(madsim::runtime::Runtime::new())
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        self.0.block_on(future)
    }

    /// There is one thread alone, and nothing in it takes simulated time.
    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        std::future::ready(Ok(work()))
    }
}
