//! The tables of a page: verdicts, failing moments, checks, figures and plans.

use super::record::Moment;
use super::run::{CheckState, Checked, Run, Sight};
use super::text::{escape, seconds};

/// The failing moments of a run; nothing if nothing broke.
pub fn moments(run: &Run) -> String {
    let all = run.moments.iter().map(|one| moment(run, one));
    all.collect()
}

fn moment(run: &Run, moment: &Moment) -> String {
    let at = moment.at / 1_000;
    let in_force =
        run.lines.iter().filter(|line| line.from <= at && at <= line.until.max(line.from));
    let faults: String =
        in_force.map(|line| format!("<li><code>{}</code></li>", escape(&line.text))).collect();
    let before = run.lines.iter().rfind(|line| line.until < at);
    let faults = match (faults.is_empty(), before) {
        (false, _) => format!("<p>In force at that time:</p><ul>{faults}</ul>"),
        (true, Some(line)) => format!(
            "<p>Nothing was in force at that time; what came last before it was <code>{}</code>.</p>",
            escape(&line.text)
        ),
        (true, None) => "<p>Nothing of the plan had come by then.</p>".into(),
    };
    let line =
        |class: &str, line: &String| format!("<span class=\"{class}\">{}</span>\n", escape(line));
    let mut lines: String = moment.before.iter().map(|text| line("before", text)).collect();
    // The last line before is the event at which it broke.
    if let Some(last) = lines.rfind("<span class=\"before\">") {
        lines.replace_range(last..last + "<span class=\"before\">".len(), "<span class=\"broke\">");
    }
    lines.extend(moment.after.iter().map(|text| line("after", text)));
    let sentence = run.checks.iter().find(|check| check.name == moment.check);
    let sentence = sentence.map_or("", |check| &check.sentence);
    format!(
        "<article class=\"moment-box\"><h3><code>{}</code> at \
         <button type=\"button\" class=\"jump\" data-jump=\"{at}\">{}</button></h3><p class=\"message\">{}</p><blockquote>{}</blockquote>\
         {faults}<p>The events around it, as <code>--log</code> prints them:</p>\
         <pre class=\"log\" tabindex=\"0\">{lines}</pre></article>",
        escape(&moment.check),
        seconds(at),
        escape(&moment.message),
        escape(sentence),
    )
}

/// The checks of several runs, a row each.
pub fn checks(runs: &[Run]) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let mut rows = String::new();
    for (place, check) in first.checks.iter().enumerate() {
        let of = |run: &Run| run.checks.get(place).map_or(String::new(), state);
        let states: String = runs.iter().map(of).collect();
        // A check that says nothing of one run may say something of another.
        let all = runs.iter().filter_map(|run| run.checks.get(place));
        let sentence = all.map(|check| check.sentence.as_str()).find(|text| !text.is_empty());
        rows += &format!(
            "<tr><th scope=\"row\"><code>{}</code></th>{states}<td class=\"sentence\">{}</td></tr>",
            escape(&check.name),
            escape(sentence.unwrap_or("This plan gives it nothing to say."))
        );
    }
    let heads = heads(runs, "What came of it");
    format!(
        "<table class=\"checks\"><thead><tr><th scope=\"col\">Check</th>{heads}\
         <th scope=\"col\">Asked for by</th></tr></thead><tbody>{rows}</tbody></table>"
    )
}

fn state(check: &Checked) -> String {
    let (class, sign, word) = match check.state {
        CheckState::Held => ("held", "✓", "held"),
        CheckState::Broke => ("broke", "✗", "broke"),
        CheckState::NeverHeld => ("broke", "✗", "never held"),
        CheckState::NotAskedFor => ("not", "–", "not asked for"),
        CheckState::NotApplicable => ("not", "–", "not applicable"),
    };
    let message = match check.message.is_empty() {
        true => String::new(),
        false => format!("<small>{}</small>", escape(&check.message)),
    };
    format!(
        "<td class=\"state {class}\"><span aria-hidden=\"true\">{sign}</span> {word}{message}</td>"
    )
}

/// What had to be seen, and what must not be; nothing if there is neither.
pub fn sights(runs: &[Run]) -> String {
    let of = |run: &Run| -> String { run.sights.iter().map(sight).collect() };
    let lists = runs.iter().filter(|run| !run.sights.is_empty()).map(|run| {
        let name = if runs.len() > 1 {
            format!("<h4>{}</h4>", escape(&run.name()))
        } else {
            String::new()
        };
        format!("{name}<ul class=\"sights\">{}</ul>", of(run))
    });
    let lists: String = lists.collect();
    match lists.is_empty() {
        true => lists,
        false => format!("<h3>Seen, or not</h3>{lists}"),
    }
}

fn sight(sight: &Sight) -> String {
    let good = sight.wanted == sight.seen;
    let (class, sign) = if good { ("held", "✓") } else { ("broke", "✗") };
    let rule = if sight.wanted { "" } else { ", which must not be" };
    let seen = if sight.seen { "seen" } else { "never seen" };
    format!(
        "<li class=\"{class}\"><span aria-hidden=\"true\">{sign}</span> <code>{}</code> {seen}{rule}\
         </li>",
        escape(&sight.name)
    )
}

/// The figures of one run as its outcome page has them; of several, side by side.
pub fn figures(runs: &[Run]) -> String {
    let [run] = runs else { return side_by_side(runs) };
    let row = |(name, figure): &(String, String)| match figure.is_empty() {
        true => format!(
            "<tr><th scope=\"colgroup\" colspan=\"2\" class=\"part\">{}</th></tr>",
            escape(name)
        ),
        false => {
            format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(name), escape(figure))
        }
    };
    let rows: String = run.figures.iter().map(row).collect();
    format!("<table class=\"figures\"><tbody>{rows}</tbody></table>")
}

fn side_by_side(runs: &[Run]) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let checks: Vec<&str> = first.checks.iter().map(|check| check.name.as_str()).collect();
    // The checks have a table of their own.
    let names =
        first.column.iter().map(|(name, _)| name).filter(|name| !checks.contains(&name.as_str()));
    let rows: String = names
        .map(|name| {
            let figure = |run: &Run| {
                let there = run.column.iter().find(|(other, _)| other == name);
                let figure = there.map_or("–", |(_, figure)| figure);
                format!("<td class=\"number\">{}</td>", escape(figure))
            };
            let figures: String = runs.iter().map(figure).collect();
            format!("<tr><th scope=\"row\">{}</th>{figures}</tr>", escape(name))
        })
        .collect();
    let heads = heads(runs, "");
    format!(
        "<table class=\"figures many\"><thead><tr><th scope=\"col\">Figure</th>{heads}</tr></thead>\
         <tbody>{rows}</tbody></table>"
    )
}

/// The head of each run's column; `alone` if there is but one.
fn heads(runs: &[Run], alone: &str) -> String {
    if runs.len() == 1 {
        return format!("<th scope=\"col\">{}</th>", escape(alone));
    }
    let head = |run: &Run| {
        let (name, engine, seed) = (escape(&run.name()), escape(&run.engine), run.seed);
        format!("<th scope=\"col\">{name}<small>{engine}, seed {seed}</small></th>")
    };
    runs.iter().map(head).collect()
}

/// The plan of a run, and what runs it again.
pub fn plan(run: &Run) -> String {
    format!(
        "<details class=\"plan\"><summary>The plan of {} on {}, seed {}: save it, and \
         <code>cargo sim replay FILE</code> runs it again</summary>\
         <pre tabindex=\"0\">{}</pre></details>",
        escape(&run.name()),
        escape(&run.engine),
        run.seed,
        escape(&run.plan)
    )
}
