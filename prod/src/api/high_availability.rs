//! `HighAvailability` version 2: how a user asks for more controllers.
//!
//! The controllers are those of every configuration file, so all that can be asked for is what
//! there is. Whoever asks for another number is told how to get it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Handler;
use super::session::Caller;
use super::told::{denied, with_result};
use crate::credentials::Identity;
use crate::rpc::{self, Error, Request, code, nullable};

/// How many controllers are meant by 0 where there are fewer, as in Juju.
const USUAL: i64 = 3;

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
pub(super) fn enable<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    match &*caller.identity {
        Identity::User(_) => {}
        Identity::Unit { .. } | Identity::Machine(_) | Identity::Controller(_) => {
            return Err(denied());
        }
    }
    let Specs { specs } = request.given()?;
    if specs.len() > 1 {
        return Err(Error::new("only one controller spec is supported", code::NOT_SUPPORTED));
    }
    let machines = caller.cluster().machines();
    Ok(with_result(specs.iter().map(|spec| maintained(spec.num_controllers, &machines))))
}

fn maintained(wanted: i64, machines: &[String]) -> Result<Value, Error> {
    if wanted < 0 || (wanted != 0 && wanted % 2 == 0) {
        let message = "number of controllers must be odd and non-negative";
        return Err(Error::new(message, code::NOT_VALID));
    }
    let present = i64::try_from(machines.len()).expect("there are a few controllers");
    let wanted = if wanted == 0 { present.max(USUAL) } else { wanted };
    if wanted != present {
        let message = format!(
            "there are {present} controllers; to have {wanted}, list as many [[peer]] in the \
             configuration of each"
        );
        return Err(Error::new(message, code::NOT_SUPPORTED));
    }
    Ok(json!({ "maintained": machines }))
}
