//! A wire between a joiner and a controller that loses the answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// Lets one connection through to `to` until the request is said, and nothing after that. Says
/// where it listens.
pub fn mute(to: String) -> String {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(at).expect("a free port");
    let listener = socket.listen(8).expect("it listens");
    let address = listener.local_addr().expect("it is bound").to_string();
    tokio::task::spawn_local(async move {
        loop {
            let (mut near, _) = listener.accept().await.expect("it accepts");
            let at: SocketAddr = to.parse().expect("an address");
            let far = TcpSocket::new_v4().expect("a socket").connect(at).await;
            let mut far = far.expect("the controller listens");
            tokio::task::spawn_local(async move {
                let (mut near_read, mut near_write) = near.split();
                let (mut far_read, mut far_write) = far.split();
                let (heard, asked) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
                let up = async {
                    let mut part = [0; 4096];
                    while let Ok(count @ 1..) = near_read.read(&mut part).await {
                        // What comes after the handshake's answer ends the handshake and asks.
                        asked.store(heard.load(Ordering::Relaxed), Ordering::Relaxed);
                        far_write.write_all(&part[..count]).await.expect("it takes it");
                    }
                };
                let down = async {
                    let mut part = [0; 4096];
                    while let Ok(count @ 1..) = far_read.read(&mut part).await {
                        if asked.load(Ordering::Relaxed) {
                            continue;
                        }
                        heard.store(true, Ordering::Relaxed);
                        near_write.write_all(&part[..count]).await.expect("it takes it");
                    }
                    std::future::pending::<()>().await;
                };
                tokio::select! { () = up => {}, () = down => {} }
            });
        }
    });
    address
}
