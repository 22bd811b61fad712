//! Paths: points as SVG draws them. Across, milliseconds; down, tenths of a pixel.

use super::panel::Plot;
use super::series::Point;

/// A path that goes level until the next point.
pub fn steps(points: &[Point], ended: u64, height: &impl Fn(u64) -> u64) -> String {
    let mut path = String::new();
    let mut drawn = None;
    for (at, value) in points {
        if let (Some(_), true) = (drawn, drawn != *value) {
            path += &format!("H{at}");
        }
        match (drawn, *value) {
            (before, Some(value)) if before != Some(value) => {
                let y = tenths(height(value));
                path += &match before {
                    Some(_) => format!("V{y}"),
                    None => format!("M{at} {y}"),
                };
            }
            (_, Some(_) | None) => {}
        }
        drawn = *value;
    }
    if drawn.is_some() {
        path += &format!("H{ended}");
    }
    path
}

/// A path straight from point to point.
pub fn slope(points: &[Point], height: &impl Fn(u64) -> u64) -> String {
    let mut path = String::new();
    let mut letter = 'M';
    for (at, value) in points {
        match value {
            Some(value) => {
                path += &format!("{letter}{at} {}", tenths(height(*value)));
                letter = 'L';
            }
            None => letter = 'M',
        }
    }
    path
}

/// The area between a line and the one below it, or the bottom.
pub fn layer(
    top: &[Point],
    below: Option<&Vec<Point>>,
    ended: u64,
    height: &impl Fn(u64) -> u64,
) -> String {
    let y = |value: &Option<u64>| tenths(height(value.unwrap_or_default()));
    let mut path = steps(top, ended, height);
    match below {
        None => {
            path += &format!("V{}H0Z", y(&None));
        }
        Some(below) => {
            for (at, value) in below.iter().rev() {
                path += &format!("V{}H{at}", y(value));
            }
            path.push('Z');
        }
    }
    path
}

/// The sums of the lines up to each.
pub fn stacked(plot: &Plot) -> Vec<Vec<Point>> {
    let mut sums: Vec<Point> = Vec::new();
    let mut tops = Vec::new();
    for line in &plot.lines {
        if sums.is_empty() {
            sums = line.points.iter().map(|(at, _)| (*at, Some(0))).collect();
        }
        for (sum, (_, value)) in sums.iter_mut().zip(&line.points) {
            sum.1 = Some(sum.1.unwrap_or_default() + value.unwrap_or_default());
        }
        tops.push(sums.clone());
    }
    tops
}

/// Tenths of a pixel.
pub fn tenths(tenths: u64) -> String {
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        rest => format!("{}.{rest}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if a value were so many tenths of a pixel below a hundred pixels.
    fn down(value: u64) -> u64 {
        1_000 - value
    }

    #[test]
    fn steps_go_level_and_leave_gaps() {
        let points = [(0, Some(0)), (5, Some(10)), (7, Some(10)), (9, None), (12, Some(25))];
        assert_eq!(steps(&points, 20, &down), "M0 100H5V99H9M12 97.5H20");
    }

    #[test]
    fn slopes_go_from_point_to_point() {
        let points = [(0, Some(0)), (5, Some(10)), (9, None), (12, Some(25))];
        assert_eq!(slope(&points, &down), "M0 100L5 99M12 97.5");
    }

    #[test]
    fn layers_stand_on_each_other() {
        let (low, high) = (vec![(0, Some(10)), (5, Some(20))], vec![(0, Some(30)), (5, Some(40))]);
        assert_eq!(layer(&low, None, 9, &down), "M0 99H5V98H9V100H0Z");
        assert_eq!(layer(&high, Some(&low), 9, &down), "M0 97H5V96H9V98H5V99H0Z");
    }
}
