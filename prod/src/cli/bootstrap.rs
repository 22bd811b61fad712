//! `bootstrap`: the first controller of a cluster, in one folder.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis::credentials::Hashed;
use portcullis::tls::{Authority, KeyKind, Validity, write_secret};
use portcullis::tokio_env::today;
use portcullis_core::NodeId;

use super::client_file::{self, Account, ClientFile};
use super::dev::make_folder;
use super::drawn::{password, uuid};
use super::exit::Failure;
use super::made::{self, Made, Place};

/// The first controller's number, for ever.
const FIRST: NodeId = NodeId(1);
/// The user who may do everything.
const ADMIN: &str = "admin";

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    /// Folder for everything that the controller has; it must be empty
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Makes everything, the controller's file last: with it the folder is whole.
pub fn bootstrap(arguments: &Arguments) -> Result<(), Failure> {
    arguments.place.check()?;
    let names = made::listed(&arguments.data_dir)?;
    if !names.is_empty() {
        return Err(made::in_use(&arguments.data_dir, &names));
    }
    make_folder(&arguments.data_dir)?;
    let folder = arguments.data_dir.canonicalize().map_err(Failure::at(&arguments.data_dir))?;
    let place = arguments.place.or(IpAddr::from(Ipv4Addr::LOCALHOST));
    identity(&folder, &place)?;
    let (cluster, model, password) = (uuid(), uuid(), password());
    let client = ClientFile {
        addresses: place.api_addresses(),
        ca: "ca.pem".into(),
        model: model.clone(),
        accounts: vec![Account {
            name: ADMIN.into(),
            password: Some(password.clone()),
            password_file: None,
        }],
        signed_units: None,
    };
    let client_file = folder.join(client_file::FILE);
    write_secret(&client_file, client.to_string().as_bytes()).map_err(Failure::wrong)?;
    // Drawn at random with 100 bits, so salt is enough.
    let hash = Hashed::salted(&password);
    let shared = format!(
        "[[model]]\nuuid = {model:?}\nname = \"controller\"\n\
         [[user]]\nname = {ADMIN:?}\npassword-hash = \"{hash}\"\n"
    );
    let made = Made {
        by: "bootstrap",
        id: FIRST.0,
        cluster: &cluster,
        joined: false,
        domain: "",
        place: &place,
        peers: &[],
        shared: &shared,
    };
    let (file, start) = made::start_line(&folder);
    let text = made.text().map_err(Failure::wrong)?;
    write_secret(&file, text.as_bytes()).map_err(Failure::wrong)?;
    println!("{FIRST} of cluster {cluster} is made in {}", folder.display());
    if arguments.place.hosts.is_empty() {
        println!("no other host can reach it at 127.0.0.1; --address names another");
    }
    println!("start it:         {start}");
    println!("ask it:           export PORTCULLIS_CLIENT={}", client_file.display());
    println!("let another join: portcullis cluster add");
    Ok(())
}

/// The authority, and the certificate of the first controller.
fn identity(folder: &Path, place: &Place) -> Result<(), Failure> {
    let path = |name: &str| folder.join(name);
    let validity = Validity::ten_years(today());
    // P-256, since every client knows it.
    let authority = Authority::make(KeyKind::P256, validity).map_err(Failure::wrong)?;
    authority.save(&path("ca.pem"), &path("ca.key")).map_err(Failure::wrong)?;
    let issued = authority.issue(FIRST, &place.hosts, validity).map_err(Failure::wrong)?;
    issued.save(&path("cert.pem"), &path("key.pem")).map_err(Failure::wrong)
}
