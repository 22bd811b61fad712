//! The page as a whole: that it needs nothing else, that it is HTML, that nothing escapes into it.

use std::collections::BTreeSet;

use portcullis_core::controller::{Input, Request};
use portcullis_core::lease::{Applied, Command, Done, Entry, Key, Operation};
use portcullis_core::sessions::Party;
use portcullis_core::{AskId, ConnectionId, Door, GlobalTime, NodeId, Time};

use super::{Origin, Run, files, page};
use crate::check::tests::{ONE, plan};
use crate::engine::Ran;
use crate::history::{Event, History};
use crate::outcome::Outcome;
use crate::plan::Plan;

/// What would be markup, were it not escaped.
const EVIL: &str = "</script><img src=x onerror=alert(1)>\"'&";

/// A run of a few events in which checks break, told by hand.
fn run() -> Run {
    run_of("")
}

/// The same, with more tables in its scenario.
fn run_of(tables: &str) -> Run {
    let faults = "[[fault]]\nat = \"100ms\"\nfor = \"300ms\"\ndo = { crash = { node = \"leader\" } }\n\
                  [[fault]]\nat = \"600ms\"\ndo = \"herd\"\n";
    let mut plan: Plan = plan(&format!("{faults}{tables}"));
    plan.settings.title = EVIL.into();
    let mut history = History::new(&plan).whole().recorded(&plan);
    let connection = ConnectionId(1);
    let key = Key::new("", "", EVIL);
    let claim = Operation::Claim { key, holder: EVIL.into(), duration: plan.settings.agents.claim };
    let ask = AskId { connection, serial: 1 };
    let request = Request::Apply(claim.clone());
    let patience = plan.settings.agents.claim;
    let told = [
        Input::Started,
        Input::Led { global: GlobalTime(0) },
        Input::Opened { door: Door::Api },
        Input::Connected { connection, door: Door::Api },
        Input::LoggedIn { connection, party: Party::Agent },
        Input::Asked { ask, request, renews: false, patience },
    ];
    for (tenth, input) in (1..).zip(&told) {
        history.record(Time(tenth * 100_000), ONE, Event::Told(input));
    }
    let void_after = GlobalTime(u64::MAX);
    let commands = [Command { operation: claim, void_after }].into();
    // The clock cannot be ahead of real time, so this breaks a check.
    let entry = Entry { now: GlobalTime(99_000_000), commands };
    let granted = Done::Granted { fence: 1, expiry: GlobalTime(160_000_000) };
    let applied = Applied { outcomes: vec![Ok(granted)], released: Vec::new() };
    let event = Event::Applied { index: 1, entry: &entry, applied: &applied };
    history.record(Time(800_000), ONE, event);
    let gauges = super::Gauges { backlog: 3, memory: crate::settings::Bytes(90 << 20) };
    history.show(Time(900_000), NodeId(1), gauges);
    let ended = Time(30_000_000);
    let outcome = Outcome::new(&plan, Ran { ended, draws: 0 }, history.end(ended));
    let origin = Origin { why: EVIL.into(), source: EVIL.into(), command: EVIL.into() };
    Run::new(&outcome, origin)
}

/// Elements that have no end.
const VOID: [&str; 3] = ["meta", "input", "br"];

/// The tags of a text, in order; what stands in styles and scripts is no markup.
fn tags(text: &str) -> Vec<&str> {
    let mut tags = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').expect("a tag ends");
        tags.push(tag);
        let name = tag.split_whitespace().next().unwrap_or_default();
        rest = match name {
            "style" | "script" => {
                let end = after.find(&format!("</{name}>")).expect("it ends");
                &after[end..]
            }
            _ => after,
        };
    }
    tags
}

/// Refuses what is not nested as it should be, and attributes without quotes.
fn balanced(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in tags(text) {
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
            continue;
        }
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
        let name = tag.split_whitespace().next().unwrap_or_default();
        if !tag.ends_with('/') && !VOID.contains(&name) && name != "!DOCTYPE" {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// The values of an attribute.
fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let of = |tag: &'a str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        rest.split('"').next()
    };
    tags(text).into_iter().filter_map(of).collect()
}

#[test]
fn a_page_needs_nothing_but_itself() {
    for page in [page(&[run()]), page(&[run(), run()])] {
        for outside in ["http:", "https:", "url(", "@import", "src=\"", "<link", "<iframe"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(values(&page, "href").iter().all(|to| to.starts_with('#')));
        assert!(page.contains("default-src 'none'"));
    }
}

#[test]
fn a_page_is_nested_and_names_each_part_once() {
    for page in [page(&[run()]), page(&[run(), run()])] {
        balanced(&page);
        let ids = values(&page, "id");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
        for to in values(&page, "href") {
            assert!(ids.contains(&&to[1..]), "{to}");
        }
    }
}

#[test]
fn nothing_that_a_run_says_is_markup() {
    let page = page(&[run()]);
    assert!(!page.contains("<img"), "a title, a lease or a message got through");
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!tags(&page).iter().any(|tag| tag.contains("onerror=a") || tag.contains(" style=")));
}

#[test]
fn a_run_is_the_same_after_a_journey() {
    let run = run();
    let text = serde_json::to_string(&run).expect("a run can be written");
    let again: Run = serde_json::from_str(&text).expect("and read");
    assert_eq!(again, run);
    assert_eq!(page(&[again]), page(&[run]));
}

#[test]
fn a_page_tells_what_broke_and_when() {
    let page = page(&[run()]);
    let story = "<code>clock_moves</code> at <button type=\"button\" class=\"jump\" \
                 data-jump=\"800\">0.800 s</button>";
    assert!(page.contains(story));
    assert!(page.contains("entry 1 says 99.000000s at real time 0.800000s"));
    // The event itself is marked, and what the plan had going on at that time is named.
    assert!(page.contains("<span class=\"broke\">     0.800000s  controller-1    DEBUG  table"));
    assert!(page.contains("what came last before it was <code>0.600s herd</code>"));
    assert!(page.contains(" not applicable</td>"), "a check that this plan gives nothing to say");
}

#[test]
fn a_front_has_panels_beside_the_connections_and_in_every_column() {
    let (bare, fronted) = (run(), run_of("[front]\n"));
    let alone = page(std::slice::from_ref(&bare));
    assert!(!alone.contains("data-panel=\"front-"));
    for runs in [[bare.clone(), fronted.clone()], [fronted, bare]] {
        let page = page(&runs);
        let ids = values(&page, "data-panel");
        let after = ids.iter().position(|id| *id == "connections").expect("it is always there") + 1;
        assert_eq!(ids[after..after + 3], ["front-backends", "front-health", "front-door"]);
        assert_eq!(page.matches("This run has nothing of the kind.").count(), 3);
        balanced(&page);
    }
}

#[test]
fn the_plots_are_files_as_well() {
    let files = files(&[run(), run()]);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["1-faults.svg", "1-connections.svg", "2-clock.svg", "2-leadership.svg"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for (name, svg) in &files {
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{name}");
        balanced(svg);
        assert!(!svg.contains("var("), "{name}");
    }
    let single = super::files(&[run()]);
    assert!(single.iter().any(|(name, _)| name == "memory.svg"));
}
