//! The file of `portcullis front --config FILE`: one front, in TOML.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_core::{Address, front, pace};
use serde::Deserialize;

use super::check::{Faults, address};
use super::fault::Source;
use super::{ConfigError, duration, text_of};
use crate::front::{Backend, Config, Health};
use crate::tls;

/// Most backends of one front: each is probed, and each probe is a connection.
pub const BACKENDS_MAX: usize = 64;
/// Most connections a second that a rate may say: a million, one a microsecond.
pub const RATE_MAX: u32 = 1_000_000;

/// Every key with its default and meaning, as a file.
pub const EXAMPLE: &str = include_str!("front.toml");

/// One front: where it listens, what stands behind it, and what it bounds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    /// Where to listen. With port 0 the kernel chooses, and `--print-ports` says which.
    pub listen: SocketAddr,
    /// `ip:port` where anybody who reaches it is shown `/metrics` and `/health` by plain HTTP; not
    /// there by default. Port 0 lets the kernel choose.
    #[serde(default)]
    pub metrics_address: Option<SocketAddr>,
    /// How backends are asked how they are. Default `"https"`.
    #[serde(default)]
    pub health: Kind,
    /// PEM file of the authority that proves who answers a probe over TLS. Without it anybody is
    /// believed; see [`tls::unproved_client`].
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// What stands behind the front: 1 to [`BACKENDS_MAX`].
    #[serde(rename = "backend")]
    pub backends: Vec<Behind>,
    /// What is bounded, and by how much.
    #[serde(default)]
    pub limits: Limits,
}

/// How a backend is asked how it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `GET /health`.
    #[default]
    Https,
    /// By connecting.
    Tcp,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Behind {
    /// `host:port` that connections go to.
    pub address: String,
    /// `host:port` that is probed. Default `address`. The controller door of a Portcullis node is
    /// the better choice: probes of its paced API door wait with the herd.
    #[serde(default)]
    pub health_address: Option<String>,
    /// Whether connections begin with a PROXY header, version 2. Default false: a server that does
    /// not expect it refuses the handshake.
    #[serde(default)]
    pub proxy_protocol: bool,
}

/// What is bounded. Counts and durations are above zero, but for the two rates.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Most connections at once, default 100,000; the rest wait in the kernel's backlog. Lowered
    /// to what there are files for, two each.
    pub connections_max: usize,
    /// Most connections of one backend, default 100,000, with those it says to have from elsewhere.
    pub connections_per_backend_max: usize,
    /// Most connections that have not reached a backend yet, default 256.
    pub joining_max: usize,
    /// Backends that are tried for one connection before it is closed, default 3.
    pub tries_max: usize,
    /// How long a connection that was let in waits for a backend to turn up, default `"30s"`.
    #[serde(with = "duration")]
    pub hold: Duration,
    /// Longest time that connecting to a backend may take, default `"2s"`.
    #[serde(with = "duration")]
    pub connect_within: Duration,
    /// Connections let in a second: at most [`RATE_MAX`]; 0, the default, for as many as backends
    /// take.
    pub accept_rate: u32,
    /// New connections a second of a backend that has just turned up: at most [`RATE_MAX`], 0 for
    /// no limit, default 200. A tenth of them may come at once.
    pub fill_rate: u32,
    /// For how long a backend counts as one that has just turned up, default `"1min"`.
    #[serde(with = "duration")]
    pub fill_for: Duration,
    /// Healthy probes in a row until a backend that was down is up, default 2.
    pub rise: u32,
    /// Failures in a row, of probes and connections, until a backend is down, default 3.
    pub fall: u32,
    /// Time between two probes of a backend, default `"2s"`.
    #[serde(with = "duration")]
    pub probe_every: Duration,
    /// Longest time that a probe may take, default `"2s"`.
    #[serde(with = "duration")]
    pub probe_within: Duration,
    /// How long connections may go on after their backend was removed, and when the front stops,
    /// default `"1min"`.
    #[serde(with = "duration")]
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let limits = front::Config::default();
        Limits {
            connections_max: limits.connections_max,
            connections_per_backend_max: limits.connections_per_backend_max,
            joining_max: limits.joining_max,
            tries_max: limits.tries_max,
            hold: limits.hold,
            connect_within: Duration::from_secs(2),
            accept_rate: 0,
            fill_rate: 200,
            fill_for: limits.fill_for,
            rise: limits.rise,
            fall: limits.fall,
            probe_every: limits.probe_every,
            probe_within: Duration::from_secs(2),
            drain: limits.drain,
        }
    }
}

/// What is wrong with a front that was described by options instead of a file.
#[derive(Debug)]
pub struct WrongOptions(Vec<(String, String)>);

impl Display for WrongOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> =
            self.0.iter().map(|(option, says)| format!("--{option}: {says}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl File {
    /// Reads and checks a file.
    pub fn load(file: &Path) -> Result<File, ConfigError> {
        let text = text_of(file)?;
        let wrong = |faults| ConfigError::Wrong { file: file.to_owned(), faults };
        let source = Source::read(&text).map_err(|fault| wrong(vec![fault]))?;
        let mut read: File = source.decode().map_err(|fault| wrong(vec![fault]))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        read.ca = read.ca.map(|path| folder.join(path));
        let Faults(faults) = read.faults();
        match faults.is_empty() {
            true => Ok(read),
            false => Err(wrong(faults.into_iter().map(|fault| source.place(fault)).collect())),
        }
    }

    /// Checks one that was made of options.
    pub fn check(&self) -> Result<(), WrongOptions> {
        let Faults(faults) = self.faults();
        // `backend.0.address` was said with --backend, `limits.fall` with --fall.
        let option = |path: &str| match path.split_once('.') {
            Some(("limits", key)) => key.to_owned(),
            Some((table, _)) => table.to_owned(),
            None => path.to_owned(),
        };
        let said: Vec<_> =
            faults.into_iter().map(|fault| (option(&fault.path), fault.says)).collect();
        if said.is_empty() { Ok(()) } else { Err(WrongOptions(said)) }
    }

    /// The keys that differ from those of a front that runs by `self`, and that it cannot go on with
    /// before it is started again.
    pub fn restart_keys(&self, other: &File) -> Vec<&'static str> {
        let differ = [
            ("listen", self.listen != other.listen),
            ("metrics-address", self.metrics_address != other.metrics_address),
            ("health", self.health != other.health),
            ("ca", self.ca != other.ca),
            ("limits", self.limits != other.limits),
        ];
        differ.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }

    fn faults(&self) -> Faults {
        let mut faults = Faults(Vec::new());
        let port = self.metrics_address.map(|address| address.port()).filter(|port| *port != 0);
        let says = "has the port of `listen`; it needs one of its own";
        faults.check(port != Some(self.listen.port()), "metrics-address", says);
        let backends = &self.backends;
        faults.check(!backends.is_empty(), "backend", "there must be at least one");
        let says = format!("there are {}, and {BACKENDS_MAX} are the most", backends.len());
        faults.check(backends.len() <= BACKENDS_MAX, "backend", says);
        let path = |at: usize, key: &str| format!("backend.{at}.{key}");
        let each = || backends.iter().enumerate();
        faults.unique(each().map(|(at, backend)| (path(at, "address"), &backend.address)));
        for (at, backend) in each() {
            address(&backend.address, path(at, "address"), &mut faults);
            if let Some(probed) = &backend.health_address {
                address(probed, path(at, "health-address"), &mut faults);
            }
        }
        if let Some(ca) = &self.ca {
            let says = format!("there is no file {}", ca.display());
            faults.check(ca.is_file(), "ca", says);
            let says = "proves nothing where health is \"tcp\"";
            faults.check(self.health == Kind::Https, "ca", says);
        }
        self.limits.faults(&mut faults);
        faults
    }

    /// The backends in the words of the front.
    pub fn backends(&self) -> Vec<Backend> {
        let backend = |behind: &Behind| Backend {
            address: Address::new(&behind.address),
            health: behind.health_address.as_deref().map(Address::new),
            proxy_protocol: behind.proxy_protocol,
        };
        self.backends.iter().map(backend).collect()
    }

    /// What a front is started with. Reads the certificate.
    pub fn front(&self) -> Result<Config, tls::Error> {
        let health = match (self.health, &self.ca) {
            (Kind::Tcp, _) => Health::Tcp,
            (Kind::Https, None) => Health::Https { tls: tls::unproved_client()? },
            (Kind::Https, Some(ca)) => {
                Health::Https { tls: tls::agent_client(&tls::load_certificates(ca)?)? }
            }
        };
        Ok(Config {
            listen: self.listen,
            metrics: self.metrics_address,
            backends: self.backends(),
            health,
            probe_within: self.limits.probe_within,
            connect_within: self.limits.connect_within,
            limits: self.limits.front(),
        })
    }
}

impl Limits {
    fn faults(&self, faults: &mut Faults) {
        let numbers = [
            ("connections-max", self.connections_max),
            ("connections-per-backend-max", self.connections_per_backend_max),
            ("joining-max", self.joining_max),
            ("tries-max", self.tries_max),
            ("rise", self.rise as usize),
            ("fall", self.fall as usize),
        ];
        for (key, number) in numbers {
            faults.check(number > 0, &format!("limits.{key}"), "must be above zero");
        }
        let durations = [
            ("hold", self.hold),
            ("connect-within", self.connect_within),
            ("fill-for", self.fill_for),
            ("probe-every", self.probe_every),
            ("probe-within", self.probe_within),
            ("drain", self.drain),
        ];
        for (key, duration) in durations {
            faults.check(!duration.is_zero(), &format!("limits.{key}"), "must be above zero");
        }
        for (key, rate) in [("accept-rate", self.accept_rate), ("fill-rate", self.fill_rate)] {
            let says = format!("must be at most {RATE_MAX}");
            faults.check(rate <= RATE_MAX, &format!("limits.{key}"), says);
        }
    }

    fn front(&self) -> front::Config {
        front::Config {
            connections_max: self.connections_max,
            connections_per_backend_max: self.connections_per_backend_max,
            joining_max: self.joining_max,
            tries_max: self.tries_max,
            hold: self.hold,
            pace: pace(self.accept_rate),
            fill: pace(self.fill_rate),
            fill_for: self.fill_for,
            rise: self.rise,
            fall: self.fall,
            probe_every: self.probe_every,
            drain: self.drain,
            ..front::Config::default()
        }
    }
}

/// So many a second, a tenth of them at once; no limit for none.
fn pace(rate: u32) -> pace::Config {
    let burst = if rate == 0 { 0 } else { (rate / 10).max(1) };
    pace::Config { burst, interval: Duration::from_secs(1) / rate.max(1) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is said of a file, under a name that does not show the folder.
    fn load(text: &str) -> Result<File, String> {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let file = folder.path().join("front.toml");
        fs::write(&file, text).expect("the folder can be written");
        let prefix = format!("{}/", folder.path().display());
        File::load(&file).map_err(|error| error.to_string().replace(&prefix, ""))
    }

    const BARE: &str = "listen = \"[::]:17070\"\n[[backend]]\naddress = \"a:17070\"\n";

    #[test]
    fn the_example_is_good_and_shows_the_defaults() {
        let example = load(EXAMPLE).expect("it is good");
        let bare = load(BARE).expect("it is good");
        assert_eq!(example.limits, Limits::default());
        assert_eq!((example.health, &example.ca), (bare.health, &bare.ca));
        assert_eq!(example.backends.len(), 3);
        let core = front::Config::default();
        assert_eq!(Limits::default().front().fill, core.fill, "200 a second, 20 at once");
        assert_eq!(Limits::default().front(), front::Config { pace: pace(0), ..core });
    }

    #[test]
    fn faults_are_shown_where_they_are() {
        let text = BARE.replace("a:17070", "a") + "[limits]\nfall = 0\nfill-rate = 2000000\n";
        insta::assert_snapshot!(load(&text).expect_err("it is wrong"), @r#"
        front.toml:3:11: backend.address: "a" is not host:port, such as "10.0.0.1:17070" or "[fd00::1]:17070"
          |
        3 | address = "a"
          |           ^^^
        front.toml:5:8: limits.fall: must be above zero
          |
        5 | fall = 0
          |        ^
        front.toml:6:13: limits.fill-rate: must be at most 1000000
          |
        6 | fill-rate = 2000000
          |             ^^^^^^^
        "#);
        let text = BARE.replace("[[backend]]", "helath = \"tcp\"\n[[backend]]");
        insta::assert_snapshot!(load(&text).expect_err("it is wrong"), @r#"
        front.toml:2:1: helath: unknown key; did you mean `health`?
          |
        2 | helath = "tcp"
          | ^^^^^^
        "#);
        let twice = BARE.to_owned() + "[[backend]]\naddress = \"a:17070\"\n";
        insta::assert_snapshot!(load(&twice).expect_err("it is wrong"), @r#"
        front.toml:5:11: backend.address: a:17070 is given more than once
          |
        5 | address = "a:17070"
          |           ^^^^^^^^^
        "#);
    }
}
