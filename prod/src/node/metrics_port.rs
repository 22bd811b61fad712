//! `metrics-address`: plain HTTP for what scrapes metrics and what asks for health, from the start
//! on, however long the API door stays shut.
//!
//! Nobody is asked who they are, so it is off unless it is configured, and belongs on an address
//! that only the machine itself or its keepers reach.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use super::{METRICS_CONNECTIONS_MAX, Ports, Serve, Worker};
use crate::api::pages::{self, Page};
use crate::env::Env;
use crate::metrics::Limit;

/// Longest time for one connection: a scrape takes milliseconds, and Prometheus waits for 10 s.
const STAY_MAX: Duration = Duration::from_secs(10);
/// Wait before a port that could not be bound, or an accept that failed, is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Bytes of a request's head. At least 8 KiB for hyper.
const HEAD_MAX: usize = 8 * 1024;

/// Serves until the controller closes; the worker is stable once the port is bound.
pub async fn open<E: Env>(
    serve: Arc<Serve<E>>,
    address: SocketAddr,
    ports: watch::Sender<Ports>,
    worker: Worker,
) {
    let env = &serve.env;
    let (mut listener, bound) = loop {
        match env.bind(address).await {
            Ok(bound) => break bound,
            Err(error) => warn!(%address, %error, "metrics-address not bound, trying again"),
        }
        env.sleep_until(env.now() + AGAIN).await;
    };
    info!(address = %bound, "metrics");
    ports.send_modify(|ports| ports.metrics = Some(bound));
    worker.stable();
    let places = Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX));
    loop {
        // Never closed. Whoever comes when all are taken waits in the backlog.
        let place = Arc::clone(&places).acquire_owned().await.expect("places are not closed");
        match env.accept(&mut listener).await {
            Ok(stream) => {
                let served = serve.clone();
                env.spawn(async move {
                    served.metrics.more(Limit::Scrapes);
                    attend(&served, stream).await;
                    served.metrics.less(Limit::Scrapes);
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "accept at metrics-address failed, trying again");
                env.sleep_until(env.now() + AGAIN).await;
            }
        }
    }
}

/// Answers a connection that asks for health, and for nothing else: what a front may ask at the
/// controller door, which is not paced.
pub async fn tell_health<E, S>(serve: &Serve<E>, stream: S)
where
    E: Env,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(async |request: Request<Incoming>| {
        let page = match (request.method(), request.uri().path()) {
            (&Method::GET, "/health") => pages::health(&serve.health()),
            (_, _) => pages::plain(StatusCode::NOT_FOUND, "there is GET /health\n"),
        };
        Ok::<_, Infallible>(page)
    });
    let connection = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        () = serve.closing.cancelled() => {}
        // A broken request, or a connection that breaks, is the other side's affair.
        _ = connection => {}
        () = serve.env.sleep_until(serve.env.now() + STAY_MAX) => {}
    }
}

async fn attend<E: Env>(serve: &Serve<E>, stream: E::Stream) {
    let service = service_fn(async |request: Request<Incoming>| {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        Ok::<_, Infallible>(page(serve, &method, &path).await)
    });
    let connection = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        () = serve.closing.cancelled() => {}
        // A broken request, or a connection that breaks, is the other side's affair.
        _ = connection => {}
        () = serve.env.sleep_until(serve.env.now() + STAY_MAX) => {}
    }
}

async fn page<E: Env>(serve: &Serve<E>, method: &Method, path: &str) -> Page {
    match (method, path) {
        (&Method::GET, "/metrics") => pages::scraped(serve.scrape().await),
        (&Method::GET, "/health") => pages::health(&serve.health()),
        (_, "/metrics" | "/health") => {
            pages::plain(StatusCode::METHOD_NOT_ALLOWED, "this is asked for by GET\n")
        }
        (_, _) => pages::plain(StatusCode::NOT_FOUND, "there are /metrics and /health\n"),
    }
}
