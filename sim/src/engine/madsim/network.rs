//! The network of the madsim engine: ports, knocks, and what becomes of them.
//!
//! madsim brings a network of its own, but one whose connections know neither a bound on what is
//! under way nor an end of one half, whose ports stay bound while anybody whom they let in is still
//! there, and whose links cannot be slow one by one. This one behaves as a kernel does: what a
//! partition swallows is sent again and arrives after all, a knock at a host that does not answer
//! is repeated, and whoever does not read is written to no more.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use madsim::time::TimeHandle;
use portcullis_core::{Address, Time};

use super::pipe::{Pipe, Stream};
use super::runtime::Sleep;
use crate::engine::network::{Network, Passage};
use crate::engine::shell::{locked, name};
use crate::plan::Plan;
use crate::stage::Place;

/// How long a knock stays unanswered before it is repeated, doubling each time: Linux's first
/// timeout of a SYN.
const KNOCK_AGAIN: Duration = Duration::from_secs(1);
/// The first port that is given to whoever binds none in particular, as IANA has it.
const ANY_PORT: u16 = 49_152;

/// A port of a host, or its socket in the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    Number(u16),
    Local,
}

/// A handle on the network; clones share it.
#[derive(Clone)]
pub struct Net {
    time: TimeHandle,
    /// The instant at which the run began.
    began: Instant,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    routes: Network,
    /// Connections that wait at a port for being let in, at most.
    backlog_max: usize,
    places: BTreeMap<String, Place>,
    ports: BTreeMap<(Place, Port), Arc<Mutex<Backlog>>>,
    /// Pipes on which something waits for its route.
    stuck: Vec<Weak<Mutex<Pipe>>>,
}

#[derive(Default)]
struct Backlog {
    waiting: VecDeque<Stream>,
    listener: Option<Waker>,
}

impl Net {
    /// The network of a run, in which nothing is wrong.
    pub fn new(plan: &Plan) -> Net {
        let time = TimeHandle::current();
        let places = plan.controllers().map(Place::Controller).chain([Place::Agents]);
        let shared = Shared {
            routes: Network::new(plan),
            backlog_max: plan.settings.controllers.backlog,
            places: places.map(|place| (name(place), place)).collect(),
            ports: BTreeMap::new(),
            stuck: Vec::new(),
        };
        let began = time.now_instant() - time.elapsed();
        Net { time, began, shared: Arc::new(Mutex::new(shared)) }
    }

    /// Time since the run began.
    pub fn now(&self) -> Time {
        Time(0) + self.time.elapsed()
    }

    /// Says how long ago the run began, whenever it is asked.
    pub fn clock(&self) -> impl Fn() -> Time + Send + use<> {
        let time = self.time.clone();
        move || Time(0) + time.elapsed()
    }

    /// Returns at `at`, or at once if that has passed.
    pub fn sleep_until(&self, at: Time) -> Sleep {
        Sleep::until(&self.time, self.began + at.since(Time(0)))
    }

    /// How many latencies were drawn.
    pub fn drawn(&self) -> u64 {
        locked(&self.shared).routes.drawn()
    }

    /// Does something to the routes. What waited for them, and may pass now, is under way after it.
    pub fn change(&self, change: impl FnOnce(&mut Network)) {
        let now = self.now();
        let mut shared = locked(&self.shared);
        change(&mut shared.routes);
        let stuck = std::mem::take(&mut shared.stuck);
        for pipe in stuck {
            let still = pipe.upgrade().is_some_and(|pipe| {
                let routes = &mut shared.routes;
                locked(&pipe).resume(now, |at, from, to| routes.pass(at, from, to))
            });
            if still {
                shared.stuck.push(pipe);
            }
        }
    }

    /// What becomes of something that is sent now.
    pub fn pass(&self, from: Place, to: Place) -> Passage {
        locked(&self.shared).routes.pass(self.now(), from, to)
    }

    /// Has a pipe told when its route changes.
    pub fn wait(&self, pipe: &Arc<Mutex<Pipe>>) {
        locked(&self.shared).stuck.push(Arc::downgrade(pipe));
    }

    /// Binds a port of a place; none lets the place choose.
    pub fn bind(&self, place: Place, port: Port) -> io::Result<Listener> {
        let mut shared = locked(&self.shared);
        let free = |port: &Port| !shared.ports.contains_key(&(place, *port));
        let port = if port == Port::Number(0) {
            (ANY_PORT..=u16::MAX).map(Port::Number).find(free)
        } else {
            Some(port).filter(free)
        };
        let port = port.ok_or(io::ErrorKind::AddrInUse)?;
        let backlog = Arc::<Mutex<Backlog>>::default();
        shared.ports.insert((place, port), backlog.clone());
        Ok(Listener { net: self.clone(), place, port, backlog })
    }

    /// Opens a connection from a place to an address, such as `controller-1:17070`; a loopback
    /// address is the place itself.
    pub async fn connect(&self, from: Place, address: &Address) -> io::Result<Stream> {
        let (host, port) = address.as_str().rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
        let port = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
        let own = host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
        let known = || locked(&self.shared).places.get(host).copied();
        let to = if own { Some(from) } else { known() };
        self.knock(from, to.ok_or(io::ErrorKind::NotFound)?, Port::Number(port)).await
    }

    /// Knocks at a port until there is an answer. Whoever knocks says for how long.
    pub async fn knock(&self, from: Place, to: Place, port: Port) -> io::Result<Stream> {
        let mut again = KNOCK_AGAIN;
        loop {
            let next = self.now() + again;
            if self.travel(from, to).await {
                let room = self.has_room(to, port);
                // Neither the answer nor the refusal is known before it is back; a full backlog has
                // nothing to say.
                if room != Some(false) && self.travel(to, from).await {
                    return self
                        .enter(from, to, port)
                        .ok_or(io::ErrorKind::ConnectionRefused.into());
                }
            }
            self.sleep_until(next).await;
            again *= 2;
        }
    }

    /// Whether there is room at a port; none if nobody has it.
    fn has_room(&self, to: Place, port: Port) -> Option<bool> {
        let shared = locked(&self.shared);
        let backlog = shared.ports.get(&(to, port))?;
        Some(locked(backlog).waiting.len() < shared.backlog_max)
    }

    /// Takes as long as a message does. Whether it arrives.
    fn travel(&self, from: Place, to: Place) -> impl Future<Output = bool> + Send + use<> {
        let sleep = match self.pass(from, to) {
            Passage::Arrives(at) => Some(self.sleep_until(at)),
            Passage::Held | Passage::Lost => None,
        };
        async move {
            match sleep {
                Some(sleep) => sleep.await,
                None => return false,
            }
            true
        }
    }

    /// Puts a connection into the backlog of a port, if anybody has that.
    fn enter(&self, from: Place, to: Place, port: Port) -> Option<Stream> {
        let shared = locked(&self.shared);
        let backlog = shared.ports.get(&(to, port))?;
        let (near, far) = Stream::pair(self, from, to);
        let mut backlog = locked(backlog);
        backlog.waiting.push_back(far);
        if let Some(listener) = backlog.listener.take() {
            listener.wake();
        }
        Some(near)
    }
}

/// A bound port.
pub struct Listener {
    net: Net,
    place: Place,
    port: Port,
    backlog: Arc<Mutex<Backlog>>,
}

impl Listener {
    /// Which port it is; zero for a socket in the file system.
    pub fn number(&self) -> u16 {
        match self.port {
            Port::Number(number) => number,
            Port::Local => 0,
        }
    }

    /// Lets one connection in.
    pub fn accept(&mut self) -> impl Future<Output = Stream> + Send + '_ {
        poll_fn(|context| {
            let mut backlog = locked(&self.backlog);
            match backlog.waiting.pop_front() {
                Some(stream) => Poll::Ready(stream),
                None => {
                    backlog.listener = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        locked(&self.net.shared).ports.remove(&(self.place, self.port));
        // Streams that are dropped tell their other ends, which needs the network.
        let waiting = std::mem::take(&mut locked(&self.backlog).waiting);
        drop(waiting);
    }
}
