//! `check-config FILE`: whether a controller's configuration is right, and what it means.

use std::fmt::{self, Display};
use std::path::Path;
use std::time::Duration;

use portcullis::config::{Config, EXAMPLE};
use portcullis::node;
use portcullis_core::admission::Accept;
use portcullis_core::pace;

use super::exit::Failure;

/// Prints what the file means, or refuses it with all that is wrong with it. Without a file it prints
/// an example.
pub fn check_config(file: Option<&Path>) -> Result<(), Failure> {
    let Some(file) = file else {
        print!("{EXAMPLE}");
        return Ok(());
    };
    let config = Config::load(file).map_err(Failure::wrong)?;
    println!("{}: ok\n{}", file.display(), Meaning(&config));
    Ok(())
}

struct Meaning<'a>(&'a Config);

impl Display for Meaning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        let limits = &config.limits;
        let peers = config.peers.len();
        writeln!(f, "  controller-{} of {peers}, data in {}", config.controller_id, {
            config.data_dir.display()
        })?;
        let mode = config.mode();
        writeln!(f, "  startup          {mode}")?;
        let node::Doors { api, controller, controllers_first } = config.doors();
        let first = controller.is_some() || controllers_first;
        if let Some(at) = controller {
            let most = limits.controller_connections_max;
            writeln!(f, "  controller door  {at}, open at once, at most {most} connections")?;
        }
        let delay = plain(config.api_port_open_delay);
        match (first, controllers_first) {
            (false, _) => writeln!(f, "  one door         {api}, open at once for everybody")?,
            (true, false) => writeln!(f, "  api door         {api}, opens {delay} after stable")?,
            (true, true) => {
                writeln!(f, "  api door         {api}, lets agents in {delay} after stable")?;
            }
        }
        if !config.proxy_protocol.is_empty() {
            let nets: Vec<_> = config.proxy_protocol.iter().map(ToString::to_string).collect();
            writeln!(
                f,
                "  proxy-protocol   from {}, and no connection without it",
                nets.join(", ")
            )?;
        }
        if let Some(file) = &config.bind_address_file {
            writeln!(f, "  bind address     of the controller door, as {} says", file.display())?;
        }
        if let Some(file) = &config.ports_file {
            writeln!(f, "  ports            written to {}", file.display())?;
        }
        if let Some(address) = config.metrics_address {
            writeln!(f, "  metrics          {address}, for whoever reaches it")?;
        }
        let (least, most) = (limits.logins_min.min(limits.logins_max), limits.logins_max);
        match config.accept {
            Accept::Adaptive => {
                writeln!(f, "  accept           adaptive, {least} to {most} logins at once")?;
            }
            Accept::Paced => writeln!(f, "  accept           paced, {most} logins at once")?,
        }
        match config.pace() {
            pace::Config { burst: 0, .. } => writeln!(f, "  pace             none")?,
            pace::Config { burst, interval } => {
                let rate = plain(interval);
                writeln!(f, "  pace             {burst} agents at once, then one every {rate}")?;
            }
        }
        writeln!(
            f,
            "  connections      at most {}, of which {} not logged in, each for at most {}",
            limits.connections_max,
            limits.logins_max,
            plain(limits.login_within)
        )?;
        writeln!(
            f,
            "  lease operations at most {} waiting, {} a raft entry, {} a connection, {} each",
            limits.waiting_max,
            limits.batch_max,
            limits.asks_per_connection_max,
            plain(limits.patience_max)
        )?;
        writeln!(
            f,
            "  requests         at most {} bytes, {} a connection at a time, {} items each",
            limits.message_max, limits.requests_per_connection_max, limits.items_per_call_max
        )?;
        if !config.moved.is_empty() {
            writeln!(f, "  moved            {} models, whose users are sent after them", {
                config.moved.len()
            })?;
        }
        let signed = config.signed.iter().map(|one| u64::from(one.applications * one.units));
        let units = config.units.len() as u64 + signed.sum::<u64>();
        write!(
            f,
            "  may log in       {} users, {} units, {} machines of {} models",
            config.users.len(),
            units,
            config.machines.len(),
            config.models.len()
        )
    }
}

fn plain(duration: Duration) -> impl Display {
    humantime::format_duration(duration)
}
