//! `HighAvailability` version 2: how a user asks for more controllers.
//!
//! It says how many are to vote. Machines are not ours to start, so more than there are members cannot
//! be had: whoever asks for that is told how to add some, and nothing changes. With fewer, votes are
//! taken and nobody is removed.

use portcullis_core::NodeId;
use portcullis_core::members::{Command, WANTED_MAX, Wanted};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Handler;
use super::operate::{changed, seen, users_only};
use super::session::Caller;
use super::told::with_result;
use crate::rpc::{self, Error, Request, code, nullable};

/// How many controllers are meant by 0 where fewer are to vote, as in Juju.
const USUAL: u8 = 3;

#[derive(Deserialize)]
struct Specs {
    #[serde(default, deserialize_with = "nullable")]
    specs: Vec<Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Spec {
    #[serde(default, deserialize_with = "nullable")]
    num_controllers: i64,
}

/// `EnableHA`: at most one wish, as in Juju.
pub(super) async fn enable<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    users_only(caller)?;
    let Specs { specs } = request.given()?;
    if specs.len() > 1 {
        return Err(Error::new("only one controller spec is supported", code::NOT_SUPPORTED));
    }
    let mut results = Vec::new();
    for Spec { num_controllers } in &specs {
        results.push(want(caller, *num_controllers).await);
    }
    Ok(with_result(results.into_iter()))
}

/// Has so many vote. Nobody is added or removed, so all are maintained.
async fn want<H: Handler>(caller: &Caller<'_, H>, wanted: i64) -> Result<Value, Error> {
    if wanted < 0 || (wanted != 0 && wanted % 2 == 0) {
        let message = "number of controllers must be odd and non-negative";
        return Err(Error::new(message, code::NOT_VALID));
    }
    let Ok(wanted @ 0..=WANTED_MAX) = u8::try_from(wanted) else {
        let message = format!("number of controllers must be at most {WANTED_MAX}");
        return Err(Error::new(message, code::NOT_VALID));
    };
    let members = seen(caller).await?.picture.members;
    let Wanted { voters, stand_bys } = members.wanted();
    let wanted = if wanted == 0 { voters.max(USUAL) } else { wanted };
    let present = members.len();
    if usize::from(wanted) > present {
        let lack = usize::from(wanted) - present;
        let message = format!(
            "there are {present} controllers; to have {wanted}, add {lack} \
             (`portcullis cluster add`) and ask again"
        );
        return Err(Error::new(message, code::NOT_SUPPORTED));
    }
    if wanted != voters {
        let wanted = Wanted { voters: wanted, stand_bys };
        changed(caller.handler.change_members(Command::Want { wanted }).await)?;
    }
    let machine = |(node, _): (NodeId, _)| format!("machine-{}", node.0);
    Ok(json!({ "maintained": members.iter().map(machine).collect::<Vec<_>>() }))
}
