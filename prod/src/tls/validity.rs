//! From when until when a certificate is believed, and whether it is at this moment.

use std::io;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, CertificateError};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{Certificate, Error, Validity, named, provider};

/// Years after which webpki's own arithmetic is not relied upon: beyond all validity there is.
const FAR: Duration = Duration::from_secs(u32::MAX as u64 * 100);

impl Certificate {
    /// Whether this controller would be believed at this time; says from when until when it is, by
    /// its own certificate and the authority's.
    ///
    /// Refuses a certificate of another authority, one that is used up, and one that begins later:
    /// then the clock is wrong, here or where it was issued.
    pub fn check(&self, now: SystemTime) -> Result<Validity, Error> {
        let leaf = self.chain.first().ok_or_else(|| Error::Untrusted {
            subject: "this controller".into(),
            what: "there is no certificate".into(),
        })?;
        let subject = named(&self.chain).map_or("this controller".into(), |node| node.to_string());
        let mut validity = self.within(leaf, &subject, now)?;
        for authority in &self.authority {
            let theirs = self.within(authority, "the authority", now)?;
            validity.until = validity.until.min(theirs.until);
        }
        match self.verify(leaf, now) {
            Ok(()) => Ok(validity),
            // Authorities of ours share one name, so that of another is found out by its signature.
            Err(webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey) => {
                Err(Error::Untrusted {
                    subject,
                    what: "it does not come from the authority that is given beside it".into(),
                })
            }
            Err(error) => Err(Error::Untrusted { subject, what: error.to_string() }),
        }
    }

    fn within(
        &self,
        certificate: &CertificateDer<'_>,
        subject: &str,
        now: SystemTime,
    ) -> Result<Validity, Error> {
        // webpki tells the two ends to whoever comes too early or too late, and nobody else; and
        // it looks at them before anything else.
        let early = self.verify(certificate, SystemTime::UNIX_EPOCH);
        let late = self.verify(certificate, SystemTime::UNIX_EPOCH + FAR);
        let (Err(webpki::Error::CertNotValidYet { not_before, .. }), Err(late)) = (early, late)
        else {
            return Err(Error::Untrusted { subject: subject.into(), what: "no validity".into() });
        };
        let webpki::Error::CertExpired { not_after, .. } = late else {
            return Err(Error::Untrusted { subject: subject.into(), what: late.to_string() });
        };
        let at = |time: UnixTime| SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs());
        let validity = Validity { from: at(not_before), until: at(not_after) };
        let subject = subject.to_owned();
        match now {
            _ if now < validity.from => Err(Error::NotYetValid { subject, validity, now }),
            _ if now > validity.until => Err(Error::Expired { subject, validity, now }),
            _ => Ok(validity),
        }
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        at: SystemTime,
    ) -> Result<(), webpki::Error> {
        let anchors: Vec<_> =
            self.authority.iter().map(anchor_from_trusted_cert).collect::<Result<_, _>>()?;
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (leaf, time) =
            (EndEntityCert::try_from(certificate)?, UnixTime::since_unix_epoch(since));
        let known = provider().signature_verification_algorithms.all;
        let usage = KeyUsage::server_auth();
        let between = self.chain.get(1..).unwrap_or_default();
        leaf.verify_for_usage(known, &anchors, between, time, usage, None, None).map(drop)
    }
}

/// A time as people read it.
pub(super) fn shown(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// What is wrong with whose certificate, if that is why two did not come together.
pub fn mistrust(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match error {
        // Authorities of ours share one name, so that of another is found out by its signature.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => Some("its certificate comes from another authority than this one's".into()),
        rustls::Error::InvalidCertificate(CertificateError::Other(why)) => Some(why.0.to_string()),
        rustls::Error::InvalidCertificate(why) => {
            Some(format!("its certificate is refused: {why}"))
        }
        rustls::Error::AlertReceived(alert) => refusal(*alert),
        _ => None,
    }
}

/// What an alert says about the certificate that was shown, if it is about that.
fn refusal(alert: AlertDescription) -> Option<String> {
    let why = match alert {
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it comes from another authority than the other side's"
        }
        AlertDescription::CertificateExpired => {
            "it is expired, or not valid yet, by the other side's clock"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRequired => "the other side's log says why",
        _ => return None,
    };
    Some(format!("this controller's certificate was refused: {why}"))
}

#[cfg(test)]
mod tests {
    use portcullis_core::NodeId;

    use super::super::{Authority, KeyKind};
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn certificate(from: u64, until: u64) -> Certificate {
        let authority = Authority::make(KeyKind::P256, Validity::century()).expect("authority");
        let validity = Validity { from: at(from), until: at(until) };
        authority.issue(NodeId(2), &[], validity).expect("a certificate")
    }

    #[test]
    fn a_certificate_says_from_when_until_when() {
        let one = certificate(1_700_000_000, 1_700_003_600);
        let validity = one.check(at(1_700_000_010)).expect("it is valid");
        assert_eq!(validity.from, at(1_700_000_000));
        assert_eq!(validity.until, at(1_700_003_600));
    }

    #[test]
    fn what_is_wrong_with_it_is_said_in_full() {
        let said = |one: &Certificate, now| one.check(at(now)).expect_err("refused").to_string();
        let one = certificate(1_700_000_000, 1_700_003_600);
        insta::assert_snapshot!(said(&one, 1_699_999_999), @r#"
        the certificate of controller-2 is not valid yet: it is valid from 2023-11-14T22:13:20Z until 2023-11-14T23:13:20Z, and by this host's clock it is 2023-11-14T22:13:19Z; is the clock right?
        "#);
        insta::assert_snapshot!(said(&one, 1_700_003_601), @r#"
        the certificate of controller-2 has expired: it is valid from 2023-11-14T22:13:20Z until 2023-11-14T23:13:20Z, and by this host's clock it is 2023-11-14T23:13:21Z
        "#);
        let mut stranger = certificate(1_700_000_000, 1_700_003_600);
        stranger.authority = one.authority;
        insta::assert_snapshot!(said(&stranger, 1_700_000_010), @r#"
        the certificate of controller-2 is of no use: it does not come from the authority that is given beside it
        "#);
        // The authority's own certificate ends as well.
        let one = certificate(1_700_000_000, 5_000_000_000);
        insta::assert_snapshot!(said(&one, 4_900_000_000), @r#"
        the certificate of the authority has expired: it is valid from 2020-01-01T00:00:00Z until 2120-01-02T00:00:00Z, and by this host's clock it is 2125-04-10T23:06:40Z
        "#);
    }
}
