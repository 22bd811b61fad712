//! Scales: where a value stands on an axis, and which values are named there.
//!
//! All in whole numbers, as everywhere in this crate, so that a plot is the same on every machine.

use serde::{Deserialize, Serialize};

use super::text::Unit;

/// How a value becomes a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// From zero up, in proportion.
    Linear,
    /// Each doubling as high as the next.
    Doublings,
}

/// An axis: from its lowest value to its highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    kind: Kind,
    lowest: u64,
    highest: u64,
}

/// A doubling has so many steps.
const STEPS: u64 = 1 << 16;

impl Scale {
    /// An axis on which everything up to `most` fits. Doublings start at `least`, or else at zero.
    pub fn new(kind: Kind, unit: Unit, least: u64, most: u64) -> Scale {
        match kind {
            Kind::Linear => {
                let step = step(unit, most.max(1));
                Scale { kind, lowest: 0, highest: most.max(1).div_ceil(step) * step }
            }
            Kind::Doublings => {
                let lowest = power_of_ten(least.max(1));
                let highest = most.max(lowest * 10);
                Scale { kind, lowest, highest }
            }
        }
    }

    /// How far up a value is, of `height`. What is off the axis stands at its end.
    pub fn height(&self, value: u64, height: u64) -> u64 {
        let value = value.clamp(self.lowest, self.highest);
        let (part, whole) = match self.kind {
            Kind::Linear => (value - self.lowest, self.highest - self.lowest),
            Kind::Doublings => (
                doublings(value) - doublings(self.lowest),
                doublings(self.highest) - doublings(self.lowest),
            ),
        };
        // The part is at most the whole, which is above zero.
        (u128::from(part) * u128::from(height) / u128::from(whole.max(1))) as u64
    }

    /// The values that are named on the axis, from the lowest.
    pub fn ticks(&self, unit: Unit) -> Vec<u64> {
        match self.kind {
            Kind::Linear => {
                let step = step(unit, self.highest);
                (0..=self.highest / step).map(|tick| tick * step).collect()
            }
            Kind::Doublings => {
                let powers = std::iter::successors(Some(self.lowest), |tick| tick.checked_mul(10));
                powers.take_while(|tick| *tick <= self.highest).collect()
            }
        }
    }
}

/// How many doublings a value is above one, in steps; between them, in proportion.
fn doublings(value: u64) -> u64 {
    let whole = value.max(1).ilog2();
    let base = 1_u128 << whole;
    // Less than one doubling is left.
    let rest = ((u128::from(value.max(1)) - base) * u128::from(STEPS) / base) as u64;
    u64::from(whole) * STEPS + rest
}

/// The highest power of ten that is not above the value.
fn power_of_ten(value: u64) -> u64 {
    10_u64.pow(value.max(1).ilog10())
}

/// How far ticks are apart: three to six of them up to `most`, at figures that read well.
fn step(unit: Unit, most: u64) -> u64 {
    let unit_size = match unit {
        Unit::Count | Unit::Rate => 1,
        Unit::Time => 1,
        // Powers of two, where those of ten read as odd figures.
        Unit::Bytes => {
            let step = (most / 3).max(1);
            return 1 << step.ilog2();
        }
    };
    round(most.div_ceil(5).max(unit_size))
}

/// The lowest of 1, 2, 5, 10, 20, 50 … that is not below the value.
pub fn round(value: u64) -> u64 {
    let power = power_of_ten(value);
    let steps = [1, 2, 5, 10].map(|factor| power.saturating_mul(factor));
    steps.into_iter().find(|step| *step >= value).unwrap_or(u64::MAX)
}

/// The times that are named on an axis of so many milliseconds: six to ten.
pub fn times(until: u64) -> Vec<u64> {
    let step = round(until.div_ceil(8).max(1));
    (0..=until / step).map(|tick| tick * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_three_to_six_round_ticks() {
        for most in (1..3_000).chain([60_000, 180_000, 77_777_777, u64::MAX / 1_000]) {
            for unit in [Unit::Count, Unit::Bytes] {
                let scale = Scale::new(Kind::Linear, unit, 0, most);
                let ticks = scale.ticks(unit);
                assert!((2..=7).contains(&ticks.len()), "{most} {unit:?}: {ticks:?}");
                assert!(*ticks.last().expect("there are some") >= most);
                assert_eq!(scale.height(scale.highest, 1_000), 1_000);
            }
        }
        let scale = Scale::new(Kind::Linear, Unit::Count, 0, 269);
        assert_eq!(scale.ticks(Unit::Count), [0, 100, 200, 300]);
        assert_eq!(scale.height(150, 1_000), 500);
    }

    #[test]
    fn doublings_name_powers_of_ten() {
        let scale = Scale::new(Kind::Doublings, Unit::Time, 2_300, 25_045_000);
        assert_eq!(scale.ticks(Unit::Time), [1_000, 10_000, 100_000, 1_000_000, 10_000_000]);
        let heights: Vec<u64> =
            scale.ticks(Unit::Time).iter().map(|tick| scale.height(*tick, 1_000)).collect();
        assert!(
            heights.windows(2).all(|pair| (200..250).contains(&(pair[1] - pair[0]))),
            "{heights:?}"
        );
        assert_eq!((scale.height(0, 1_000), scale.height(u64::MAX, 1_000)), (0, 1_000));
    }

    #[test]
    fn times_are_six_to_ten() {
        for until in [1, 10, 999, 1_000, 19_000, 67_000, 300_000, 3_600_000] {
            let times = times(until);
            assert!((2..=10).contains(&times.len()), "{until}: {times:?}");
        }
        assert_eq!(times(67_000).last(), Some(&60_000));
    }
}
