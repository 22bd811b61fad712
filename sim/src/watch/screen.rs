//! The screen: a terminal that is taken while a run is watched, and given back as it was.
//!
//! Acts alone: what a key means for the run's pace, and what is drawn, are the business of
//! [`Keeper`] and [`frame`].

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_core::Time;
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

use super::frame::{Ink, Pace, Pieces, frame};
use super::rein::Rein;
use super::speed::Speed;
use super::view::View;

/// From one frame to the next, and how long a key is waited for: tenths of a second, as terminals
/// count.
const TENTHS_EACH: u8 = 1;
const FRAME_EVERY: Duration = Duration::from_millis(100 * TENTHS_EACH as u64);
/// How far a step goes, in microseconds of the run.
const STEP: u64 = 100_000;
/// The size of a screen that does not say which it has.
const SIZE: (usize, usize) = (80, 24);
/// The keyboard of this process's own terminal.
const KEYBOARD: &str = "/dev/tty";

/// How the terminal was before it was taken, while it is.
static BEFORE: Mutex<Option<Taken>> = Mutex::new(None);

/// What is to be put back: the modes of the keyboard, if keys are read.
struct Taken(Option<(File, Termios)>);

/// Why watching ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The run is over, and was looked at.
    Over,
    /// Somebody has seen enough of it.
    Quit,
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// Takes the terminal, and says where its keys are read: also where the standard input is a plan.
fn take() -> Option<File> {
    let keyboard = File::open(KEYBOARD).ok();
    let taken = keyboard.as_ref().and_then(|keyboard| {
        let before = termios::tcgetattr(keyboard).ok()?;
        let mut raw = before.clone();
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = TENTHS_EACH;
        termios::tcsetattr(keyboard, OptionalActions::Now, &raw).ok()?;
        Some((keyboard.try_clone().ok()?, before))
    });
    let has_keys = taken.is_some();
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Taken(taken));
    // The other screen, and no cursor.
    send("\x1b[?1049h\x1b[?25l");
    keyboard.filter(|_| has_keys)
}

/// Gives the terminal back as it was, if it was taken. May be called by whoever ends the process.
pub fn give_back() {
    let taken = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Taken(modes)) = taken else { return };
    send("\x1b[?25h\x1b[?1049l");
    if let Some((keyboard, before)) = modes {
        // A terminal that is gone has no modes.
        let _ = termios::tcsetattr(keyboard, OptionalActions::Now, &before);
    }
}

/// A screen that is gone ends nothing but the drawing.
fn send(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Who holds the rein: sets the pace, reads keys, draws.
pub struct Keeper {
    rein: Rein,
    pace: Pace,
    view: Option<View>,
    /// Whether there is a screen at all, and where its keys are read if they are.
    draws: bool,
    keyboard: Option<File>,
}

/// What is to be done about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Do {
    GoOn,
    Step,
    End(End),
}

impl Keeper {
    /// One who draws on the terminal, or only sets the pace.
    pub fn new(rein: Rein, speed: Speed, draws: bool) -> Keeper {
        let pace = Pace { speed, is_paused: false, verdict: None, has_keys: false };
        Keeper { rein, pace, view: None, draws, keyboard: None }
    }

    /// Keeps the pace until the run is over and looked at, or somebody has seen enough of it.
    #[expect(clippy::disallowed_methods, reason = "people watch in real time")]
    pub fn keep(mut self) -> End {
        self.keyboard = if self.draws { take() } else { None };
        self.pace.has_keys = self.keyboard.is_some();
        let mut last = Instant::now();
        loop {
            let end = self.keys().into_iter().find_map(|key| match self.pressed(key) {
                Do::GoOn => None,
                Do::Step => {
                    let from = self.rein.until().max(self.rein.reached());
                    self.rein.loosen(Time(from.0.saturating_add(STEP)));
                    None
                }
                Do::End(end) => Some(end),
            });
            self.pace.verdict = self.rein.verdict();
            if self.draws {
                self.view = self.rein.take().or(self.view.take());
                self.draw();
            }
            let end = end.or_else(|| {
                let looked_at = self.pace.verdict.is_some() && !self.pace.has_keys;
                looked_at.then_some(End::Over)
            });
            if let Some(end) = end {
                give_back();
                return end;
            }
            let now = Instant::now();
            self.rein.loosen(self.limit(now - std::mem::replace(&mut last, now)));
        }
    }

    /// How far the run may go after so much real time.
    fn limit(&self, real: Duration) -> Time {
        let until = self.rein.until();
        if self.pace.is_paused {
            return until;
        }
        let reached = self.rein.reached();
        match self.pace.speed.in_real(real) {
            None => Time(u64::MAX),
            Some(_) if until == Time(u64::MAX) => reached,
            // A run that is slower than it may be is not let ahead by more than it is behind.
            Some(step) => Time((until.0 + step).min(reached.0 + 2 * step)).max(until),
        }
    }

    /// The keys that were pressed within the time of a frame.
    fn keys(&self) -> Vec<u8> {
        let mut keys = [0; 16];
        let read = self.keyboard.as_ref().map(|mut keyboard| keyboard.read(&mut keys));
        match read {
            Some(Ok(read)) => keys[..read].to_vec(),
            // A terminal that is gone presses nothing any more.
            Some(Err(_)) | None => {
                std::thread::sleep(FRAME_EVERY);
                Vec::new()
            }
        }
    }

    /// Does what a key says.
    fn pressed(&mut self, key: u8) -> Do {
        match key {
            b'q' if self.pace.verdict.is_some() => Do::End(End::Over),
            b'q' => Do::End(End::Quit),
            // Ctrl-C, which is a key here.
            3 => Do::End(End::Interrupted),
            b' ' => {
                self.pace.is_paused = !self.pace.is_paused;
                if self.pace.is_paused {
                    self.rein.loosen(self.rein.reached());
                }
                Do::GoOn
            }
            b's' => {
                if !std::mem::replace(&mut self.pace.is_paused, true) {
                    self.rein.loosen(self.rein.reached());
                }
                Do::Step
            }
            b'+' | b'=' => {
                self.pace.speed = self.pace.speed.faster();
                Do::GoOn
            }
            b'-' => {
                self.pace.speed = self.pace.speed.slower();
                Do::GoOn
            }
            _ => Do::GoOn,
        }
    }

    fn draw(&self) {
        let Some(view) = &self.view else { return };
        let size = termios::tcgetwinsize(std::io::stdout()).ok();
        let size = size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        let (columns, rows) =
            size.filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(SIZE);
        // Whoever ends the process may have given the terminal back by now.
        let taken = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.is_some() {
            send(&painted(&frame(view, &self.pace, columns, rows)));
        }
    }
}

/// A frame as terminals read it.
fn painted(frame: &[Pieces]) -> String {
    let mut text = String::from("\x1b[H");
    for (number, row) in frame.iter().enumerate() {
        if number > 0 {
            text.push_str("\r\n");
        }
        for (ink, piece) in row {
            let code = match ink {
                Ink::Plain => "0",
                Ink::Bold => "1",
                Ink::Dim => "2",
                Ink::Good => "32",
                Ink::Wary => "33",
                Ink::Bad => "31",
            };
            // Writing to a string does not fail.
            let _ = write!(text, "\x1b[0;{code}m{}", piece.replace(char::is_control, "\u{fffd}"));
        }
        text.push_str("\x1b[0m\x1b[K");
    }
    text.push_str("\x1b[J");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(until: u64) -> Keeper {
        let mut keeper = Keeper::new(Rein::new(Time(until)), Speed::PLEASANT, false);
        keeper.pace.has_keys = true;
        keeper
    }

    #[test]
    fn a_run_is_let_go_at_its_speed_and_not_far_ahead() {
        let keeper = keeper(5_000_000);
        let tenth = Duration::from_millis(100);
        // It has not moved yet, so it is not let further ahead.
        assert_eq!(keeper.limit(tenth), Time(5_000_000));
        keeper.rein.reach(Time(5_000_000));
        assert_eq!(keeper.limit(tenth), Time(6_000_000));
    }

    #[test]
    fn space_stops_it_and_s_goes_on_by_a_step() {
        let mut keeper = keeper(9_000_000);
        keeper.rein.reach(Time(7_000_000));
        assert_eq!(keeper.pressed(b' '), Do::GoOn);
        assert_eq!(keeper.limit(Duration::from_secs(1)), Time(7_000_000));
        assert_eq!(keeper.pressed(b's'), Do::Step);
        assert!(keeper.pace.is_paused);
        assert_eq!(keeper.pressed(b' '), Do::GoOn);
        assert!(keeper.limit(Duration::from_secs(1)) > Time(7_000_000));
    }

    #[test]
    fn keys_set_the_speed_and_end_it() {
        let mut keeper = keeper(0);
        keeper.pressed(b'+');
        assert_eq!(keeper.pace.speed.to_string(), "20x");
        assert!((0..20).all(|_| keeper.pressed(b'+') == Do::GoOn));
        assert_eq!(keeper.limit(Duration::from_secs(1)), Time(u64::MAX));
        keeper.rein.loosen(Time(u64::MAX));
        keeper.rein.reach(Time(3_000_000));
        keeper.pressed(b'-');
        assert_eq!(keeper.limit(Duration::from_secs(1)), Time(3_000_000));
        assert_eq!(keeper.pressed(b'q'), Do::End(End::Quit));
        assert_eq!(keeper.pressed(3), Do::End(End::Interrupted));
        assert_eq!(keeper.pressed(b'x'), Do::GoOn);
        keeper.pace.verdict = Some("passed".into());
        assert_eq!(keeper.pressed(b'q'), Do::End(End::Over));
    }

    #[test]
    fn nothing_that_a_run_says_steers_the_terminal() {
        let text = painted(&[vec![(Ink::Bad, "\x1b[2Jgone\n".into())]]);
        assert_eq!(text, "\x1b[H\x1b[0;31m\u{fffd}[2Jgone\u{fffd}\x1b[0m\x1b[K\x1b[J");
    }
}
