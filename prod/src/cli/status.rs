//! `status`: how each controller is.

use std::fmt::Display;

use clap::Args;
use futures_util::future::join_all;
use portcullis::api::{ConditionReport, Responsibility, StatusReport};
use portcullis::client::wire;
use portcullis::env::Env;
use portcullis_core::Address;
use serde_json::json;

use super::client::{self, Asking};
use super::exit::{Exit, Failure};
use super::lease::as_json;

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    #[command(flatten)]
    client: client::Arguments,
}

/// Asks every address of the client file, all at once.
pub fn status(arguments: &Arguments) -> Result<(), Failure> {
    arguments.client.ask(|asking| async move {
        let reports = join_all(asking.addresses.iter().map(|address| one(&asking, address))).await;
        for (address, report) in asking.addresses.iter().zip(&reports) {
            match (arguments.client.json, report) {
                (true, Ok(report)) => {
                    println!(
                        "{}",
                        as_json(&json!({ "address": address.as_str(), "status": report }))
                    );
                }
                (true, Err(trouble)) => {
                    println!(
                        "{}",
                        as_json(&json!({ "address": address.as_str(), "trouble": trouble }))
                    );
                }
                (false, Ok(report)) => println!("{}", shown(address, report)),
                (false, Err(trouble)) => println!("{:<21} {trouble}", address.as_str()),
            }
        }
        match reports.iter().any(Result::is_ok) {
            true => Ok(()),
            false => Err(Failure::new(
                Exit::Unreachable,
                "no controller could be reached; is `portcullis dev` running?",
            )),
        }
    })
}

async fn one(asking: &Asking, address: &Address) -> Result<StatusReport, String> {
    let work = async {
        let text = |error: &dyn Display| error.to_string();
        let stream = asking.env.connect(address).await.map_err(|error| text(&error))?;
        let (env, place, until) = (&asking.env, asking.place(), asking.deadline);
        let line = wire::open(env, stream, &asking.tls, address.as_str(), &place, until)
            .await
            .map_err(|error| text(&error))?;
        line.login(&asking.pass, until).await.map_err(|error| text(&error))?;
        line.status(until).await.map_err(|error| text(&error))
    };
    tokio::select! {
        biased;
        report = work => report,
        () = asking.env.sleep_until(asking.deadline) => Err("no answer in time".to_owned()),
    }
}

fn shown(address: &Address, report: &StatusReport) -> String {
    let StatusReport { node, leader, api_door, connections, waiting, parked, held, .. } = report;
    let runs = |one: &Responsibility| {
        let Responsibility { lease, fence, .. } = one;
        fence.map(|fence| format!(", runs {lease} (fence {fence})"))
    };
    let runs: String = report.responsible.iter().filter_map(runs).collect();
    let address = address.as_str();
    let role = match leader {
        Some(leader) if leader == node => "leads".to_owned(),
        Some(leader) => format!("follows controller-{leader}"),
        None => "knows no leader".to_owned(),
    };
    let mut text = format!(
        "{address:<21} controller-{node} {role:<20} api door {api_door}, \
         {connections} connections, {waiting} asks waiting, {parked} waits parked{runs}"
    );
    let mut add = |more: String| text.push_str(&more);
    if *held > 0 {
        add(format!(", {held} held at the door"));
    }
    if report.agents > 0 {
        let sends = if report.shedding { ", more than its share: some are sent away" } else { "" };
        add(format!(", {} agents{sends}", report.agents));
    }
    if report.logins > 0 {
        let StatusReport { logins, logins_allowed, login_time, .. } = report;
        add(format!(", {logins} of {logins_allowed} logging in, {login_time:.3}s each"));
    }
    if let Some(left) = report.draining {
        add(format!(", stops once {left} are gone"));
    }
    if report.resting > 0 || report.retries_denied > 0 {
        let StatusReport { resting, retries, retries_denied, .. } = report;
        add(format!(", {resting} asks resting, {retries} retries, {retries_denied} denied"));
    }
    // Leases expire late by the lag; below a second that is the pace of the clock itself.
    if report.clock_lag > 2.0 {
        add(format!(", clock {:.1}s behind", report.clock_lag));
    }
    if let Some(lack) = &report.bind_address_lack {
        add(format!("\n{:<21} bind-address-file: {lack}", ""));
    }
    for ConditionReport { name, since, .. } in report.conditions.iter().filter(|one| !one.met) {
        add(format!("\n{:<21} waits for {name}, since {since:.1}s after its start", ""));
    }
    text
}
