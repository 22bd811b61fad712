//! Actions and times as plans write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Action, Claims, Group};

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Crash { node } => write!(f, "crash {node}"),
            Action::Restart { node } => write!(f, "restart {node}"),
            Action::Stop { node } => write!(f, "stop {node}"),
            Action::Redeploy { nodes, down } => {
                write!(f, "redeploy {nodes} down {}", Second(*down))
            }
            Action::Pause { node } => write!(f, "pause {node}"),
            Action::Join { node } => write!(f, "join {node}"),
            Action::Remove { node } => write!(f, "remove {node}"),
            Action::ControllerPort { node, on } => {
                write!(f, "controller-port {node} {}", if *on { "on" } else { "off" })
            }
            Action::BindFile { node, says } => write!(f, "bind-file {node} {says}"),
            Action::ApiAddresses { node, are } => write!(f, "api-addresses {node} {are}"),
            Action::LoseItself { node } => write!(f, "lose-itself {node}"),
            Action::Partition { from, to, one_way: false } => write!(f, "partition {from} | {to}"),
            Action::Partition { from, to, one_way: true } => write!(f, "partition {from} > {to}"),
            Action::Hold { from, to } => write!(f, "hold {from} | {to}"),
            Action::SlowLink { from, to, by } => {
                write!(f, "slow-link {from} | {to} by {}", Second(*by))
            }
            Action::SlowDisk { node, by } => write!(f, "slow-disk {node} by {}", Second(*by)),
            Action::DiskFull { node } => write!(f, "disk-full {node}"),
            Action::IoError { node, at } => write!(f, "io-error {node} {at}"),
            Action::Clock { who, drift, offset: Duration::ZERO } => {
                write!(f, "clock {who} by {drift}ppm")
            }
            Action::Clock { who, drift, offset } => {
                write!(f, "clock {who} by {drift}ppm from {}", Second(*offset))
            }
            Action::Herd => f.write_str("herd"),
            Action::RestartAgents => f.write_str("restart-agents"),
            Action::OomLimit { memory } => write!(f, "oom-limit {memory}"),
            Action::Claims(claims) => write!(f, "{claims}"),
        }
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claims { count, concurrency, patience, cancel_percent, pin_percent } = self;
        let patience = Second(*patience);
        write!(f, "claims {count} by {concurrency} patience {patience} cancel {cancel_percent}%")?;
        if *pin_percent > 0 { write!(f, " pin {pin_percent}%") } else { Ok(()) }
    }
}

impl FromStr for Action {
    type Err = String;
    fn from_str(text: &str) -> Result<Action, String> {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let sides = |rest: &str, mark: char| -> Result<(Group, Group), String> {
            let (from, to) =
                rest.split_once(mark).ok_or_else(|| format!("`{verb}` needs two sides"))?;
            Ok((from.parse()?, to.parse()?))
        };
        match verb {
            "crash" => Ok(Action::Crash { node: rest.parse()? }),
            "stop" => Ok(Action::Stop { node: rest.parse()? }),
            "redeploy" => {
                let (nodes, down) =
                    rest.split_once(" down ").ok_or("`redeploy` needs `down TIME`")?;
                Ok(Action::Redeploy { nodes: nodes.parse()?, down: seconds(down)? })
            }
            "pause" => Ok(Action::Pause { node: rest.parse()? }),
            "join" => Ok(Action::Join { node: rest.parse()? }),
            "remove" => Ok(Action::Remove { node: rest.parse()? }),
            "restart" => Ok(Action::Restart { node: rest.parse()? }),
            "lose-itself" => Ok(Action::LoseItself { node: rest.parse()? }),
            "bind-file" => {
                let (node, says) = rest.split_once(' ').unwrap_or((rest, ""));
                Ok(Action::BindFile { node: node.parse()?, says: says.parse()? })
            }
            "api-addresses" => {
                let (node, are) = rest.split_once(' ').unwrap_or((rest, ""));
                Ok(Action::ApiAddresses { node: node.parse()?, are: are.parse()? })
            }
            "controller-port" => match rest.rsplit_once(' ') {
                Some((node, "on")) => Ok(Action::ControllerPort { node: node.parse()?, on: true }),
                Some((node, "off")) => {
                    Ok(Action::ControllerPort { node: node.parse()?, on: false })
                }
                Some(_) | None => Err(format!("`{text}` is not `controller-port WHO on|off`")),
            },
            "partition" => {
                let one_way = rest.contains('>');
                let (from, to) = sides(rest, if one_way { '>' } else { '|' })?;
                Ok(Action::Partition { from, to, one_way })
            }
            "hold" => sides(rest, '|').map(|(from, to)| Action::Hold { from, to }),
            "slow-link" => {
                let (rest, by) = rest.rsplit_once(" by ").ok_or("`slow-link` needs `by TIME`")?;
                let (from, to) = sides(rest, '|')?;
                Ok(Action::SlowLink { from, to, by: seconds(by)? })
            }
            "slow-disk" => {
                let (node, by) = rest.split_once(" by ").ok_or("`slow-disk` needs `by TIME`")?;
                Ok(Action::SlowDisk { node: node.parse()?, by: seconds(by)? })
            }
            "disk-full" => Ok(Action::DiskFull { node: rest.parse()? }),
            "io-error" => match rest.rsplit_once(' ') {
                Some((node, at)) => Ok(Action::IoError { node: node.parse()?, at: at.parse()? }),
                None => Err(format!("`{text}` is not `io-error WHO write|sync`")),
            },
            "clock" => clock(rest).ok_or_else(|| {
                format!("`{text}` is not `clock WHO by NUMBERppm`, or that and `from TIME`")
            }),
            "herd" if rest.is_empty() => Ok(Action::Herd),
            "restart-agents" if rest.is_empty() => Ok(Action::RestartAgents),
            "oom-limit" => Ok(Action::OomLimit { memory: rest.parse()? }),
            "claims" => rest.parse().map(Action::Claims),
            _ => Err(format!("`{text}` is nothing that can be done")),
        }
    }
}

/// Reads what is said of a clock.
fn clock(text: &str) -> Option<Action> {
    let (who, rest) = text.split_once(" by ")?;
    let (drift, offset) = match rest.split_once(" from ") {
        Some((drift, offset)) => (drift, seconds(offset).ok()?),
        None => (rest, Duration::ZERO),
    };
    let drift = drift.strip_suffix("ppm")?.parse().ok()?;
    Some(Action::Clock { who: who.parse().ok()?, drift, offset })
}

impl FromStr for Claims {
    type Err = String;
    fn from_str(text: &str) -> Result<Claims, String> {
        let wrong =
            || format!("`{text}` is not `N by N patience TIME cancel N%`, or that and `pin N%`");
        let (text, pin) = text.split_once(" pin ").unwrap_or((text, "0%"));
        let words: Vec<&str> = text.split_whitespace().collect();
        let [count, "by", concurrency, "patience", patience, "cancel", cancel] = words[..] else {
            return Err(wrong());
        };
        let percent = |text: &str| text.strip_suffix('%')?.parse().ok();
        Ok(Claims {
            count: count.parse().map_err(|_| wrong())?,
            concurrency: concurrency.parse().map_err(|_| wrong())?,
            patience: seconds(patience)?,
            cancel_percent: percent(cancel).ok_or_else(wrong)?,
            pin_percent: percent(pin).ok_or_else(wrong)?,
        })
    }
}

/// A duration as plans write it: seconds with three digits after the point, or six if needed.
pub struct Second(pub Duration);

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micros) = (self.0.as_secs(), self.0.subsec_micros());
        match micros % 1_000 {
            0 => f.pad(&format!("{whole}.{:03}s", micros / 1_000)),
            _ => f.pad(&format!("{whole}.{micros:06}s")),
        }
    }
}

/// Reads what [`Second`] writes.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let read = || {
        let (whole, part) = text.strip_suffix('s')?.split_once('.')?;
        let digits = part.len() <= 6 && part.bytes().all(|byte| byte.is_ascii_digit());
        let micros: u64 = digits.then(|| format!("{part:0<6}"))?.parse().ok()?;
        let whole: u64 = whole.parse().ok()?;
        Some(Duration::from_secs(whole) + Duration::from_micros(micros))
    };
    read().ok_or_else(|| format!("`{text}` is no time such as 12.500s"))
}
