//! Engines agree: where a scenario runs on several, what came of it is of one class.
//!
//! Traces differ, for each engine has its own network and its own order of things. The class is
//! what they must not differ in: the verdict, which checks there were and which of them broke, and
//! what was seen of what the scenario wants to see. It is read from the pages under `snapshots/`,
//! which the test `outcomes` keeps true.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What came of a run, as far as every engine must say the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Class {
    verdict: String,
    /// Each check, and how it fared.
    checks: BTreeMap<String, String>,
    /// Each thing that a scenario wants seen or unseen, and whether it was.
    seen: BTreeMap<String, String>,
}

impl Class {
    fn of(page: &str) -> Class {
        let mut class = Class::default();
        let mut section = "";
        for line in page.lines() {
            let mut words = line.split_whitespace();
            match (section, line.strip_prefix("  "), words.next()) {
                ("checks", Some(entry), Some(name)) if !entry.starts_with(' ') => {
                    let fate = words.next().unwrap_or("").into();
                    class.checks.insert(name.into(), fate);
                }
                ("sometimes" | "never", Some(_), Some(name)) => {
                    class.seen.insert(name.into(), words.collect::<Vec<_>>().join(" "));
                }
                (_, None, Some("verdict")) => {
                    class.verdict = words.next().unwrap_or("").trim_end_matches(',').into();
                    // A run that stops at the break it is about has nothing to say of what would
                    // have come to hold.
                    if words.next() == Some("ended") {
                        let unfinished = class.checks.values_mut().filter(|fate| *fate == "did");
                        unfinished.for_each(|fate| *fate = "held".into());
                    }
                }
                (_, None, name) => section = name.unwrap_or(""),
                (_, Some(_), _) => {}
            }
        }
        class
    }
}

/// The pages of every scenario, by engine.
fn pages() -> BTreeMap<String, BTreeMap<String, String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots");
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("snapshots are there");
        entries.map(|entry| entry.expect("a folder can be read").path()).collect()
    };
    let mut pages: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for file in list(&root).iter().filter(|path| path.is_dir()).flat_map(|folder| list(folder)) {
        let below = file.strip_prefix(&root).expect("it was found there").to_string_lossy();
        if let Some((scenario, engine)) =
            below.strip_suffix(".snap").and_then(|name| name.split_once('@'))
        {
            let page = std::fs::read_to_string(&file).expect("the file is there");
            pages.entry(scenario.into()).or_default().insert(engine.into(), page);
        }
    }
    pages
}

/// What the engines of a scenario say differently, if anything.
fn difference(pages: &BTreeMap<String, String>) -> Option<String> {
    let classes = pages.iter().map(|(engine, page)| (engine, Class::of(page)));
    let classes: Vec<_> = classes.collect();
    let (first, class) = classes.first()?;
    let (other, differs) = classes.iter().find(|(_, other)| other != class)?;
    Some(format!("{first}: {class:#?}\n{other}: {differs:#?}"))
}

#[test]
fn a_scenario_has_one_outcome_on_all_its_engines() {
    let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
    let pages = pages();
    for (scenario, pages) in pages.iter().filter(|(_, pages)| pages.len() > 1) {
        if let Some(difference) = difference(pages) {
            panic!("{scenario}\n{difference}");
        }
        pages.keys().for_each(|engine| *compared.entry(engine).or_default() += 1);
    }
    assert!(compared.len() == 3, "an engine stands beside no other: {compared:?}");
}

const PAGE: &str = "\
some/scenario: Its title
engine direct  seed 1  controllers 3  agents 30  leases 10

checks
  door_order            held
  one_holder            broke at 1.000000s: twice
                        seed 000: \"a quote of several words\"
  connected             did not come to hold by 2.000000s: 0 of 3

sometimes
  granted               seen

verdict passed, ended at 2.000000s
draws 1  events 2  hash 3
";

#[test]
fn a_page_is_read_as_it_is_meant() {
    let class = Class::of(PAGE);
    let pairs = |map: &BTreeMap<String, String>| {
        map.iter().map(|(name, fate)| format!("{name} {fate}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(pairs(&class.checks), "connected held, door_order held, one_holder broke");
    assert_eq!(pairs(&class.seen), "granted seen");
    assert_eq!(class.verdict, "passed");
}

#[test]
fn every_part_of_the_class_is_compared() {
    let beside = |other: &str| {
        difference(&BTreeMap::from(
            [("direct", PAGE), ("madsim", other)]
                .map(|(engine, page)| (engine.into(), page.into())),
        ))
    };
    assert_eq!(beside(&PAGE.replace("events 2", "events 9").replace("2.000000s", "9s")), None);
    for (says, instead) in [
        ("verdict passed", "verdict failed"),
        ("door_order            held", "door_order            broke at 1s: early"),
        ("  door_order            held\n", ""),
        ("granted               seen", "granted               not seen"),
        ("passed, ended", "failed, settled"),
    ] {
        assert!(beside(&PAGE.replace(says, instead)).is_some(), "nobody minds {instead:?}");
    }
}
