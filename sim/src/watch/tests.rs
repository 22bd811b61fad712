//! Frames of made-up views, as a screen shows them: they are for eyes, and accepted as pages are.

use std::path::Path;

use portcullis_core::{NodeId, Time};

use super::frame::{Pace, frame};
use super::speed::Speed;
use super::view::{Front, Operations, Row, View};
use crate::report::Health;

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots/watch");
    settings.set_snapshot_path(folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn row(node: u64, role: &str) -> Row {
    let is_up = role != "down";
    Row {
        node: NodeId(node),
        role: role.into(),
        is_up,
        leads: role.starts_with("leads"),
        doors: if is_up { "lets in, lets in" } else { "shut, shut" }.into(),
        connections: 20 * node,
        bars: (0..60).map(|second| second * node / 3).collect(),
        backlog: Some(3),
        stands: 0,
        queued: node,
        memory: Some(400 << 20),
        lag: is_up.then_some(910_000 + node),
    }
}

fn view() -> View {
    let line = |number: u64| {
        (
            format!("{number}.250s"),
            format!("controller-{}", 1 + number % 3),
            format!("> open {number}"),
        )
    };
    View {
        at: Time(12_340_000),
        settle: Time(40_000_000),
        ends: Time(100_000_000),
        name: "herd/made-up  direct  seed 7".into(),
        faults: vec!["crash controller-1 until 17.500s".into()],
        next: Some("20.000s herd".into()),
        agents: (58, 60),
        rows: vec![row(1, "down"), row(2, "leads, term 12"), row(3, "follows")],
        front: None,
        operations: Operations { bars: (0..40).collect(), wait: Some(5_100) },
        lag: 910_000,
        limit: Some(512 << 20),
        held: 27,
        broken: Vec::new(),
        events: 123_456,
        lines: (0..50).map(line).collect(),
    }
}

fn pace() -> Pace {
    Pace { speed: Speed::PLEASANT, is_paused: false, verdict: None, has_keys: true }
}

fn plain(view: &View, pace: &Pace, columns: usize, rows: usize) -> String {
    let frame = frame(view, pace, columns, rows);
    assert_eq!(frame.len(), rows);
    let text = |row: &super::frame::Pieces| -> String {
        let text: String = row.iter().map(|(_, piece)| piece.as_str()).collect();
        assert!(text.chars().count() <= columns, "{text}");
        text.trim_end().to_string()
    };
    frame.iter().map(text).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_frame_shows_controllers_figures_and_events() {
    snapshot("wide", &plain(&view(), &pace(), 120, 24));
}

#[test]
fn a_small_screen_shows_what_fits() {
    snapshot("small", &plain(&view(), &pace(), 80, 18));
    for rows in 0..30 {
        for columns in [0, 1, 17, 80] {
            plain(&view(), &pace(), columns, rows);
        }
    }
}

#[test]
fn a_shell_behind_a_front_shows_what_is_known_and_what_broke() {
    let mut view = view();
    for row in &mut view.rows {
        (row.backlog, row.memory) = (None, None);
    }
    let health = [Health::Down, Health::Up, Health::Unready];
    let backends = (1..).zip(health).map(|(node, health)| (NodeId(node), 20, health));
    view.front = Some(Front { connections: 60, joining: 2, backends: backends.collect() });
    view.limit = None;
    view.faults.clear();
    view.next = None;
    view.operations = Operations::default();
    view.broken = vec!["one_holder at 11.000000s: two hold mysql".into()];
    let over = Pace { verdict: Some("broke one_holder".into()), is_paused: true, ..pace() };
    snapshot("broken", &plain(&view, &over, 120, 24));
}
