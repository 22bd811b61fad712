//! Text: what may stand in a page, and how figures are written there.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The text as HTML and SVG show it, in an element or between quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Not allowed in SVG at all.
            control if control.is_control() && control != '\n' && control != '\t' => {
                escaped.push('\u{fffd}');
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// JSON as it may stand in a `script` element: nothing in it can end that.
pub fn embed(json: &str) -> String {
    json.replace('<', "\\u003c")
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Things.
    Count,
    /// Thousandths of times a second.
    Rate,
    /// Bytes.
    Bytes,
    /// Microseconds.
    Time,
}

/// A figure, with its unit where it has one: short enough for an axis.
pub fn figure(unit: Unit, value: u64) -> String {
    match unit {
        Unit::Count => thousands(value),
        Unit::Rate => decimals(value, 1_000, ""),
        Unit::Bytes => {
            let scales = [(1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB")];
            let fits = scales.iter().find(|(size, _)| value >= *size);
            fits.map_or(format!("{value} B"), |(size, name)| decimals(value, *size, name))
        }
        Unit::Time if value >= 1_000_000 || value == 0 => decimals(value, 1_000_000, " s"),
        Unit::Time if value >= 1_000 => decimals(value, 1_000, " ms"),
        Unit::Time => format!("{value} µs"),
    }
}

/// A time of the run, in seconds with three digits.
pub fn seconds(millis: u64) -> String {
    format!("{}.{:03} s", millis / 1_000, millis % 1_000)
}

/// A time on the axis.
pub fn tick(at: u64) -> String {
    match at % 1_000 {
        0 => format!("{} s", at / 1_000),
        millis => {
            let text = format!("{}.{millis:03}", at / 1_000);
            format!("{} s", text.trim_end_matches('0'))
        }
    }
}

/// Groups of three digits, with a thin space between them.
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// A share of `size`: below ten with up to two digits after the point, below a hundred with one.
fn decimals(value: u64, size: u64, unit: &str) -> String {
    let whole = value / size;
    let hundredths = u128::from(value % size) * 100 / u128::from(size);
    let mut text = thousands(whole);
    let digits = match whole {
        0..10 => format!("{hundredths:02}"),
        10..100 => format!("{}", hundredths / 10),
        _ => String::new(),
    };
    let digits = digits.trim_end_matches('0');
    if !digits.is_empty() {
        // Writing to a string does not fail.
        let _ = write!(text, ".{digits}");
    }
    text + unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes() {
        let bad = "</script><b onclick='x'>\"&\u{0}\n";
        let expected = "&lt;/script&gt;&lt;b onclick=&#39;x&#39;&gt;&quot;&amp;\u{fffd}\n";
        assert_eq!(escape(bad), expected);
        assert_eq!(embed("{\"a\":\"</script><!--\"}"), "{\"a\":\"\\u003c/script>\\u003c!--\"}");
    }

    #[test]
    fn figures_are_short() {
        let cases = [
            (Unit::Count, 1_234_567, "1\u{2009}234\u{2009}567"),
            (Unit::Count, 0, "0"),
            (Unit::Rate, 39_000, "39"),
            (Unit::Rate, 1_250, "1.25"),
            (Unit::Bytes, 512 << 20, "512 MiB"),
            (Unit::Bytes, (3 << 30) / 2, "1.5 GiB"),
            (Unit::Time, 0, "0 s"),
            (Unit::Time, 950, "950 µs"),
            (Unit::Time, 22_400, "22.4 ms"),
            (Unit::Time, 25_045_000, "25 s"),
        ];
        for (unit, value, expected) in cases {
            assert_eq!(figure(unit, value), expected);
        }
        assert_eq!((tick(1_500).as_str(), tick(60_000).as_str()), ("1.5 s", "60 s"));
    }
}
