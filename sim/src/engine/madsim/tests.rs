//! The network does what a kernel's does, and the order of tasks is the seed's.

use std::cell::RefCell;
use std::future::Future;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use openraft::AsyncRuntime as _;
use openraft_rt::testing::{DetsimSuite, Suite};
use portcullis_core::{Address, NodeId, Time};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::network::{Net, Port};
use super::pipe::Stream;
use super::runtime::{Madsim, Runtime};
use crate::check::tests::plan;
use crate::stage::Place;

const ONE: Place = Place::Controller(NodeId(1));
const DOOR: Port = Port::Number(17_070);

/// Runs a story in a network in which nothing is wrong.
fn simulate<F: Future>(story: impl FnOnce(Net) -> F) -> F::Output {
    let runtime = madsim::runtime::Runtime::with_seed_and_config(1, madsim::Config::default());
    let plan = plan("[controllers]\nbacklog = 2\n");
    runtime.block_on(async { story(Net::new(&plan)).await })
}

fn address(text: &str) -> Address {
    Address::from(text.to_owned())
}

async fn after(net: &Net, wait: Duration) {
    net.sleep_until(net.now() + wait).await;
}

/// What a future comes to within this time, if anything.
async fn within<T>(wait: Duration, future: impl Future<Output = T> + Send) -> Option<T> {
    Madsim::timeout(wait, future).await.ok()
}

/// An agent's connection to the first controller: the agent's end, and that of the controller.
async fn connected(net: &Net) -> (Stream, Stream) {
    let mut listener = net.bind(ONE, DOOR).expect("the port is free");
    let near = net.knock(Place::Agents, ONE, DOOR).await.expect("it is bound");
    (near, listener.accept().await)
}

async fn read(stream: &mut Stream) -> Vec<u8> {
    let mut data = vec![0; 64];
    let count = stream.read(&mut data).await.expect("reading does not fail");
    data.truncate(count);
    data
}

#[test]
fn openraft_is_content_with_the_runtime() {
    Suite::<Runtime>::test_all_on(&mut Runtime::new(1));
    DetsimSuite::<Madsim>::test_all();
}

#[test]
fn bytes_arrive_in_order_and_after_a_while() {
    simulate(|net| async move {
        let (mut near, mut far) = connected(&net).await;
        let sent = net.now();
        for byte in 0..50 {
            near.write_all(&[byte]).await.expect("there is room");
        }
        let mut heard = [0; 50];
        far.read_exact(&mut heard).await.expect("all arrive");
        assert!(heard.is_sorted());
        assert!(net.now() > sent);
    });
}

#[test]
fn what_a_partition_swallows_arrives_after_all() {
    simulate(|net| async move {
        let (mut near, mut far) = connected(&net).await;
        net.change(|routes| routes.cut(Place::Agents, ONE, true));
        near.write_all(b"lost").await.expect("nobody knows yet");
        assert_eq!(within(Duration::from_secs(9), read(&mut far)).await, None);
        // The other way is open.
        far.write_all(b"heard").await.expect("there is room");
        assert_eq!(read(&mut near).await, b"heard");
        net.change(|routes| routes.cut(Place::Agents, ONE, false));
        let mended = net.now();
        assert_eq!(read(&mut far).await, b"lost");
        // It was sent again after 0.2, 0.6, 1.4, 3, 6.2 and 12.6 seconds.
        let waited = net.now().since(mended);
        assert!(waited > Duration::from_secs(3) && waited < Duration::from_secs(4), "{waited:?}");
    });
}

#[test]
fn what_is_held_is_delivered_at_the_release() {
    simulate(|net| async move {
        let (mut near, mut far) = connected(&net).await;
        net.change(|routes| routes.hold(Place::Agents, ONE, true));
        near.write_all(b"one").await.expect("there is room");
        drop(near);
        assert_eq!(within(Duration::from_secs(5), read(&mut far)).await, None);
        net.change(|routes| routes.hold(Place::Agents, ONE, false));
        let released = net.now();
        assert_eq!(read(&mut far).await, b"one");
        assert_eq!(read(&mut far).await, b"");
        assert!(net.now().since(released) < Duration::from_millis(100));
    });
}

#[test]
fn a_slow_link_is_slow_one_way() {
    simulate(|net| async move {
        let (mut near, mut far) = connected(&net).await;
        net.change(|routes| routes.slow(Place::Agents, ONE, Duration::from_secs(2)));
        let sent = net.now();
        near.write_all(b"slow").await.expect("there is room");
        far.write_all(b"fast").await.expect("there is room");
        assert_eq!(read(&mut near).await, b"fast");
        assert!(net.now().since(sent) < Duration::from_secs(1));
        assert_eq!(read(&mut far).await, b"slow");
        assert!(net.now().since(sent) >= Duration::from_secs(2));
    });
}

#[test]
fn a_knock_across_a_partition_is_repeated_until_it_is_heard() {
    simulate(|net| async move {
        let _listener = net.bind(ONE, DOOR).expect("the port is free");
        net.change(|routes| routes.cut(ONE, Place::Agents, true));
        let began = net.now();
        let mend = {
            let net = net.clone();
            async move {
                after(&net, Duration::from_secs(4)).await;
                net.change(|routes| routes.cut(ONE, Place::Agents, false));
            }
        };
        drop(madsim::task::spawn(mend));
        net.knock(Place::Agents, ONE, DOOR).await.expect("it was mended");
        // The knocks were at 0, 1, 3 and 7 seconds.
        let took = net.now().since(began);
        assert!(took > Duration::from_secs(7) && took < Duration::from_secs(8), "{took:?}");
    });
}

#[test]
fn who_is_not_there_refuses_and_who_is_unknown_is_not_found() {
    simulate(|net| async move {
        let kind = |result: std::io::Result<Stream>| result.map(drop).map_err(|error| error.kind());
        let refused = net.connect(Place::Agents, &address("controller-1:17070")).await;
        assert_eq!(kind(refused), Err(ErrorKind::ConnectionRefused));
        let unknown = net.connect(Place::Agents, &address("controller-9:17070")).await;
        assert_eq!(kind(unknown), Err(ErrorKind::NotFound));
        let nonsense = net.connect(Place::Agents, &address("controller-1")).await;
        assert_eq!(kind(nonsense), Err(ErrorKind::InvalidInput));
    });
}

#[test]
fn a_loopback_address_is_the_place_itself() {
    simulate(|net| async move {
        let _listener = net.bind(ONE, DOOR).expect("the port is free");
        let own = address("127.0.0.1:17070");
        assert!(net.connect(ONE, &own).await.is_ok());
        let refused = net.connect(Place::Agents, &own).await.map(drop);
        assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::ConnectionRefused));
    });
}

#[test]
fn a_full_backlog_lets_knocks_wait() {
    simulate(|net| async move {
        let mut listener = net.bind(ONE, DOOR).expect("the port is free");
        let first = net.knock(Place::Agents, ONE, DOOR).await.expect("there is room");
        let second = net.knock(Place::Agents, ONE, DOOR).await.expect("there is room");
        let third = net.knock(Place::Agents, ONE, DOOR);
        assert!(within(Duration::from_secs(20), third).await.is_none());
        drop(listener.accept().await);
        net.knock(Place::Agents, ONE, DOOR).await.expect("there is room again");
        drop((first, second));
    });
}

#[test]
fn whoever_does_not_read_is_written_to_no_more() {
    simulate(|net| async move {
        let (mut near, mut far) = connected(&net).await;
        let data = vec![7; 300_000];
        let writes = within(Duration::from_secs(60), near.write_all(&data)).await;
        assert!(writes.is_none(), "300,000 bytes found room");
        let mut heard = vec![0; 131_072];
        far.read_exact(&mut heard).await.expect("what found room arrives");
        assert_eq!(
            within(Duration::from_secs(1), near.write(&data)).await.map(Result::ok),
            Some(Some(131_072))
        );
    });
}

#[test]
fn one_half_ends_and_the_other_goes_on() {
    simulate(|net| async move {
        let (mut near, mut far) = connected(&net).await;
        near.write_all(b"last").await.expect("there is room");
        near.shutdown().await.expect("it is open");
        assert_eq!(read(&mut far).await, b"last");
        assert_eq!(read(&mut far).await, b"");
        far.write_all(b"more").await.expect("this half is open");
        assert_eq!(read(&mut near).await, b"more");
        let error = near.write_all(b"!").await.expect_err("this half has ended");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn an_end_that_is_gone_is_noticed_once_the_news_arrives() {
    simulate(|net| async move {
        let (mut near, far) = connected(&net).await;
        drop(far);
        near.write_all(b"unheard").await.expect("nobody knows yet");
        assert_eq!(read(&mut near).await, b"");
        let error = near.write_all(b"!").await.expect_err("it is known now");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_port_is_free_again_while_those_it_let_in_stay() {
    simulate(|net| async move {
        let (mut near, mut far) = connected(&net).await;
        let listener = net.bind(ONE, DOOR).expect("its listener is gone");
        assert_eq!(
            net.bind(ONE, DOOR).map(drop).map_err(|error| error.kind()),
            Err(ErrorKind::AddrInUse)
        );
        assert!(net.bind(ONE, Port::Number(0)).is_ok_and(|any| any.number() >= 49_152));
        drop(listener);
        near.write_all(b"still").await.expect("there is room");
        assert_eq!(read(&mut far).await, b"still");
    });
}

#[test]
fn time_passes_as_it_was_asked_for() {
    simulate(|net| async move {
        for wait in [Duration::from_micros(3), Duration::from_millis(2), Duration::from_secs(9)] {
            let until = net.now() + wait;
            net.sleep_until(until).await;
            assert!(net.now() >= until && net.now() <= until + Duration::from_micros(1));
        }
        let now = net.now();
        net.sleep_until(Time(0)).await;
        assert_eq!(net.now(), now);
    });
}

#[test]
fn the_seed_decides_who_is_next() {
    let order = |seed| {
        let runtime =
            madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
        let order = Rc::new(RefCell::new(Vec::new()));
        let heard = order.clone();
        runtime.block_on(async move {
            let run = |number: u32| {
                let order = heard.clone();
                madsim::task::spawn_local(async move { order.borrow_mut().push(number) })
            };
            for task in (0..10).map(run).collect::<Vec<_>>() {
                task.await.expect("it does not panic");
            }
        });
        order.take()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    assert!(!order(1).is_sorted());
}
