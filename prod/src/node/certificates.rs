//! Looking after certificates: this controller's own, and those that others show.
//!
//! A certificate that has expired, or a clock that was set back, looks like a dead network to
//! whoever sees connections alone (seed 003: each is a clear error). So it is said before it
//! happens, at the start, and on both sides when it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use portcullis_core::{Door, Time};
use tracing::{info, warn};

use super::Serve;
use crate::env::Env;
use crate::peer::MISTRUST_EVERY;
use crate::tls::{self, Validity};

/// Time from one look at this controller's own certificate to the next.
pub const LOOKED_AT: Duration = Duration::from_secs(3_600);
/// How long before its end it is warned of: time for the slowest of operators.
pub const WARNED_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// Says at the start, and every [`LOOKED_AT`], how long the certificate is believed, as a warning if
/// somebody should act.
pub async fn watch<E: Env>(serve: Arc<Serve<E>>) {
    let Some(validity) = serve.validity else { return };
    let mut told = false;
    while let Some(now) = serve.env.today() {
        match trouble(validity, now) {
            Some(what) => warn!("{what}"),
            None if !told => {
                let until = humantime::format_rfc3339_seconds(validity.until);
                info!(%until, "this controller's certificate is believed");
            }
            None => {}
        }
        told = true;
        serve.env.sleep_until(serve.env.now() + LOOKED_AT).await;
    }
}

/// What an operator should know of it, if there is anything.
fn trouble(validity: Validity, now: SystemTime) -> Option<String> {
    let Validity { from, until } = validity;
    let shown = |time| humantime::format_rfc3339_seconds(time);
    if now < from {
        return Some(format!(
            "this controller's certificate is not valid before {}, and by this host's clock it is \
             {}: nobody connects anew until the clock is right",
            shown(from),
            shown(now)
        ));
    }
    let Ok(left) = until.duration_since(now) else {
        return Some(format!(
            "this controller's certificate has expired at {}, and by this host's clock it is {}: \
             nobody connects anew until it is renewed",
            shown(until),
            shown(now)
        ));
    };
    let days = left.as_secs() / 86_400;
    let soon = left < WARNED_BEFORE;
    soon.then(|| {
        format!(
            "this controller's certificate expires in {days} days, at {}: renew it, and start \
             the controller again",
            shown(until)
        )
    })
}

/// Something that is said no more than once in [`MISTRUST_EVERY`].
#[derive(Debug, Default)]
pub struct Seldom(AtomicU64);

impl Seldom {
    /// Whether it may be said.
    fn may(&self, now: Time) -> bool {
        let until = now + MISTRUST_EVERY;
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                (now.0 >= next).then_some(until.0)
            })
            .is_ok()
    }
}

impl<E: Env> Serve<E> {
    /// Says whose certificate was not believed at a door, if that is why a handshake failed.
    pub(super) fn mistrusted(&self, door: Door, from: Option<SocketAddr>, error: &std::io::Error) {
        let Some(what) = tls::mistrust(error) else { return };
        if self.mistrusts.may(self.env.now()) {
            let from = from.map(|from| from.to_string()).unwrap_or_default();
            warn!(%door, from, "somebody was not let in: {what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_told_in_time() {
        let at = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
        let validity = Validity { from: at(1_000), until: at(2_000) };
        let said = |days| trouble(validity, at(days)).unwrap_or_default();
        assert_eq!(said(1_970), "");
        assert!(said(1_971).contains("in 29 days, at 1975-06-24"), "{}", said(1_971));
        assert!(said(2_001).contains("has expired"), "{}", said(2_001));
        assert!(said(999).contains("not valid before 1972-09-27"), "{}", said(999));
    }

    #[test]
    fn what_goes_on_is_said_seldom() {
        let seldom = Seldom::default();
        let said: Vec<u64> = (0..200).filter(|at| seldom.may(Time(at * 1_000_000))).collect();
        assert_eq!(said, [0, 60, 120, 180]);
    }
}
