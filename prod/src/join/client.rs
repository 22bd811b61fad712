//! Asking to join: over TLS that is pinned to the authority of the token, one request a connection.

use std::io;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;

use super::{ANSWER_MAX, Asked, Granted, PATH, Refused};
use crate::env::Env;
use crate::tls;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The controller could not be proved to be the cluster's: it was told nothing.
    #[error("{}", tls::mistrust(.0).unwrap_or_else(|| .0.to_string()))]
    Unproved(#[source] io::Error),
    /// The connection broke, or what came is no answer: it may have been done.
    #[error("no answer: {0}")]
    Lost(String),
    /// It answered, and says no.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Asks whoever is at the other end of the stream. Bounded by the caller.
pub async fn ask<E: Env>(
    env: &E,
    config: &Arc<ClientConfig>,
    stream: E::Stream,
    asked: &Asked,
) -> Result<Granted, Failure> {
    let stream = tls::dial_api(config, stream).await.map_err(Failure::Unproved)?;
    let lost = |error: hyper::Error| Failure::Lost(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    env.spawn(async move {
        // How it ends shows in the answer.
        let _ = connection.await;
    });
    let body = serde_json::to_vec(asked).map_err(|error| Failure::Lost(error.to_string()))?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(PATH)
        .header(HOST, tls::SERVER_NAME)
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Failure::Lost(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(lost)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|error| Failure::Lost(error.to_string()))?.to_bytes();
    read(status, &body)
}

fn read(status: StatusCode, body: &[u8]) -> Result<Granted, Failure> {
    let strange = |what: String| {
        let said = String::from_utf8_lossy(&body[..body.len().min(200)]);
        Failure::Lost(format!("{status}, {:?}, which makes no sense: {what}", said.trim()))
    };
    if status == StatusCode::OK {
        return serde_json::from_slice(body).map_err(|error| strange(error.to_string()));
    }
    match serde_json::from_slice::<Refused>(body) {
        Ok(refused) => Err(refused.into()),
        Err(error) => Err(strange(error.to_string())),
    }
}
