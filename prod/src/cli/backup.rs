//! `backup`: a copy of all that the controllers have decided, in one file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use data_encoding::BASE64;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use portcullis::backup::Backup;
use portcullis::env::Env;
use portcullis::peer::snapshot::SNAPSHOT_MAX;
use portcullis::raft::Copied;
use portcullis::tls;
use portcullis::tokio_env::today;
use portcullis_core::Address;
use serde_json::json;

use super::client::{self, Asking};
use super::exit::{Exit, Failure};
use super::lease::as_json;

/// What a copy has beside its tables: names and addresses of a few members.
const REST_MAX: usize = 1 << 20;

#[derive(Args)]
#[group(skip)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The file, which is replaced once the new one is whole
    #[arg(long, value_name = "FILE", required = true)]
    to: Option<PathBuf>,
    #[command(flatten)]
    client: client::Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// Check every byte of a backup, and say what is in it
    Check {
        /// The file
        file: PathBuf,
    },
}

/// Copies the tables of a running controller, or looks at a copy.
pub fn backup(arguments: &Arguments) -> Result<(), Failure> {
    let json = arguments.client.json;
    match (&arguments.command, &arguments.to) {
        (Some(Command::Check { file }), _) => check(file, json),
        (None, Some(file)) => arguments.client.ask(|asking| async move {
            let copied = copy(&asking).await?;
            let backup = Backup { taken_at: since_1970(), copied };
            backup.write(file).map_err(|error| wrong(file, &error))?;
            check(file, json)
        }),
        (None, None) => Err(Failure::wrong("--to FILE says where the backup goes")),
    }
}

/// What the calendar says.
pub fn since_1970() -> Duration {
    today().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// What is wrong with a file.
pub fn wrong(file: &Path, error: &portcullis::backup::Error) -> Failure {
    Failure::wrong(format!("{}: {error}", file.display()))
}

fn check(file: &Path, json: bool) -> Result<(), Failure> {
    let backup = Backup::read(file).map_err(|error| wrong(file, &error))?;
    let contents = backup.copied.contents().map_err(|error| wrong(file, &error.into()))?;
    let Copied { cluster, node, term, .. } = &backup.copied;
    let taken = SystemTime::UNIX_EPOCH + backup.taken_at;
    let taken = humantime::format_rfc3339_seconds(taken).to_string();
    let members: Vec<u64> = contents.members.iter().map(|member| member.0).collect();
    let (index, leases, pins) = (contents.index, contents.leases, contents.pins);
    if json {
        println!(
            "{}",
            as_json(&json!({
                "cluster": cluster, "taken-at": taken, "controller": node.0, "term": term,
                "index": index, "members": members, "leases": leases, "pins": pins,
            }))
        );
        return Ok(());
    }
    let members: Vec<String> = contents.members.iter().map(ToString::to_string).collect();
    println!(
        "{}: whole\ncluster   {cluster}\ntaken at  {taken}, of {node}\nlog       up to entry {index}, \
         in term {term}\nmembers   {}\nleases    {leases}, and {pins} pinned",
        file.display(),
        members.join(", ")
    );
    Ok(())
}

/// Asks one controller after the other.
async fn copy(asking: &Asking) -> Result<Copied, Failure> {
    let mut failure = Failure::new(Exit::Unreachable, "the client file names no address");
    for address in &asking.addresses {
        let copied = tokio::select! {
            biased;
            copied = copy_of(asking, address) => copied,
            () = asking.env.sleep_until(asking.deadline) => Err(io::ErrorKind::TimedOut.into()),
        };
        let at = |says: &str| format!("{}: {says}", address.as_str());
        match copied {
            Ok((StatusCode::OK, bytes)) => {
                return Copied::decode(&bytes)
                    .map_err(|error| Failure::wrong(at(&error.to_string())));
            }
            Ok((status, bytes)) => {
                let says = at(String::from_utf8_lossy(&bytes).trim());
                failure = match status {
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                        return Err(Failure::new(Exit::Refused, says));
                    }
                    _ => Failure::new(Exit::Unreachable, says),
                };
            }
            Err(error) => failure = Failure::new(Exit::Unreachable, at(&error.to_string())),
        }
    }
    Err(failure)
}

async fn copy_of(asking: &Asking, address: &Address) -> io::Result<(StatusCode, Bytes)> {
    let stream = asking.env.connect(address).await?;
    let stream = tls::dial_api(&asking.tls, stream).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let secret = BASE64.encode(format!("{}:{}", asking.pass.tag, asking.pass.password).as_bytes());
    let request = Request::get("/backup").header(HOST, address.as_str());
    let request = request.header(AUTHORIZATION, format!("Basic {secret}"));
    let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status();
        let most = usize::try_from(SNAPSHOT_MAX).unwrap_or(usize::MAX).saturating_add(REST_MAX);
        let body = Limited::new(answer.into_body(), most).collect().await;
        Ok((status, body.map_err(io::Error::other)?.to_bytes()))
    };
    let carried = async {
        // What it has carried by its end, however that came, is what the answer is made of.
        let _ = connection.await;
        std::future::pending::<()>().await
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        () = carried => unreachable!("it never ends"),
    }
}
