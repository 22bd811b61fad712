//! PEM files: every complaint says which file, and what is wrong with it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::{fs, io};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Certificate, Error};

/// Base64 characters a line of PEM.
const LINE: usize = 64;

impl Certificate {
    /// Loads a controller's certificate and key, and the authority's certificate, which it appends
    /// to what is served. The pair is checked when a configuration is made of it.
    pub fn load(certificate: &Path, key: &Path, authority: &Path) -> Result<Certificate, Error> {
        let authority = load_certificates(authority)?;
        let mut chain = load_certificates(certificate)?;
        for root in &authority {
            if !chain.contains(root) {
                chain.push(root.clone());
            }
        }
        Ok(Certificate { chain, key: load_key(key)?, authority })
    }

    /// Writes the chain and the key; the key can be read by its owner alone.
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<(), Error> {
        write_secret(key, pem("PRIVATE KEY", self.key.secret_der()).as_bytes())?;
        write_public(certificate, to_pem(&self.chain).as_bytes())
    }
}

/// Loads every certificate of a PEM file; refuses a file without any.
pub fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    certificates(&read(path)?, path)
}

/// Reads every certificate of what such a file holds.
pub(super) fn certificates(
    bytes: &[u8],
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| content(path, &format!("not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(content(path, "holds no certificate"));
    }
    for certificate in &certificates {
        webpki::EndEntityCert::try_from(certificate)
            .map_err(|error| content(path, &format!("holds a malformed certificate: {error}")))?;
    }
    Ok(certificates)
}

/// Loads the first private key of a PEM file.
pub(super) fn load_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => content(path, "holds no private key"),
        other => content(path, &format!("not PEM: {other}")),
    })
}

/// Certificates as PEM, in their order; what clients are handed as `ca-cert`.
pub fn to_pem(certificates: &[CertificateDer<'_>]) -> String {
    certificates.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
}

/// Writes a file that its owner alone can read or write, from the moment that it exists.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write(path, bytes, 0o600)
}

/// Writes a file that anybody may read.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write(path, bytes, 0o644)
}

pub(super) fn content(path: &Path, what: &str) -> Error {
    Error::Content { path: path.display().to_string(), what: what.into() }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| file(path, source))
}

/// Writes beside the file first, so that a crash leaves the whole file or none.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = Path::new(&beside);
    let written = || -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(beside)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(beside, path)
    };
    written().map_err(|source| file(path, source))
}

fn file(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.display().to_string(), source }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(LINE) {
        // Base64 is ASCII, so every piece of it is text.
        let line = std::str::from_utf8(line).unwrap_or_default();
        let _ = writeln!(pem, "{line}");
    }
    let _ = writeln!(pem, "-----END {label}-----");
    pem
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            let character = if digit <= group.len() { DIGITS[value as usize] } else { b'=' };
            text.push(char::from(character));
        }
    }
    text
}
