//! Logging: which lines of a run are printed, and where to.

use std::fs::File;
use std::io::{LineWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;

use crate::logs::{Filter, Log};
use crate::plan::Plan;

/// What is to be printed of a run while it goes on.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Logging {
    /// Print a line for each event and for all that the program under test says itself, in simulated
    /// time; with FILTER, for some of them, such as `info`, or
    /// `controller-2=debug,agent-17=trace,warn`: a level for all, nodes, classes of nodes
    /// (`controller`, `agent`) and modules (`portcullis::raft=trace`, `controller-2/table=debug`).
    /// Dependencies say nothing unless they are named: `openraft=warn`. Only for one run alone.
    #[arg(long, value_name = "FILTER", num_args = 0..=1, default_missing_value = "trace")]
    log: Option<Filter>,
    /// Write those lines to this file instead; without --log, all of them.
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
}

impl Logging {
    /// Whether anything is to be printed.
    pub fn is_wanted(&self) -> bool {
        self.log.is_some() || self.log_file.is_some()
    }

    /// The log of a run of this plan, if there is to be one; the file is there before anything runs.
    pub fn open(self, plan: &Plan) -> anyhow::Result<Option<Log>> {
        if !self.is_wanted() {
            return Ok(None);
        }
        let filter = self.log.unwrap_or_else(Filter::everything);
        filter.fits(plan).map_err(anyhow::Error::msg).context("--log")?;
        let to: Box<dyn Write + Send> = match self.log_file {
            Some(path) => {
                let file = File::create(&path);
                let file = file.with_context(|| format!("cannot write {}", path.display()))?;
                Box::new(LineWriter::new(file))
            }
            None => Box::new(std::io::stdout()),
        };
        Ok(Some(Log::new(filter, to)))
    }
}
