//! `metrics-address` of a front: plain HTTP for what scrapes its metrics, asks for its health, or
//! wants to read how its backends are.
//!
//! Nobody is asked who they are, so it is off unless it is configured, and belongs on an address
//! that only the machine itself or its keepers reach.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tracing::warn;

use super::{SCRAPES_MAX, Serve, figures};
use crate::api::pages::{self, Page};
use crate::env::Env;

/// Longest time for one connection: a scrape takes milliseconds, and Prometheus waits for 10 s.
const STAY_MAX: Duration = Duration::from_secs(10);
/// Wait before an accept that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Bytes of a request's head. At least 8 KiB for hyper.
const HEAD_MAX: usize = 8 * 1024;

/// Serves until the front ends.
pub async fn run<E: Env>(serve: Arc<Serve<E>>, mut listener: E::Listener) {
    let env = &serve.env;
    let places = Arc::new(Semaphore::new(SCRAPES_MAX));
    loop {
        // Never closed. Whoever comes when all are taken waits in the backlog.
        let place = Arc::clone(&places).acquire_owned().await.expect("places are not closed");
        match env.accept(&mut listener).await {
            Ok(stream) => {
                let serve = serve.clone();
                env.spawn(async move {
                    serve.scrapes.fetch_add(1, Ordering::Relaxed);
                    attend(&serve, stream).await;
                    serve.scrapes.fetch_sub(1, Ordering::Relaxed);
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
        // A broken request, or a connection that breaks, is the other side's affair.
        _ = connection => {}
        () = serve.env.sleep_until(serve.env.now() + STAY_MAX) => {}
    }
}

async fn page<E: Env>(serve: &Serve<E>, method: &Method, path: &str) -> Page {
    match (method, path) {
        (&Method::GET, "/metrics" | "/health") => {}
        (_, "/metrics" | "/health") => {
            return pages::plain(StatusCode::METHOD_NOT_ALLOWED, "this is asked for by GET\n");
        }
        (_, _) => return pages::plain(StatusCode::NOT_FOUND, "there are /metrics and /health\n"),
    }
    let Some(report) = serve.report().await else {
        return pages::plain(StatusCode::SERVICE_UNAVAILABLE, "stopped\n");
    };
    if path == "/metrics" {
        return pages::scraped(figures::metrics(&report, &serve.limits, serve.env.process()));
    }
    let status = match report.serves {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    pages::plain(status, format!("{report}\n"))
}
