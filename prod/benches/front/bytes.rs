//! A server of bytes in this process, on a thread of its own.

use std::net::SocketAddr;
use std::thread;

use anyhow::Result;
use portcullis::env::Env;
use portcullis::tokio_env::Stream;
use portcullis::tokio_env::{Ports, Tokio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a client says to get bytes without end; whatever else it says is echoed.
pub const FLOOD: u8 = b'!';

/// Starts it, and says where it listens. It ends with the process.
pub fn serve() -> Result<SocketAddr> {
    let world = Tokio::start(env!("CARGO_TARGET_TMPDIR").into(), Ports::Own)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (mut listener, bound) = runtime.block_on(world.bind(any))?;
    thread::spawn(move || {
        runtime.block_on(async {
            while let Ok(stream) = world.accept(&mut listener).await {
                world.spawn(async {
                    let _: Option<()> = talk(stream).await;
                });
            }
        });
    });
    Ok(bound)
}

/// Until the client, or the proxy that is measured, has gone.
async fn talk(mut stream: Stream) -> Option<()> {
    let mut buffer = vec![0; 1_024];
    loop {
        let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        if buffer[0] == FLOOD {
            let flood = vec![7; 256 * 1024];
            loop {
                stream.write_all(&flood).await.ok()?;
            }
        }
        stream.write_all(&buffer[..length]).await.ok()?;
    }
}
