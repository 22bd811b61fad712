//! How a herd was spread over the controllers, from its beginning to its end.
//!
//! Decides when a controller was lost, when the others had taken its agents over, when the first
//! agent was at it again, and when all were even again: seed 001's story in four times.

use std::time::Duration;

use portcullis_core::balancer;
use serde::Serialize;

/// Time from one sample to the next, as long as there are few.
pub const EVERY: Duration = Duration::from_millis(500);
/// Most samples that are kept; from then on each stands for twice the time.
const SAMPLES_MAX: usize = 4_096;
/// Most losses of controllers that are kept.
const OUTAGES_MAX: usize = 100;
/// Of a hundred agents, how many are connected when all that a controller had are back: a few are
/// always on their way.
const BACK_PERCENT: u64 = 99;
/// How far off an even share, in percent, a controller may be that is even.
const EVEN_PERCENT: u64 = 10;
/// How many samples before a loss are looked at for what the controller had: its connections do not
/// break all at one moment.
const BEFORE: usize = 20;
/// What a picture is drawn with, from nobody to most.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One controller's loss. Times are since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Outage {
    pub controller: usize,
    pub lost: Duration,
    /// How many agents it had.
    pub had: u64,
    /// When all but a hundredth of the herd were connected again.
    pub all_back: Option<Duration>,
    /// When the first agent was at it again.
    pub again: Option<Duration>,
    /// When it had its share again, and so had all others.
    pub even: Option<Duration>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Course {
    agents: u64,
    every: Duration,
    samples: Vec<(Duration, Vec<u64>)>,
    connected: Option<Duration>,
    outages: Vec<Outage>,
}

/// How many agents each controller had, column by column.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OverTime {
    pub seconds_each: f64,
    /// A row for each controller.
    pub agents: Vec<Vec<u64>>,
}

impl Course {
    /// So many agents are to be connected.
    pub fn new(agents: u64) -> Course {
        Course { agents, every: EVERY, samples: Vec::new(), connected: None, outages: Vec::new() }
    }

    /// When all were connected for the first time.
    pub fn connected(&self) -> Option<Duration> {
        self.connected
    }

    /// Every loss of a controller, in order.
    pub fn outages(&self) -> &[Outage] {
        &self.outages
    }

    /// Whether some controller was lost, and after the last loss all are even again.
    pub fn evened(&self) -> bool {
        self.outages.last().is_some() && self.outages.iter().all(|outage| outage.even.is_some())
    }

    /// Notes how many agents each controller has.
    pub fn sample(&mut self, at: Duration, counts: &[u64]) {
        let all = counts.iter().sum::<u64>();
        if all >= self.agents && self.connected.is_none() {
            self.connected = Some(at);
        }
        if self.connected.is_some() {
            self.notice_losses(at, counts);
            self.notice_returns(at, counts);
        }
        if self.samples.last().is_none_or(|(last, _)| at >= *last + self.every) {
            self.samples.push((at, counts.to_vec()));
        }
        if self.samples.len() >= SAMPLES_MAX {
            self.every *= 2;
            let mut at = 0;
            self.samples.retain(|_| {
                at += 1;
                at % 2 == 1
            });
        }
    }

    fn notice_losses(&mut self, at: Duration, counts: &[u64]) {
        for (controller, _) in counts.iter().enumerate().filter(|(_, count)| **count == 0) {
            let recent = self.samples.iter().rev().take(BEFORE);
            // Before the controllers were known there was nothing to count.
            let had = recent.filter_map(|(_, counts)| counts.get(controller)).max();
            let had = had.copied().unwrap_or(0);
            let open = |outage: &Outage| outage.controller == controller && outage.even.is_none();
            let known = self.outages.iter().any(open);
            if had > 0 && !known && self.outages.len() < OUTAGES_MAX {
                let (all_back, again, even) = (None, None, None);
                self.outages.push(Outage { controller, lost: at, had, all_back, again, even });
            }
        }
    }

    fn notice_returns(&mut self, at: Duration, counts: &[u64]) {
        let all_back = counts.iter().sum::<u64>() * 100 >= self.agents * BACK_PERCENT;
        let even = all_back && even(counts);
        for outage in self.outages.iter_mut().filter(|outage| outage.even.is_none()) {
            let set = |when: &mut Option<Duration>, holds: bool| {
                if holds && when.is_none() {
                    *when = Some(at);
                }
            };
            set(&mut outage.all_back, all_back);
            set(&mut outage.again, counts[outage.controller] > 0);
            set(&mut outage.even, even && outage.again.is_some());
        }
    }

    /// The whole course in at most so many columns, each the last sample of its time.
    pub fn over_time(&self, columns: usize) -> OverTime {
        let (first, last) = match (self.samples.first(), self.samples.last()) {
            (Some((first, _)), Some((last, counts))) => (*first, (*last, counts.len())),
            (None, _) | (_, None) => return OverTime { seconds_each: 0.0, agents: Vec::new() },
        };
        let each = self.samples.len().div_ceil(columns);
        let shown: Vec<&Vec<u64>> = self
            .samples
            .chunks(each)
            .filter_map(|chunk| chunk.last())
            .map(|(_, counts)| counts)
            .collect();
        let row = |controller: usize| shown.iter().map(|counts| counts[controller]).collect();
        OverTime {
            seconds_each: (last.0 - first).as_secs_f64() / shown.len() as f64,
            agents: (0..last.1).map(row).collect(),
        }
    }
}

impl OverTime {
    /// A line of bars for each controller; the highest is the most that any had.
    pub fn picture(&self) -> Vec<String> {
        let most = self.most().max(1);
        let levels = LEVELS.len() as u64 - 1;
        let bar = |agents: &u64| LEVELS[(agents * levels).div_ceil(most) as usize];
        self.agents.iter().map(|row| row.iter().map(bar).collect()).collect()
    }

    /// The most that any controller had.
    pub fn most(&self) -> u64 {
        self.agents.iter().flatten().copied().max().unwrap_or(0)
    }
}

/// Whether every controller has its share, within a tenth or what the balance itself bears.
fn even(counts: &[u64]) -> bool {
    let share = counts.iter().sum::<u64>() / (counts.len() as u64).max(1);
    let off = (share * EVEN_PERCENT / 100).max(balancer::Config::default().surplus_least);
    counts.iter().all(|count| count.abs_diff(share) <= off)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn course(samples: &[(u64, [u64; 3])]) -> Course {
        let mut course = Course::new(300);
        samples.iter().for_each(|(at, counts)| course.sample(seconds(*at), counts));
        course
    }

    #[test]
    fn a_loss_is_followed_until_all_are_even() {
        let course = course(&[
            (1, [0, 0, 0]),
            (2, [50, 50, 50]),
            (3, [100, 100, 100]),
            (4, [100, 30, 100]),
            (5, [110, 0, 120]),
            (6, [150, 0, 147]),
            (7, [150, 1, 149]),
            (8, [111, 79, 110]),
            (9, [110, 90, 100]),
            (10, [101, 99, 100]),
        ]);
        assert_eq!(course.connected(), Some(seconds(3)));
        assert!(course.evened());
        let [outage] = course.outages() else { panic!("{:?}", course.outages()) };
        let Outage { controller, lost, had, all_back, again, even } = outage;
        assert_eq!((*controller, *lost, *had), (1, seconds(5), 100));
        let times = (*all_back, *again, *even);
        assert_eq!(times, (Some(seconds(6)), Some(seconds(7)), Some(seconds(9))));
    }

    #[test]
    fn nobody_is_lost_before_all_were_there_and_nothing_is_even_without_a_loss() {
        let course = course(&[(1, [10, 0, 0]), (2, [0, 100, 0]), (3, [100, 100, 100])]);
        assert_eq!(course.outages(), []);
        assert!(!course.evened());
    }

    #[test]
    fn a_controller_may_be_lost_twice() {
        let there = [100, 100, 100];
        let gone = [150, 0, 150];
        let course = course(&[(1, there), (2, gone), (3, there), (4, gone), (5, gone)]);
        assert_eq!(course.outages().len(), 2);
        assert!(!course.evened());
        assert_eq!(course.outages()[1].lost, seconds(4));
    }

    #[test]
    fn few_agents_are_even_within_what_the_balance_bears() {
        assert!(even(&[25, 20, 15]));
        assert!(!even(&[26, 20, 14]));
        assert!(even(&[1_100, 1_000, 900]));
        assert!(!even(&[1_101, 1_000, 899]));
    }

    #[test]
    fn a_long_course_keeps_its_shape_in_bounded_room() {
        let mut course = Course::new(3);
        for at in 0..100_000u32 {
            course.sample(EVERY * at, &[u64::from(at / 1_000), 3, 0]);
        }
        assert!(course.samples.len() < SAMPLES_MAX);
        let over_time = course.over_time(50);
        assert!((40..=50).contains(&over_time.agents[0].len()));
        assert!(over_time.agents[0].is_sorted());
        let long = over_time.seconds_each * over_time.agents[0].len() as f64;
        assert!((45_000.0..=50_000.0).contains(&long), "{long}");
    }

    #[test]
    fn pictures_rise_with_what_they_show() {
        let over_time = OverTime { seconds_each: 1.0, agents: vec![vec![0, 1, 4, 8], vec![8, 5]] };
        assert_eq!(over_time.picture(), [" ▁▄█", "█▅"]);
        assert_eq!(Course::new(1).over_time(9).picture(), [""; 0]);
    }
}
