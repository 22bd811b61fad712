//! What is answered to plain HTTP: how the controller is, and its metrics.

use data_encoding::BASE64;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode};

use super::{Handler, Health, Introspected, Login, Place, Standing};
use crate::join::{self, Asked, Refused};
use crate::metrics;

/// The body of every answer.
pub type Page = Response<Full<Bytes>>;

/// Longest Basic authorization; a tag and a password are far below.
const AUTHORIZATION_MAX: usize = 2_048;

/// `/health`: Juju's word in the first line, then a line for each condition of readiness, `holds` or
/// `waits`, what is wrong with a `bind-address-file`, what the API door does, and a line with the number of connections. Anybody may ask: it names nothing but the
/// controller's own state.
pub fn health(health: &Health) -> Page {
    let (status, word) = match health.standing {
        Standing::Running => (StatusCode::OK, "running"),
        Standing::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Standing::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    };
    let mut text = format!("{word}\n");
    for (condition, holds) in &health.conditions {
        text.push_str(if *holds { "holds " } else { "waits " });
        text.push_str(condition);
        text.push('\n');
    }
    if let Some(lack) = &health.lack {
        text.push_str(&format!("bind-address {lack}\n"));
    }
    text.push_str(&format!("api-door {}\n", health.api_door));
    text.push_str(&format!("connections {}\n", health.connections));
    plain(status, text)
}

/// The metrics, as Prometheus reads them.
pub fn scraped(text: String) -> Page {
    let mut page = plain(StatusCode::OK, text);
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    page
}

/// A few words.
pub fn plain(status: StatusCode, text: impl Into<Bytes>) -> Page {
    let mut page = Response::new(Full::new(text.into()));
    *page.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    page.headers_mut().insert(CONTENT_TYPE, kind);
    page
}

/// `/introspection/metrics`: the metrics for users and for controllers' machines, who say who they
/// are by Basic authorization, tag and password, as to Juju's.
pub(super) async fn introspection<H: Handler>(
    handler: &H,
    method: &Method,
    headers: &HeaderMap,
) -> Page {
    if method != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "metrics are asked for by GET\n");
    }
    let introspected = match login(headers) {
        Some(login) => handler.introspect(login).await,
        None => Introspected::Refused,
    };
    match introspected {
        Introspected::Metrics(text) => scraped(text),
        Introspected::Forbidden => plain(StatusCode::FORBIDDEN, "not for agents\n"),
        Introspected::Refused => {
            let mut page =
                plain(StatusCode::UNAUTHORIZED, "who are you? tag and password, Basic\n");
            let realm = HeaderValue::from_static("Basic realm=\"juju\"");
            page.headers_mut().insert(WWW_AUTHENTICATE, realm);
            page
        }
    }
}

/// `/portcullis/join`: one more controller, by a token. It has no account, so it is no facade.
pub(super) async fn join<H: Handler>(handler: &H, method: &Method, body: Incoming) -> Page {
    if method != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "this is asked for by POST\n");
    }
    let malformed = |what: String| Refused::Malformed { what };
    let asked = match Limited::new(body, join::REQUEST_MAX).collect().await {
        Ok(body) => serde_json::from_slice::<Asked>(&body.to_bytes())
            .map_err(|error| malformed(error.to_string())),
        Err(_) => Err(malformed(format!("it is over {} bytes, or broke off", join::REQUEST_MAX))),
    };
    let granted = match asked {
        Ok(asked) => handler.join(asked).await,
        Err(malformed) => Err(malformed),
    };
    let (status, text) = match &granted {
        Ok(granted) => (StatusCode::OK, serde_json::to_vec(granted)),
        Err(refused) => (status(refused), serde_json::to_vec(refused)),
    };
    let mut page = plain(status, text.expect("texts and numbers are JSON"));
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    page
}

fn status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::Malformed { .. } => StatusCode::BAD_REQUEST,
        Refused::NoToken | Refused::UsedToken => StatusCode::FORBIDDEN,
        Refused::OtherCluster { .. } | Refused::Refused { .. } => StatusCode::CONFLICT,
        Refused::TryAgain { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refused::NoKey { .. } | Refused::NoLeader | Refused::Unknown | Refused::Broken { .. } => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// Who says to ask; nobody if it is not said as it must be.
fn login(headers: &HeaderMap) -> Option<Login> {
    let said = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = said.split_once(' ').filter(|_| said.len() <= AUTHORIZATION_MAX)?;
    let secret = BASE64.decode(secret.trim().as_bytes()).ok()?;
    let secret = String::from_utf8(secret).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (tag, password) = secret.split_once(':')?;
    let (tag, password) = (tag.to_owned(), password.to_owned());
    Some(Login { place: Place::Controller, tag, password, nonce: String::new() })
}
