//! How the cluster stands, as a table or as JSON.

use std::time::Duration;

use portcullis::api::{MemberReport, MembersReport, Role};
use portcullis::env::Env;
use tokio::signal::ctrl_c;

use super::super::client::Asking;
use super::super::exit::Failure;
use super::super::lease::as_json;
use super::ask::Desk;

/// Time from one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Who has answered within this is heard, and for how long is of no interest.
const NOW: f64 = 3.0;

/// Shows it once, or whenever it has changed.
pub async fn list(asking: Asking, json: bool, watch: bool) -> Result<(), Failure> {
    let patience = asking.patience();
    let mut desk = Desk::new(asking);
    let mut last = String::new();
    let looking = async {
        loop {
            let shown = desk.members().await.map(|report| match json {
                true => as_json(&report),
                false => table(&report),
            });
            let text = match shown {
                Ok(text) => text,
                Err(failure) if watch => failure.says,
                Err(failure) => return Err(failure),
            };
            if text != last {
                println!("{text}{}", if watch && !json { "\n" } else { "" });
                last = text;
            }
            if !watch {
                return Ok(());
            }
            desk.asking.env.sleep_until(desk.asking.env.now() + LOOK_EVERY).await;
            desk.allow(patience);
        }
    };
    tokio::select! {
        biased;
        _ = ctrl_c(), if watch => Ok(()),
        looked = looking => looked,
    }
}

/// One word for each role.
pub fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Voter => "voter",
        Role::StandBy => "stand-by",
        Role::Spare => "spare",
        Role::Removed => "removed",
    }
}

fn table(report: &MembersReport) -> String {
    let head = ["", "role", "heard", "lag", "reads", "wanted", "domain", "address", "api"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(report.members.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    let MembersReport { leader, term, voters_wanted, stand_bys_wanted, writes, .. } = report;
    text.push_str(&format!(
        "{voters_wanted} voters and {stand_bys_wanted} stand-bys are wanted; controller-{leader} \
         leads in term {term}; the log is written in version {writes}"
    ));
    text
}

fn row(member: &MemberReport) -> [String; 9] {
    let MemberReport { id, address, api_addresses, domain, heard, heard_ago, .. } = member;
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let heard = match (heard, heard_ago) {
        (true, Some(ago)) if *ago > NOW => format!("{ago:.0}s ago"),
        (true, _) => "yes".to_owned(),
        (false, Some(ago)) => format!("{ago:.0}s ago"),
        (false, None) => "no".to_owned(),
    };
    let wanted = match member.vote_wanted {
        Some(true) => "vote",
        Some(false) => "no vote",
        None => "-",
    };
    [
        format!("controller-{id}"),
        role(member.role).to_owned(),
        heard,
        member.lag.map_or("-".to_owned(), |lag| lag.to_string()),
        format!("{} to {}", member.reads_least, member.reads_most),
        wanted.to_owned(),
        or_none(domain),
        or_none(address),
        or_none(&api_addresses.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up_and_leaves_nothing_blank() {
        let member = |id, role, heard_ago| MemberReport {
            id,
            role,
            address: format!("host-{id}:17022"),
            api_addresses: vec![format!("host-{id}:17070")],
            domain: String::new(),
            vote_wanted: (id == 2).then_some(false),
            heard: id != 3,
            heard_ago,
            lag: (id != 3).then_some(id),
            reads_least: 1,
            reads_most: 2,
        };
        let report = MembersReport {
            leader: 1,
            term: 4,
            last: 9,
            voters_wanted: 3,
            stand_bys_wanted: 1,
            writes: 2,
            members: vec![
                member(1, Role::Leader, Some(0.0)),
                member(2, Role::StandBy, Some(0.2)),
                member(3, Role::Voter, Some(17.2)),
            ],
        };
        let shown = table(&report);
        assert_eq!(
            shown,
            "              role      heard    lag  reads   wanted   domain  address       api\n\
             controller-1  leader    yes      1    1 to 2  -        -       host-1:17022  host-1:17070\n\
             controller-2  stand-by  yes      2    1 to 2  no vote  -       host-2:17022  host-2:17070\n\
             controller-3  voter     17s ago  -    1 to 2  -        -       host-3:17022  host-3:17070\n\
             3 voters and 1 stand-bys are wanted; controller-1 leads in term 4; the log is written \
             in version 2"
        );
    }
}
