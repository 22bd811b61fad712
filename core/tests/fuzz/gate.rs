//! The bind address, before a file that is rewritten by somebody who makes mistakes.

use std::time::Duration;

use portcullis_core::addresses::Scope;
use portcullis_core::bind::{Bind, Candidate, Config, Input, Lack, Output};
use portcullis_core::{Rng, Time};

use crate::world::{World, chance, run};

const HOSTS: [(&str, Scope); 5] = [
    ("10.0.0.1", Scope::LocalCloud),
    ("10.0.0.2", Scope::LocalCloud),
    ("8.8.8.8", Scope::Public),
    ("127.0.0.1", Scope::LocalMachine),
    ("fe80::1", Scope::LinkLocal),
];

struct File {
    config: Config,
    /// What the file offers; none if it cannot be read.
    offers: Option<Vec<Candidate>>,
    /// Since when each host that the file offered last has been among its offers.
    since: Vec<(String, Time)>,
    bound: Option<String>,
    /// What was complained of last.
    complained: Option<Lack>,
    /// What was told last, and whether it was told the time before as well.
    told: Option<Input>,
    again: bool,
}

impl World for File {
    type Machine = Bind;

    fn new(rng: &mut Rng) -> (File, Bind) {
        let config = Config { settle: Duration::from_micros(rng.below(5_000_000)) };
        let file = File {
            config: config.clone(),
            offers: None,
            since: Vec::new(),
            bound: None,
            complained: None,
            told: None,
            again: false,
        };
        (file, Bind::new(config))
    }

    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<Input> {
        let input = self.read(now, rng);
        self.again = self.told.as_ref() == Some(&input);
        self.told = Some(input.clone());
        Some(input)
    }

    fn see(&mut self, now: Time, orders: Vec<Output>) {
        for order in orders {
            match order {
                Output::Bind { host } => {
                    assert_ne!(self.bound.as_ref(), Some(&host), "bound to what it is bound to");
                    let since = self.since.iter().find(|(known, _)| *known == host);
                    let (_, since) = since.expect("only what the file offers is bound");
                    if self.bound.is_some() {
                        let stood = now.since(*since);
                        assert!(stood >= self.config.settle, "moved after {stood:?}");
                    }
                    self.bound = Some(host);
                }
                Output::Complain { lack } => {
                    assert!(!self.again, "complained of twice in a row: {lack}");
                    self.complained = Some(lack);
                }
            }
        }
    }

    fn check(&self, _: Time, machine: &Bind) {
        assert_eq!(machine.bound(), self.bound.as_deref(), "it is bound to what it ordered");
        if let Some(lack) = machine.lack() {
            assert_eq!(self.complained.as_ref(), Some(lack), "a lack that nobody was told of");
        }
    }

    fn closing(&mut self) -> Vec<Input> {
        let candidate = Candidate { host: "10.0.0.9".into(), scope: Scope::LocalCloud };
        self.since = vec![(candidate.host.clone(), Time(0))];
        vec![Input::Read { candidates: vec![candidate] }]
    }

    fn settled(&self, machine: &Bind) {
        assert_eq!(machine.bound(), Some("10.0.0.9"), "a good file is followed in the end");
        assert_eq!(machine.lack(), None, "and nothing is wrong any more");
    }
}

impl File {
    /// Somebody may have rewritten the file; this is what is read of it.
    fn read(&mut self, now: Time, rng: &mut Rng) -> Input {
        if chance(20, rng) {
            self.offers = None;
            self.since.clear();
            let says = format!("line {}", rng.below(3));
            let lack = if chance(50, rng) { Lack::NoFile } else { Lack::Unreadable { says } };
            return Input::NotRead { lack };
        }
        if self.offers.is_none() || chance(35, rng) {
            let offers = (0..rng.below(4)).map(|_| {
                let (host, scope) = HOSTS[rng.below(HOSTS.len() as u64) as usize];
                Candidate { host: host.into(), scope }
            });
            self.offers = Some(offers.collect());
        }
        let offers = self.offers.clone().unwrap_or_default();
        self.since.retain(|(host, _)| offers.iter().any(|offer| offer.host == *host));
        for offer in &offers {
            if !self.since.iter().any(|(host, _)| *host == offer.host) {
                self.since.push((offer.host.clone(), now));
            }
        }
        Input::Read { candidates: offers }
    }
}

#[test]
fn the_file_is_followed_and_nothing_good_given_up() {
    run::<File>("gate");
}
