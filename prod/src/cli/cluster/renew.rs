//! `cluster renew-certificate`: another certificate for a controller's key, by the authority's.

use std::path::PathBuf;

use clap::Args;
use portcullis::config::{Config, Peer};
use portcullis::tls::{Authority, OwnKey, Validity, to_pem, write_public};
use portcullis::tokio_env::today;
use portcullis_core::NodeId;

use super::super::exit::Failure;

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    /// The controller's configuration, with the ca-key of its authority
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Writes it over the old one, whole; the key stays, so that a crash leaves a pair that fits.
pub fn renew(arguments: &Arguments) -> Result<(), Failure> {
    let config = Config::load(&arguments.config).map_err(Failure::wrong)?;
    let Some(ca_key) = &config.tls.ca_key else {
        return Err(Failure::wrong(format!(
            "{}: has no ca-key under [tls]; a certificate is issued with that of the authority",
            arguments.config.display()
        )));
    };
    let authority = Authority::load(&config.tls.ca, ca_key).map_err(Failure::wrong)?;
    let key = OwnKey::load(&config.tls.key).map_err(Failure::wrong)?.public();
    let (node, validity) = (NodeId(config.controller_id), Validity::ten_years(today()));
    let chain = authority.issue_to(&key, node, &hosts(&config), validity);
    let chain = chain.map_err(Failure::wrong)?;
    write_public(&config.tls.cert, to_pem(&chain).as_bytes()).map_err(Failure::wrong)?;
    println!(
        "the certificate of {node} is valid until {}; start the controller again to use it",
        humantime::format_rfc3339_seconds(validity.until)
    );
    Ok(())
}

/// The names and addresses that it is reached by.
fn hosts(config: &Config) -> Vec<String> {
    let own = config.peers.iter().filter(|peer| peer.id == config.controller_id);
    let each = |peer: &Peer| {
        let api = peer.api_addresses.iter().map(|one| one.address.clone());
        api.chain([peer.controller_address.clone()]).collect::<Vec<_>>()
    };
    let bare = |text: String| {
        let host = text.rsplit_once(':').map_or(&*text, |(host, _)| host);
        host.trim_matches(['[', ']']).to_owned()
    };
    own.flat_map(each).map(bare).collect()
}
