//! The command line: what can be said to `portcullis`, and how it ends.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod agent;
mod bootstrap;
mod check_config;
mod client;
mod client_file;
mod cluster;
mod dev;
mod drawn;
mod exit;
mod files;
mod front;
mod hash_password;
mod join;
mod lease;
mod load;
mod log;
mod made;
mod run;
mod status;

use exit::{Exit, Failure};

/// The front door and lease service of a highly available controller.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    log: log::Arguments,
}

const AFTER_HELP: &str = "\
Try it on this machine:
  portcullis dev                                  three controllers on loopback, until Ctrl-C
  portcullis lease claim mysql mysql/0 --for 60s  in another terminal
  portcullis status

Exit codes:
  0  done
  1  the command line or a file is wrong
  2  refused, such as a lease that somebody else holds
  3  nobody can say whether it was done; ask again to find out
  4  no controller could be reached
  5  the controllers are overloaded; come back when they say
  6  `load` saw a lease held by two: a bug of the controllers
  7  `lease hold` lost its lease, and stopped the program
  8  `run` was removed from the cluster: it must not be started again with this data";

#[derive(Subcommand)]
enum Command {
    /// Run a cluster on this machine, to try things out
    ///
    /// Each controller is a process of its own, so that one can be killed alone; it is then started
    /// again. Certificates and passwords are made on first start and kept in the folder.
    #[command(after_help = "\
Ctrl-C or SIGTERM stops the controllers and exits with 0. What they decided is kept in the folder,
and the next `dev` on it goes on from there. Delete the folder to start over.")]
    Dev(dev::Arguments),
    /// Run one controller
    #[command(after_help = "\
Stops on Ctrl-C or SIGTERM: lets agents go within drain-max, hands the lead over, exits with 0; again:
at once. SIGHUP reads the file again.
`portcullis check-config FILE` says beforehand whether the file is right.")]
    Run(run::Arguments),
    /// Make the first controller of a cluster
    ///
    /// Makes an authority, the controller's certificate and its configuration, and a client file for
    /// you, all in one folder that must be empty. Nothing is started.
    #[command(after_help = "\
Example:
  portcullis bootstrap --data-dir /var/lib/portcullis --address 10.0.0.1
  portcullis run --config /var/lib/portcullis/controller.toml
  export PORTCULLIS_CLIENT=/var/lib/portcullis/client.toml
  portcullis cluster add                          a token, for the next controller to join by

Whoever has the folder's ca.key can make controllers. Every controller that joins is handed it, and
can let others join; take ca-key out of a controller's file, and its ca.key away, and it cannot.")]
    Bootstrap(bootstrap::Arguments),
    /// Join a cluster as one more controller, by a token
    ///
    /// `portcullis cluster add` prints the token; it counts once. Makes a key that never leaves this
    /// host, is told its number, its certificate and what all configurations have in common, and
    /// writes its files into a folder that must be empty. If it breaks off, the same command goes on.
    #[command(after_help = "\
Examples:
  portcullis join TOKEN --data-dir /var/lib/portcullis --run
  ssh a portcullis cluster add | portcullis join - --data-dir /var/lib/portcullis --address 10.0.0.2

Whoever answers must prove to have the certificate authority that the token names: nobody else is
told its secret. A token that was used, has expired, was revoked or is for another cluster ends it
with exit code 2, and with 3 nobody can say: the same command finds out.")]
    Join(join::Arguments),
    /// Balance connections over controllers, or over any servers that speak TLS
    ///
    /// A proxy that passes TLS through: clients see the backends' own certificates, and the front
    /// has none. A connection goes to the healthy backend that has the fewest. While there is none,
    /// nobody is let in: clients wait in the kernel's backlog.
    #[command(after_help = "\
Examples:
  portcullis front --listen 0.0.0.0:17070 --backend a:17070 --backend b:17070 --health-port 17071
  portcullis front --listen 127.0.0.1:0 --backend a:17070 --health tcp --print-ports
  portcullis front --example > front.toml && portcullis front --config front.toml

Signals:
  SIGTERM, SIGINT  stop accepting, let connections end within --drain, exit with 0; again: at once
  SIGHUP           read the backends of --config again; those of removed ones may end within drain
  SIGUSR1          log each backend's state and connections, and what was done so far

Each connection needs two open files, and a port of this host: 28,232 for each backend unless
net.ipv4.ip_local_port_range is widened.")]
    Front(front::Arguments),
    /// Show how the controllers are
    Status(status::Arguments),
    /// Look after the members of the cluster: who there is, who votes, who leaves
    Cluster(cluster::Arguments),
    /// Claim, extend, give up, hold or list leases
    Lease(lease::Arguments),
    /// Run one agent: it keeps a connection, and its file's addresses
    ///
    /// Tries the controllers in random order and backs off as all agents do, follows redirects, and
    /// rewrites the addresses in its file whenever controllers move; nothing else in the file
    /// changes, and an empty list is never written.
    #[command(after_help = "\
Examples:
  portcullis agent --config agent.toml --as mysql/0 --lead
  portcullis agent --config agent.toml --as machine-0 --json

The file is a client file, such as `portcullis dev` makes. Ends on Ctrl-C or SIGTERM with 0, and with
2 if a controller says that the agent may not log in.")]
    Agent(agent::Arguments),
    /// Put a cluster under the load of thousands of units that want leases
    ///
    /// Re-creates the workload that Juju was measured with: every unit has a connection of its
    /// own, claims its application's lease for a minute, renews it after half a minute, and waits
    /// for the release when another has it. All log in as one user of the client file, who may
    /// claim for anybody; agents may only claim for themselves.
    #[command(after_help = "\
Examples:
  portcullis dev                                  a cluster, in another terminal
  portcullis load --processes 100 --leases 40     12,000 connections for 4,000 leases
  portcullis load --claimers 64 --duration 30s    claims a second, each durable on a majority
  portcullis load --herd --json -                 all at one moment; figures as JSON
  portcullis load --agents 30000 --until-even     a herd; kill a controller, and see it even out

Latencies are from asking to a definite answer, granted or denied. The exit code is 6 if two holders
ever believed at one time that they hold one lease, by their own clocks from when each asked.")]
    Load(load::Arguments),
    /// Say whether a controller's configuration is right, and what it means
    #[command(after_help = "\
Example:
  portcullis check-config --example > controller.toml    every key, with its default and meaning
  portcullis check-config controller.toml")]
    CheckConfig {
        /// The file, in TOML
        #[arg(required_unless_present = "example")]
        file: Option<PathBuf>,
        /// Print an example instead, with every key, its default and its meaning
        #[arg(long, conflicts_with = "file")]
        example: bool,
    },
    /// Read a password from standard input and print what configurations keep of it
    #[command(after_help = "\
Example:
  openssl rand -hex 16 | tee unit.password | portcullis hash-password --drawn")]
    HashPassword {
        /// The password was drawn at random (80 bits or more): hash it so that logging in is fast
        ///
        /// What people choose is stretched, which costs a controller about 100 ms a login: too much
        /// for thousands of agents, whose passwords nobody can guess anyway.
        #[arg(long)]
        drawn: bool,
    },
}

/// Runs the command that this process was started with.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and the version are asked for, all else is a wrong command line.
            let exit = if error.use_stderr() { Exit::Wrong } else { Exit::Done };
            // Nobody is left to be told if this cannot be written.
            let _ = error.print();
            return exit.into();
        }
    };
    let ended = log::start(&arguments.log).and_then(|()| match arguments.command {
        Command::Dev(arguments) => dev::dev(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Bootstrap(arguments) => bootstrap::bootstrap(&arguments),
        Command::Join(arguments) => join::join(&arguments),
        Command::Front(arguments) => front::front(&arguments),
        Command::Status(arguments) => status::status(&arguments),
        Command::Cluster(arguments) => cluster::cluster(&arguments),
        Command::Lease(arguments) => lease::lease(&arguments),
        Command::Agent(arguments) => agent::agent(&arguments),
        Command::Load(arguments) => load::load(&arguments),
        Command::CheckConfig { file, .. } => check_config::check_config(file.as_deref()),
        Command::HashPassword { drawn } => hash_password::hash_password(drawn),
    });
    match ended {
        Ok(()) => Exit::Done.into(),
        Err(Failure { exit, says }) => {
            eprintln!("{says}");
            exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::error::ErrorKind> {
        let parsed = Arguments::try_parse_from(line.split_whitespace());
        parsed.map(|arguments| arguments.command).map_err(|error| error.kind())
    }

    #[test]
    fn every_command_explains_itself() {
        let mut command = Arguments::command();
        command.build();
        for sub in command.get_subcommands_mut() {
            let help = sub.render_long_help().to_string();
            assert!(help.contains("Usage:"), "{help}");
            assert!(!help.contains("ports-reserved"), "{help}");
        }
    }

    #[test]
    fn the_documented_lines_are_understood() {
        for line in [
            "portcullis dev --dir /tmp/x --controllers 3",
            "portcullis run --config FILE --print-ports",
            "portcullis check-config FILE",
            "portcullis front --listen [::]:0 --backend a:1 --backend b:1 --health-port 2",
            "portcullis front --listen 0.0.0.0:1 --backend a:1 --health tcp --proxy-protocol",
            "portcullis front --config FILE --print-ports --threads 2",
            "portcullis front --example",
            "portcullis status --json --client FILE",
            "portcullis lease claim mysql mysql/0 --for 60s --namespace application-leadership",
            "portcullis lease hold backup --namespace n --for 30s --keep -- ./backup.sh -v",
            "portcullis lease hold backup --once --holder me --stop-within 2s -- sleep 1",
            "portcullis lease list --as mysql/0 --within 5s --log debug",
            "portcullis cluster list --json --watch",
            "portcullis cluster remove controller-3 --no-wait",
            "portcullis cluster promote 4 --wait 5s",
            "portcullis cluster demote machine-2 --undo",
            "portcullis cluster want --voters 5 --stand-bys 1 --client FILE",
            "portcullis cluster lead 2",
            "portcullis cluster recover --config FILE --force",
            "portcullis cluster recover --data-dir DIR --json",
            "portcullis load --processes 300 --leases 200 --units 3 --claim 1m --renew 30s",
            "portcullis load --claimers 64 --duration 30s --json - --multiplex 8",
            "portcullis load --agents 30000 --until-even --agents-per-process 9000 --duration 1h",
            "portcullis dev --agent-ratelimit-max 0",
            "portcullis dev --balance redirect --moves-rate 5ms --move-again-after 61s",
            "portcullis hash-password --drawn",
            "portcullis agent --config FILE --as mysql/0 --lead --json",
            "portcullis bootstrap --data-dir DIR --address 10.0.0.1 --address a.example",
            "portcullis bootstrap --data-dir DIR --api-port 1 --controller-port 0",
            "portcullis join TOKEN --data-dir DIR --domain zone-a --run --within 1m",
            "portcullis join - --data-dir DIR --api-port 1 --address 10.0.0.2",
            "portcullis cluster add --for 1h --client FILE",
            "portcullis cluster add --list --json",
            "portcullis cluster add --revoke 0a1b",
            "portcullis cluster renew-certificate --config FILE",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        use clap::error::ErrorKind::{ArgumentConflict, UnknownArgument, ValueValidation};

        assert_eq!(parse("portcullis dev --controllers 9").err(), Some(ValueValidation));
        assert_eq!(parse("portcullis lease claim a b --for ever").err(), Some(ValueValidation));
        assert_eq!(parse("portcullis load --multiplex 61").err(), Some(ValueValidation));
        assert_eq!(parse("portcullis load --agents 1 --herd").err(), Some(ArgumentConflict));
        assert_eq!(parse("portcullis load --claimers 1 --herd").err(), Some(ArgumentConflict));
        use clap::error::ErrorKind::MissingRequiredArgument;
        assert_eq!(parse("portcullis lease hold x").err(), Some(MissingRequiredArgument));
        let both = "portcullis cluster add --list --revoke 0a";
        assert_eq!(parse(both).err(), Some(ArgumentConflict));
        assert_eq!(parse("portcullis join TOKEN").err(), Some(MissingRequiredArgument));
        let torn = "portcullis lease hold x --once --keep -- true";
        assert_eq!(parse(torn).err(), Some(ArgumentConflict));
        let both = "portcullis front --config FILE --listen 127.0.0.1:0 --backend a:1";
        assert_eq!(parse(both).err(), Some(ArgumentConflict));
        assert_eq!(parse("portcullis status --quickly").err(), Some(UnknownArgument));
        assert_eq!(parse("portcullis cluster want").err(), Some(MissingRequiredArgument));
        assert_eq!(parse("portcullis cluster want --voters 8").err(), Some(ValueValidation));
        assert_eq!(parse("portcullis cluster remove mysql/0").err(), Some(ValueValidation));
    }
}
