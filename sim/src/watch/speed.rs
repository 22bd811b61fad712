//! How fast a watched run goes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Thousandths of real time: a minute of the run in six seconds is 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Speed {
    Times(u32),
    /// As fast as the processor allows.
    Max,
}

/// Where `+` and `-` lead to.
const STEPS: [Speed; 13] = [
    Speed::Times(50),
    Speed::Times(100),
    Speed::Times(200),
    Speed::Times(500),
    Speed::Times(1_000),
    Speed::Times(2_000),
    Speed::Times(5_000),
    Speed::Times(10_000),
    Speed::Times(20_000),
    Speed::Times(50_000),
    Speed::Times(100_000),
    Speed::Times(1_000_000),
    Speed::Max,
];

impl Speed {
    /// What one can follow with the eye: a run of two minutes in twelve seconds.
    pub const PLEASANT: Speed = Speed::Times(10_000);

    /// The next step up.
    pub fn faster(self) -> Speed {
        STEPS.into_iter().find(|step| *step > self).unwrap_or(Speed::Max)
    }

    /// The next step down.
    pub fn slower(self) -> Speed {
        STEPS.into_iter().rev().find(|step| *step < self).unwrap_or(STEPS[0])
    }

    /// How long a run goes on in so much real time, in microseconds; none if there is no limit.
    pub fn in_real(self, real: Duration) -> Option<u64> {
        let Speed::Times(thousandths) = self else { return None };
        let micros = real.as_micros() * u128::from(thousandths) / 1_000;
        Some(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Speed::Max => f.pad("max"),
            Speed::Times(thousandths) => {
                let text = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
                f.pad(&format!("{}x", text.trim_end_matches('0').trim_end_matches('.')))
            }
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Speed, String> {
        if text == "max" {
            return Ok(Speed::Max);
        }
        let refusal = || format!("`{text}` is no speed: say 10x, 0.5x or max, up to 1000x");
        let number = text.strip_suffix('x').unwrap_or(text);
        let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
        let digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(rest) || rest.len() > 3 {
            return Err(refusal());
        }
        let thousandths = format!("{whole}{rest:0<3}").parse::<u32>().map_err(|_| refusal())?;
        if !(1..=1_000_000).contains(&thousandths) {
            return Err(refusal());
        }
        Ok(Speed::Times(thousandths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_read_as_they_are_written() {
        for (text, speed) in [
            ("10x", Speed::Times(10_000)),
            ("0.5x", Speed::Times(500)),
            ("1000x", Speed::Times(1_000_000)),
            ("max", Speed::Max),
        ] {
            assert_eq!((text.parse(), speed.to_string().as_str()), (Ok(speed), text));
        }
        assert_eq!("3".parse(), Ok(Speed::Times(3_000)));
        for wrong in ["", "x", "0x", "0", "-1x", "1.0005x", "fast", "1001x", "1.x", "9999999999x"] {
            let refused = wrong.parse::<Speed>().expect_err(wrong);
            assert!(refused.contains("say 10x, 0.5x or max"), "{refused}");
        }
    }

    #[test]
    fn steps_go_up_and_down_and_end() {
        assert_eq!(Speed::PLEASANT.faster().to_string(), "20x");
        assert_eq!(Speed::Times(3_000).slower(), Speed::Times(2_000));
        assert_eq!(
            (Speed::Max.faster(), Speed::Max.slower().to_string()),
            (Speed::Max, "1000x".into())
        );
        assert_eq!(Speed::Times(50).slower(), Speed::Times(50));
    }

    #[test]
    fn real_time_is_stretched() {
        let tenth = Duration::from_millis(100);
        assert_eq!(Speed::PLEASANT.in_real(tenth), Some(1_000_000));
        assert_eq!(Speed::Times(500).in_real(tenth), Some(50_000));
        assert_eq!(Speed::Max.in_real(tenth), None);
    }
}
