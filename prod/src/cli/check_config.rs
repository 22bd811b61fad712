//! `check-config FILE`: whether a controller's configuration is right, and what it means.

use std::fmt::{self, Display};
use std::path::Path;
use std::time::Duration;

use portcullis::config::{Config, EXAMPLE};

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
        let at = |port| std::net::SocketAddr::new(config.bind_address, port);
        match config.has_controller_door() {
            true => {
                writeln!(
                    f,
                    "  controller door  {}, open at once, at most {} connections",
                    at(config.controller_api_port),
                    limits.controller_connections_max
                )?;
                let delay = plain(config.api_port_open_delay);
                writeln!(
                    f,
                    "  api door         {}, opens {delay} after stable",
                    at(config.api_port)
                )?;
            }
            false => {
                writeln!(
                    f,
                    "  one door         {}, open at once for everybody",
                    at(config.api_port)
                )?;
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
        if let Some(address) = config.metrics_address {
            writeln!(f, "  metrics          {address}, for whoever reaches it")?;
        }
        match config.agent_ratelimit_max {
            0 => writeln!(f, "  pace             none")?,
            burst => {
                let rate = plain(config.agent_ratelimit_rate);
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
        write!(
            f,
            "  may log in       {} users, {} units, {} machines of {} models",
            config.users.len(),
            config.units.len(),
            config.machines.len(),
            config.models.len()
        )
    }
}

fn plain(duration: Duration) -> impl Display {
    humantime::format_duration(duration)
}
