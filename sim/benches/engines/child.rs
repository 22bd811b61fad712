//! One process, and what it took.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// Linux counts a process's time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
/// How often its memory is looked at: the kernel keeps the peak, but forgets it as the process ends.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What one process took, and what it did.
pub struct Sample {
    pub wall: Duration,
    /// Of all its threads.
    pub processor: Duration,
    /// Most bytes that were resident.
    pub memory: u64,
    pub events: u64,
    pub simulated: Duration,
}

impl Sample {
    /// Runs a command whose last lines are those of an outcome page.
    #[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
    pub fn of(command: &mut Command) -> Result<Sample> {
        let began = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().context("it does not start")?;
        let mut out = child.stdout.take().context("it has no output")?;
        let (pid, ended) = (child.id(), AtomicBool::new(false));
        let (text, memory) = std::thread::scope(|scope| {
            let looks = scope.spawn(|| {
                let mut most = 0;
                while !ended.load(Ordering::Relaxed) {
                    most = most.max(peak(pid).unwrap_or(0));
                    std::thread::sleep(LOOK_EVERY);
                }
                most
            });
            let mut text = String::new();
            let read = out.read_to_string(&mut text);
            ended.store(true, Ordering::Relaxed);
            read.map(|_| (text, looks.join().unwrap_or(0)))
        })?;
        let processor = processor(pid)?;
        let code = child.wait()?;
        let wall = began.elapsed();
        ensure!(code.success(), "it ended with {code}: {text}");
        let (events, simulated) = read(&text).with_context(|| text.clone())?;
        Ok(Sample { wall, processor, memory, events, simulated })
    }
}

/// The most memory that a process has had.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes << 10)
}

/// The time of the processor that a process took that has ended, and that nobody has waited for yet.
fn processor(pid: u32) -> Result<Duration> {
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // Its name, in parentheses, may have blanks.
        let Some((_, rest)) = stat.rsplit_once(") ") else { bail!("what is {stat}?") };
        let fields: Vec<&str> = rest.split(' ').collect();
        if fields[0] == "Z" {
            let ticks = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
            return Ok(TICK * ticks);
        }
        std::thread::yield_now();
    }
}

/// How many events in how much simulated time, from the end of a page.
fn read(page: &str) -> Result<(u64, Duration)> {
    let last = page.lines().rev().find_map(|line| line.split_once("  events "));
    let events = last.and_then(|(_, rest)| rest.split(' ').next()).context("no events")?;
    let verdict = page.lines().rev().find(|line| line.starts_with("verdict "));
    let at = verdict.and_then(|line| line.rsplit_once(" at ")).context("no verdict")?.1;
    let seconds: f64 = at.strip_suffix('s').context("no seconds")?.parse()?;
    Ok((events.parse()?, Duration::from_secs_f64(seconds)))
}
