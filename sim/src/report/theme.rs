//! Colours: two for each purpose, for paper and for screens at night.
//!
//! The inks of lines are far apart for eyes that tell red from green and for those that do not, and
//! each has a contrast of three to one at least with what it stands on.

/// Names as style sheets use them, with the colours of the light and the dark theme.
pub const COLOURS: &[(&str, &str, &str)] = &[
    ("page", "#f5f6f8", "#0d1117"),
    ("paper", "#ffffff", "#151b23"),
    ("text", "#18202c", "#e6eaf0"),
    ("quiet", "#5a6575", "#98a4b3"),
    ("grid", "#e6e9ee", "#262f3a"),
    ("edge", "#d5dae1", "#303a47"),
    ("accent", "#1d5fae", "#79b4ff"),
    ("good", "#12785a", "#4cd0a0"),
    ("bad", "#b3261e", "#ff8f85"),
    ("fault", "#e0932f", "#e0932f"),
    ("i0", "#b3261e", "#ff8f85"),
    ("i1", "#1f6fc4", "#6cb0ff"),
    ("i2", "#c75b0a", "#ff9f5a"),
    ("i3", "#0d8068", "#3fd0ab"),
    ("i4", "#8646b5", "#cda2f5"),
    ("i5", "#b42d66", "#ff8bb5"),
    ("i6", "#7a6808", "#dcc653"),
    ("i7", "#596679", "#a3b0c1"),
    ("i8", "#18202c", "#e6eaf0"),
];

/// The colours of one theme as variables, for a style sheet to declare.
pub fn variables(dark: bool) -> String {
    let colour = |(name, light, night): &(&str, &str, &str)| {
        format!("--{name}:{};", if dark { night } else { light })
    };
    COLOURS.iter().map(colour).collect()
}

/// A style sheet with each variable replaced by its colour: not every viewer of SVG knows
/// variables.
pub fn spelt_out(style: &str, dark: bool) -> String {
    let with = |style: String, (name, light, night): &(&str, &str, &str)| {
        style.replace(&format!("var(--{name})"), if dark { night } else { light })
    };
    COLOURS.iter().fold(style.to_string(), with)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, in millionths, as the accessibility guidelines have it: close enough
    /// in whole numbers with a power of two in place of 2.4.
    fn luminance(colour: &str) -> u64 {
        let part = |from: usize| {
            let byte = u64::from_str_radix(&colour[from..from + 2], 16).expect("hexadecimal");
            byte * byte * 1_000_000 / (255 * 255)
        };
        (2_126 * part(1) + 7_152 * part(3) + 722 * part(5)) / 10_000
    }

    fn contrast(one: &str, other: &str) -> u64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 50_000) * 10 / (one.min(other) + 50_000)
    }

    #[test]
    fn every_ink_stands_out_from_its_paper() {
        let (_, light, dark) = COLOURS[1];
        let inks = COLOURS.iter().filter(|(name, ..)| name.starts_with('i'));
        for (name, on_light, on_dark) in inks {
            assert!(contrast(on_light, light) >= 30, "{name} on light");
            assert!(contrast(on_dark, dark) >= 30, "{name} on dark");
        }
    }

    #[test]
    fn no_variable_is_left_where_all_is_spelt_out() {
        for dark in [false, true] {
            let style = spelt_out(include_str!("plot.css"), dark);
            assert!(!style.contains("var("), "{style}");
        }
    }
}
