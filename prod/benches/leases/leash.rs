//! A server as a process on a leash: it ends with this process, however that ends.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// Runs what it is given, says its process on the first line, leaves the output to it, and ends it
/// with the given signal once its own input closes, which the kernel sees to even if this process
/// is killed.
const SCRIPT: &str = r#"
signal=$1
shift
"$@" </dev/null &
echo "$!"
exec >&-
read -r _
kill -s "$signal" "$!"
wait
"#;
/// Clock ticks a second in `/proc`: the same on every Linux.
const TICKS: u64 = 100;

/// One server, or one program that starts them. Dropping it ends it and waits for that.
pub struct Leash {
    shell: Child,
    lines: BufReader<ChildStdout>,
    /// The process that was started.
    pub process: u32,
}

impl Leash {
    /// Starts a program whose errors go to `log`, to be ended with `signal`.
    pub fn start(program: &Path, arguments: &[String], signal: &str, log: &Path) -> Result<Leash> {
        let errors = fs::File::create(log).with_context(|| log.display().to_string())?;
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "leash", signal])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            // Ctrl-C goes to the whole group of the terminal; the leash is what ends the program.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let stdout = shell.stdout.take().context("its output is a pipe")?;
        let mut leash = Leash { shell, lines: BufReader::new(stdout), process: 0 };
        let line = leash.line().context("the shell says nothing")?;
        leash.process = line.parse()?;
        Ok(leash)
    }

    /// The next line that the program says; an error once it says no more.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.lines.read_line(&mut line)? > 0, "it has ended");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Nothing else could be done about it.
        let _ = self.shell.wait();
    }
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Of all processors together.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// The most that was ever resident, in bytes.
    pub memory_max: u64,
}

impl Used {
    /// Reads it from the kernel.
    pub fn by(process: u32) -> Result<Used> {
        let read = |file: &str| -> io::Result<String> {
            fs::read_to_string(format!("/proc/{process}/{file}"))
        };
        let stat = read("stat")?;
        // The second field is the program's name, in brackets, and may hold anything.
        let (_, fields) = stat.rsplit_once(") ").context("stat has a name")?;
        let ticks: Result<Vec<u64>, _> =
            fields.split(' ').skip(11).take(2).map(str::parse).collect();
        let status = read("status")?;
        let bytes = |name: &str| -> Result<u64> {
            let Some(line) = status.lines().find_map(|line| line.strip_prefix(name)) else {
                bail!("{name} is not in status");
            };
            let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
            Ok(number.parse::<u64>()? * 1024)
        };
        Ok(Used {
            cpu: Duration::from_millis(ticks?.iter().sum::<u64>() * 1_000 / TICKS),
            memory: bytes("VmRSS")?,
            memory_max: bytes("VmHWM")?,
        })
    }

    /// The processor time and memory of all of them, and the most that one of them had.
    pub fn together(processes: &[u32]) -> Result<Used> {
        let mut all = Used::default();
        for process in processes {
            let one = Used::by(*process)?;
            all.cpu += one.cpu;
            all.memory += one.memory;
            all.memory_max = all.memory_max.max(one.memory_max);
        }
        Ok(all)
    }
}
