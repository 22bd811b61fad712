//! How a backend is: connects to it, or asks for its `/health`.

use std::future::pending;
use std::io;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use portcullis_core::front::Verdict;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{Backend, Health, Serve, proxy};
use crate::env::Env;
use crate::tls::{self, SERVER_NAME};

/// Longest body of an answer about health; a node's is a line for each condition.
const BODY_MAX: usize = 8 * 1024;

/// Probes one backend, within the time for it: what that means, and what was seen, in words.
pub async fn probe<E: Env>(serve: &Serve<E>, backend: &Backend) -> (Verdict, String) {
    let until = serve.env.now() + serve.probe_within;
    let probed = tokio::select! {
        biased;
        probed = ask(serve, backend) => probed,
        () = serve.env.sleep_until(until) => Err(io::ErrorKind::TimedOut.into()),
    };
    probed.unwrap_or_else(|error| (Verdict::Failed, error.to_string()))
}

async fn ask<E: Env>(serve: &Serve<E>, backend: &Backend) -> io::Result<(Verdict, String)> {
    let address = backend.health.as_ref().unwrap_or(&backend.address);
    let mut stream = serve.env.connect(address).await?;
    if backend.proxy_protocol && *address == backend.address {
        stream.write_all(&proxy::header(None)).await?;
    }
    match &serve.health {
        Health::Tcp => Ok((Verdict::Healthy { connections: None }, "connected".to_owned())),
        Health::Https { tls } => https(tls, stream).await,
    }
}

async fn https<S>(tls: &Arc<ClientConfig>, stream: S) -> io::Result<(Verdict, String)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = tls::dial_api(tls, stream).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::get("/health").header(HOST, SERVER_NAME).body(Empty::<Bytes>::new());
    let request = request.expect("all of it is constant");
    let answer = async {
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), BODY_MAX).collect().await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        Ok::<_, io::Error>((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let carried = async {
        // What it has carried by its end, however that came, is what the answer is made of.
        let _ = connection.await;
        pending::<()>().await
    };
    let (status, body) = tokio::select! {
        biased;
        answer = answer => answer?,
        () = carried => unreachable!("it never ends"),
    };
    Ok((verdict(status, &body), said(status, &body)))
}

fn verdict(status: StatusCode, body: &str) -> Verdict {
    if status.is_success() {
        let count = body.lines().find_map(|line| line.strip_prefix("connections "));
        let connections = count.and_then(|count| count.trim().parse().ok());
        return Verdict::Healthy { connections };
    }
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Verdict::Unready,
        _ => Verdict::Failed,
    }
}

/// The status and what the body begins with, such as `503 starting`.
fn said(status: StatusCode, body: &str) -> String {
    let word: String = body.lines().next().unwrap_or_default().chars().take(40).collect();
    format!("{} {word}", status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_understood() {
        let ok = |body| verdict(StatusCode::OK, body);
        assert_eq!(ok("running\n"), Verdict::Healthy { connections: None });
        let counted = Verdict::Healthy { connections: Some(1_204) };
        assert_eq!(ok("running\nholds leader\nconnections 1204\n"), counted);
        assert_eq!(ok("connections many\n"), Verdict::Healthy { connections: None });
        assert_eq!(verdict(StatusCode::SERVICE_UNAVAILABLE, "starting\n"), Verdict::Unready);
        assert_eq!(verdict(StatusCode::NOT_FOUND, "running\n"), Verdict::Failed);
        assert_eq!(said(StatusCode::SERVICE_UNAVAILABLE, "starting\nx"), "503 starting");
    }
}
