//! Frames: a view as rows of text.
//!
//! Decides nothing but where what stands: a frame is a function of what is shown and of the size of
//! the screen.

use super::speed::Speed;
use super::view::{Front, Operations, Row, View};
use crate::action::Second;
use crate::picture::BARS;
use crate::report::{Health, Unit, figure};

/// Columns before the little bars of a controller, and after them.
const BEFORE_BARS: usize = 53;
const AFTER_BARS: usize = 43;
/// Fewer bars than this are none.
const BARS_LEAST: usize = 6;
/// Bars of the operations.
const OPERATIONS_BARS: usize = 24;

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Bold,
    Dim,
    Good,
    Wary,
    Bad,
}

/// A row of the screen.
pub type Pieces = Vec<(Ink, String)>;

/// Where the run stands with whoever watches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    pub speed: Speed,
    pub is_paused: bool,
    /// What it came to, once it is over.
    pub verdict: Option<String>,
    /// Whether keys do anything.
    pub has_keys: bool,
}

/// A view as it stands on a screen of this size; no row is wider, and there are no more.
pub fn frame(view: &View, pace: &Pace, columns: usize, rows: usize) -> Vec<Pieces> {
    let mut frame = head(view, pace, columns);
    frame.push(Vec::new());
    frame.push(controllers_head(view, columns));
    frame.extend(view.rows.iter().map(|row| controller(row, view, columns)));
    frame.extend(view.front.as_ref().map(front));
    frame.push(Vec::new());
    frame.push(figures(view));
    frame.push(checks(view));
    frame.extend(view.broken.iter().map(|broke| vec![(Ink::Bad, format!("  broke  {broke}"))]));
    frame.push(Vec::new());
    let foot = foot(pace);
    let left = rows.saturating_sub(frame.len() + 1);
    frame.extend(view.lines[view.lines.len().saturating_sub(left)..].iter().map(line));
    frame.truncate(rows.saturating_sub(1));
    frame.resize(rows.saturating_sub(1), Vec::new());
    frame.push(foot);
    frame.truncate(rows);
    frame.iter_mut().for_each(|row| cut(row, columns));
    frame
}

fn head(view: &View, pace: &Pace, columns: usize) -> Vec<Pieces> {
    let second = |at: portcullis_core::Time| {
        let text = Second(at.since(portcullis_core::Time(0))).to_string();
        // Microseconds are told apart by nobody.
        text.find('.')
            .map_or(text.clone(), |point| format!("{}s", &text[..(point + 3).min(text.len() - 1)]))
    };
    let state = match (&pace.verdict, pace.is_paused) {
        (Some(_), _) => "over".to_string(),
        (None, true) => "paused".to_string(),
        (None, false) => pace.speed.to_string(),
    };
    let clock = format!("{} of at most {}  {state}", second(view.at), second(view.ends));
    let room = columns.saturating_sub(view.name.chars().count() + clock.chars().count());
    let mut rows = vec![vec![
        (Ink::Bold, view.name.clone()),
        (Ink::Plain, " ".repeat(room.max(2))),
        (Ink::Bold, clock),
    ]];
    rows.push(progress(view, columns));
    let faults = match &view.faults[..] {
        [] => vec![(Ink::Dim, "none acts".to_string())],
        faults => vec![(Ink::Wary, faults.join("; "))],
    };
    rows.push([(Ink::Dim, "faults   ".to_string())].into_iter().chain(faults).collect());
    if let Some(next) = &view.next {
        rows.push(vec![(Ink::Dim, format!("next     {next}"))]);
    }
    if let Some(verdict) = &pace.verdict {
        let ink = if verdict.starts_with("passed") { Ink::Good } else { Ink::Bad };
        rows.push(vec![(Ink::Dim, "verdict  ".into()), (ink, verdict.clone())]);
    }
    rows
}

/// How far the run is, and where its faults end.
fn progress(view: &View, columns: usize) -> Pieces {
    let place = |at: u64| (at as u128 * columns as u128 / u128::from(view.ends.0.max(1))) as usize;
    let (now, settle) = (place(view.at.0).min(columns), place(view.settle.0).min(columns));
    let acts = now.min(settle);
    vec![
        (Ink::Wary, "━".repeat(acts)),
        (Ink::Good, "━".repeat(now - acts)),
        (Ink::Dim, "─".repeat(settle.saturating_sub(now))),
        (Ink::Dim, "┄".repeat(columns - settle.max(now))),
    ]
}

fn bars_fit(columns: usize) -> usize {
    let fit = columns.saturating_sub(BEFORE_BARS + AFTER_BARS);
    if fit < BARS_LEAST { 0 } else { fit.min(super::view::BARS_MAX) }
}

fn controllers_head(view: &View, columns: usize) -> Pieces {
    let bars = bars_fit(columns);
    let limit =
        view.limit.map_or(String::new(), |limit| format!(" of {}", figure(Unit::Bytes, limit)));
    let text = format!(
        "{:<13} {:<14} {:<16} {:>6} {:<bars$}{:>9} {:>5} {:>8}  memory{limit}",
        "", "role", "doors", "conns", "", "waiting", "queue", "lag"
    );
    vec![(Ink::Dim, text)]
}

fn controller(row: &Row, view: &View, columns: usize) -> Pieces {
    let ink = match (row.is_up, row.leads) {
        (false, _) => Ink::Bad,
        (true, true) => Ink::Good,
        (true, false) => Ink::Plain,
    };
    let highest = view.rows.iter().flat_map(|row| &row.bars).copied().max().unwrap_or_default();
    let fit = bars_fit(columns);
    let bars = bars(&row.bars, highest, fit);
    let waiting = match row.backlog {
        Some(backlog) => format!("{backlog}+{}", row.stands),
        None => row.stands.to_string(),
    };
    let lag = row.lag.map_or("-".into(), |lag| figure(Unit::Time, lag));
    let mut pieces = vec![
        (Ink::Bold, format!("{:<13} ", row.node.to_string())),
        (ink, format!("{:<14} ", row.role)),
        (Ink::Plain, format!("{:<16} {:>6} ", row.doors, row.connections)),
        (Ink::Good, format!("{bars:>fit$}")),
        (Ink::Plain, format!("{waiting:>9} {:>5} {lag:>8}  ", row.queued)),
    ];
    pieces.push(match (row.memory, view.limit) {
        (Some(memory), Some(limit)) => {
            let percent = memory.saturating_mul(100) / limit.max(1);
            let ink = if percent >= 75 { Ink::Wary } else { Ink::Plain };
            (ink, format!("{} {percent}%", figure(Unit::Bytes, memory)))
        }
        (memory, _) => (Ink::Dim, memory.map_or("-".into(), |memory| figure(Unit::Bytes, memory))),
    });
    pieces
}

fn front(front: &Front) -> Pieces {
    let mut pieces = vec![
        (Ink::Bold, format!("{:<13} ", "front")),
        (
            Ink::Plain,
            format!("{} let in, {} without a controller  ", front.connections, front.joining),
        ),
    ];
    for (node, connections, health) in &front.backends {
        let ink = match health {
            Health::Up => Ink::Good,
            Health::Down => Ink::Bad,
            Health::Unready | Health::Leaving => Ink::Wary,
            Health::Unseen | Health::Gone => Ink::Dim,
        };
        pieces.push((Ink::Plain, format!("  {}: {connections} ", node.0)));
        pieces.push((ink, health.word().into()));
    }
    pieces
}

fn figures(view: &View) -> Pieces {
    let Operations { bars: rates, wait } = &view.operations;
    let now = rates.last().copied().unwrap_or_default();
    let highest = rates.iter().copied().max().unwrap_or_default();
    let wait = wait.map_or("-".into(), |wait| figure(Unit::Time, wait));
    vec![
        (Ink::Dim, "agents ".into()),
        (Ink::Bold, format!("{} of {}", view.agents.0, view.agents.1)),
        (Ink::Dim, "   lease operations ".into()),
        (Ink::Bold, format!("{now}/s ")),
        (Ink::Good, bars(rates, highest, OPERATIONS_BARS)),
        (Ink::Dim, "   p99 ".into()),
        (Ink::Bold, wait),
        (Ink::Dim, "   clock behind ".into()),
        (Ink::Bold, figure(Unit::Time, view.lag)),
        (Ink::Dim, format!("   events {}", view.events)),
    ]
}

fn checks(view: &View) -> Pieces {
    let broken = match view.broken.len() {
        0 => (Ink::Good, "none broken".to_string()),
        broken => (Ink::Bad, format!("{broken} broken")),
    };
    vec![(Ink::Dim, "checks ".into()), (Ink::Bold, format!("{} hold, ", view.held)), broken]
}

fn line((at, who, text): &(String, String, String)) -> Pieces {
    vec![(Ink::Dim, format!("{at:>11}  {who:<13} ")), (Ink::Plain, text.clone())]
}

fn foot(pace: &Pace) -> Pieces {
    let text = match (pace.has_keys, pace.verdict.is_some()) {
        (false, _) => "",
        (true, true) => "q: the whole page",
        (true, false) => "space: pause   s: a tenth of a second   + -: faster, slower   q: quit",
    };
    vec![(Ink::Dim, text.into())]
}

/// The last of the values as little bars; only nothing at all is a blank.
fn bars(values: &[u64], highest: u64, fit: usize) -> String {
    let shown = &values[values.len().saturating_sub(fit)..];
    let bar = |value: &u64| match value {
        0 => ' ',
        value => BARS[((value * 8).div_ceil(highest.max(1)) - 1).min(7) as usize],
    };
    shown.iter().map(bar).collect()
}

/// Cuts a row where the screen ends.
fn cut(row: &mut Pieces, columns: usize) {
    let mut left = columns;
    for (_, text) in row.iter_mut() {
        if let Some((end, _)) = text.char_indices().nth(left) {
            text.truncate(end);
        }
        left -= text.chars().count().min(left);
    }
}
