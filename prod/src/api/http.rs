//! The HTTP that comes before the websocket, and the pages that need no more.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::OnceLock;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::pages::{self, Page, plain};
use super::{Handler, Place};
use crate::join;
use crate::rpc::{Limits, Socket, end};

/// Bytes of a request's head, and so of what is kept while one arrives. At least 8 KiB for hyper.
const HEAD_MAX: usize = 8 * 1024;
/// Most headers in a request; Juju's clients send eight.
const HEADERS_MAX: usize = 64;
/// Longest model UUID that a path may name.
const UUID_MAX: usize = 64;

/// Answers requests until one becomes a websocket; nothing if the connection ends before.
pub(super) async fn greet<H, S>(
    handler: &H,
    stream: S,
    limits: Limits,
) -> Option<(Place, Box<Socket<S>>)>
where
    H: Handler,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let place = OnceLock::new();
    let service = service_fn(|request: Request<Incoming>| {
        let (place, (head, body)) = (&place, request.into_parts());
        Box::pin(async move {
            if head.uri.path() == join::PATH {
                return Ok(pages::join(handler, &head.method, body).await);
            }
            Ok::<_, Infallible>(answer(handler, &head, place).await)
        })
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    // A broken request, or a connection that breaks, is the client's own affair.
    let served = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    match (served, place.get()) {
        (Ok(()), Some(place)) => {
            let socket = Socket::server(stream, &parts.read_buf, limits).await;
            Some((place.clone(), Box::new(socket)))
        }
        (Ok(()) | Err(_), _) => {
            end(&mut stream).await;
            None
        }
    }
}

async fn answer<H: Handler>(handler: &H, request: &Parts, upgraded: &OnceLock<Place>) -> Page {
    let path = request.uri.path();
    if path == "/health" {
        return pages::health(&handler.health());
    }
    if path == "/introspection/metrics" {
        return pages::introspection(handler, &request.method, &request.headers).await;
    }
    let Some(place) = place(path) else {
        return plain(StatusCode::NOT_FOUND, "there is nothing here\n");
    };
    match accept_key(request) {
        Err(what) => plain(StatusCode::BAD_REQUEST, what),
        Ok(key) => {
            // A second upgrade cannot come: the connection stops being HTTP with the first.
            let _ = upgraded.set(place);
            let switch = Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header(CONNECTION, "Upgrade")
                .header(UPGRADE, "websocket")
                .header(SEC_WEBSOCKET_ACCEPT, key)
                .body(Full::default());
            switch.expect("a key in base64 is a header's value")
        }
    }
}

/// What a path is about; nothing if it is not for websockets.
fn place(path: &str) -> Option<Place> {
    if path == "/api" || path == "/" {
        return Some(Place::Controller);
    }
    let uuid = path.strip_prefix("/model/")?.strip_suffix("/api")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let valid = !uuid.is_empty() && uuid.len() <= UUID_MAX && uuid.chars().all(plain);
    valid.then(|| Place::Model(uuid.into()))
}

/// The answer to the client's challenge, or what its request lacks of an upgrade.
fn accept_key(request: &Parts) -> Result<String, &'static str> {
    let headers = &request.headers;
    if request.method != Method::GET {
        return Err("a websocket is asked for by GET\n");
    }
    if !lists(headers, CONNECTION, "upgrade") || !lists(headers, UPGRADE, "websocket") {
        return Err("this is a websocket: ask for an upgrade\n");
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err("only version 13 of the websocket protocol is spoken\n");
    }
    match headers.get(SEC_WEBSOCKET_KEY) {
        Some(key) => Ok(derive_accept_key(key.as_bytes())),
        None => Err("an upgrade needs a Sec-WebSocket-Key\n"),
    }
}

/// Whether a header that lists words, separated by commas, lists this one.
fn lists(headers: &HeaderMap, name: hyper::header::HeaderName, word: &str) -> bool {
    let texts = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}
