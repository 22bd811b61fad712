//! An authority of our own, and the certificates that it issues.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use portcullis_core::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use ring::digest;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::files::{content, load_certificates, load_key, to_pem, write_public, write_secret};
use super::{Certificate, Error, SERVER_NAME};

/// The authority's name, the same for every authority of ours.
const NAME: &str = "portcullis authority";
/// Names that Juju's clients verify, or are used to: see [`SERVER_NAME`].
const NAMES: [&str; 4] = [SERVER_NAME, "localhost", "anything", "juju-mongodb"];
/// Bytes of a serial number: enough never to meet the same twice, and always as many, so that
/// certificates are of one length.
const SERIAL_BYTES: usize = 16;

/// What kind of keys is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519: keys and signatures are always of one length, so that a simulated run sends the
    /// same number of bytes every time.
    #[default]
    Ed25519,
    /// ECDSA over P-256, for clients that know no Ed25519. Its signatures vary in length.
    P256,
}

/// From when until when certificates are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// They are not believed before.
    pub from: SystemTime,
    /// They are not believed after.
    pub until: SystemTime,
}

impl Validity {
    /// Seconds until it ends; below zero once it has.
    pub fn left(&self, now: SystemTime) -> f64 {
        match self.until.duration_since(now) {
            Ok(left) => left.as_secs_f64(),
            Err(over) => -over.duration().as_secs_f64(),
        }
    }

    /// 2020 to 2120: whatever clock a simulation runs by, it is in there.
    pub fn century() -> Validity {
        const YEARS_2020: Duration = Duration::from_secs(1_577_836_800);
        let from = SystemTime::UNIX_EPOCH + YEARS_2020;
        Validity { from, until: from + Duration::from_secs(36_525 * 86_400) }
    }

    /// Ten years, as Juju's own, from an hour before `now`: other hosts' clocks may be behind.
    pub fn ten_years(now: SystemTime) -> Validity {
        let until = now + Duration::from_secs(3_652 * 86_400);
        Validity { from: now - Duration::from_secs(3_600), until }
    }
}

/// The authority of one cluster: whoever holds its key can make controllers.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    kind: KeyKind,
}

impl Authority {
    /// Makes one with a key from the operating system's randomness.
    pub fn make(kind: KeyKind, validity: Validity) -> Result<Authority, Error> {
        let key = make_key(kind)?;
        let mut params = authority_params();
        params.not_before = validity.from.into();
        params.not_after = validity.until.into();
        params.serial_number = Some(serial(&key, validity));
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Authority { certificate, issuer: Issuer::new(params, key), kind })
    }

    /// Loads one that [`save`](Authority::save) wrote; refuses those of others, whose names it
    /// could not issue under.
    pub fn load(certificate: &Path, key: &Path) -> Result<Authority, Error> {
        let wrong = |what: &str| content(certificate, what);
        let certificates = load_certificates(certificate)?;
        let loaded = certificates.into_iter().next().ok_or_else(|| wrong("no certificate"))?;
        let (pair, kind) = read_key(key)?;
        // Only what is compared matters of this twin: the name and the key.
        let twin = authority_params().self_signed(&pair)?;
        let parse = |certificate| webpki::EndEntityCert::try_from(certificate);
        let theirs = parse(&loaded).map_err(|error| wrong(&format!("malformed: {error}")))?;
        let ours = parse(twin.der()).map_err(|error| wrong(&format!("malformed: {error}")))?;
        if theirs.subject_public_key_info() != ours.subject_public_key_info() {
            return Err(wrong(&format!("does not belong to the key in {}", key.display())));
        }
        if theirs.subject() != ours.subject() {
            return Err(wrong("an authority of somebody else, which cannot be issued from"));
        }
        drop((theirs, ours));
        let issuer = Issuer::new(authority_params(), pair);
        Ok(Authority { certificate: loaded, issuer, kind })
    }

    /// Writes both files; the key can be read by its owner alone.
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<(), Error> {
        write_secret(key, self.issuer.key().serialize_pem().as_bytes())?;
        write_public(certificate, to_pem(std::slice::from_ref(&self.certificate)).as_bytes())
    }

    /// The key in PEM, for a controller that is to issue as well.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// What everybody verifies controllers by.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Issues the certificate of one controller, for both sides of a connection.
    ///
    /// It names the controller, what Juju's clients look for, loopback, and `also`, each of which
    /// is an IP address or a host name.
    pub fn issue(
        &self,
        node: NodeId,
        also: &[String],
        validity: Validity,
    ) -> Result<Certificate, Error> {
        let key = make_key(self.kind)?;
        Ok(Certificate {
            chain: self.issue_to(&key, node, also, validity)?,
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            authority: vec![self.certificate.clone()],
        })
    }

    /// The same for a key that was made elsewhere: the chain that proves it.
    pub fn issue_to(
        &self,
        key: &impl PublicKeyData,
        node: NodeId,
        also: &[String],
        validity: Validity,
    ) -> Result<Vec<CertificateDer<'static>>, Error> {
        let mut names = vec![node.to_string()];
        names.extend(NAMES.map(String::from));
        names.push(Ipv4Addr::LOCALHOST.to_string());
        names.push(Ipv6Addr::LOCALHOST.to_string());
        names.extend_from_slice(also);
        let mut params = CertificateParams::default();
        for name in names {
            let name = match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.try_into()?),
            };
            if !params.subject_alt_names.contains(&name) {
                params.subject_alt_names.push(name);
            }
        }
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, node.to_string());
        params.not_before = validity.from.into();
        params.not_after = validity.until.into();
        params.serial_number = Some(serial(key, validity));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(key, &self.issuer)?;
        Ok(vec![leaf.der().clone(), self.certificate.clone()])
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(super) fn make_key(kind: KeyKind) -> Result<KeyPair, Error> {
    let algorithm = match kind {
        KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
        KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
    };
    Ok(KeyPair::generate_for(algorithm)?)
}

/// Loads a private key that this program made, and says of what kind it is.
pub(super) fn read_key(path: &Path) -> Result<(KeyPair, KeyKind), Error> {
    let PrivateKeyDer::Pkcs8(secret) = load_key(path)? else {
        return Err(content(path, "the key is not PKCS #8"));
    };
    let pair = KeyPair::try_from(secret.secret_pkcs8_der())
        .map_err(|error| content(path, &format!("not a usable key: {error}")))?;
    let kind = match pair.algorithm() {
        ed if ed == &rcgen::PKCS_ED25519 => KeyKind::Ed25519,
        p256 if p256 == &rcgen::PKCS_ECDSA_P256_SHA256 => KeyKind::P256,
        _ => return Err(content(path, "neither an Ed25519 nor a P-256 key")),
    };
    Ok((pair, kind))
}

/// A serial number that belongs to the key and the time of its certificate, positive and always of
/// one length.
fn serial(key: &impl PublicKeyData, validity: Validity) -> SerialNumber {
    let since = validity.from.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut told = key.subject_public_key_info();
    told.extend_from_slice(&since.as_nanos().to_be_bytes());
    let hash = digest::digest(&digest::SHA256, &told);
    let mut bytes = hash.as_ref()[..SERIAL_BYTES].to_vec();
    bytes[0] = (bytes[0] & 0x3f) | 0x40;
    SerialNumber::from(bytes)
}
