//! JSON messages of the API port, exactly as Juju's clients demand them.
//!
//! Decides how a request is read and an answer written: each rule here was found by breaking it and
//! watching an existing client fail. Member names are read without regard to case, `null` is the
//! same as absent, an answer always has an object as its `response` and has `error` only if it is
//! one. A request whose number is zero or missing is one of Juju's first protocol, in other names,
//! and is answered in those.

mod farewell;
mod socket;

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

pub use farewell::Farewell;
pub(crate) use socket::end;
pub use socket::{Incoming, Limits, Socket};

/// Codes of errors, as Juju's clients tell them apart.
pub mod code {
    pub const BAD_REQUEST: &str = "bad request";
    pub const CLAIM_DENIED: &str = "leadership claim denied";
    pub const DEADLINE: &str = "deadline exceeded";
    pub const LEASE: &str = "lease error";
    pub const LEASE_CLAIM_DENIED: &str = "lease claim denied";
    pub const MODEL_NOT_FOUND: &str = "model not found";
    pub const NOT_FOUND: &str = "not found";
    pub const NOT_IMPLEMENTED: &str = "not implemented";
    pub const NOT_LEADER: &str = "not leader";
    pub const NOT_SUPPORTED: &str = "not supported";
    pub const NOT_VALID: &str = "not valid";
    pub const QUOTA: &str = "quota limit exceeded";
    pub const REDIRECT: &str = "redirection required";
    pub const STOPPED: &str = "stopped";
    pub const TRY_AGAIN: &str = "try again";
    pub const UNAUTHORIZED: &str = "unauthorized access";
}

/// Which names the members of a message have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// `request-id`, `error-code`: what every client of the last ten years speaks.
    #[default]
    Kebab,
    /// `RequestId`, `ErrorCode`: Juju's first protocol.
    Camel,
}

/// One request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The names its members had, and those of its answer must have.
    pub dialect: Dialect,
    /// The asker's own number for it, which the answer repeats.
    pub request_id: u64,
    /// The facade, `type` on the wire.
    pub facade: String,
    /// The facade's version; 0 if none was named.
    pub version: u64,
    /// The object that it is about, such as a watcher; empty for most.
    pub id: String,
    /// The method, `request` on the wire.
    pub method: String,
    /// What the method is given; an empty object if nothing.
    pub params: Value,
}

/// An error of a call, or of one item of a bulk call.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// For people; some clients compare it all the same.
    pub message: String,
    /// For programs: one of [`code`], or empty.
    pub code: String,
    /// What a program may need besides.
    pub info: Option<Value>,
}

impl Error {
    /// An error without further information.
    pub fn new(message: impl Into<String>, code: &str) -> Error {
        Error { message: message.into(), code: code.into(), info: None }
    }

    /// As an item of a bulk call's results shows it.
    pub fn item(&self) -> Value {
        let mut item = Map::new();
        item.insert("message".into(), json!(self.message));
        item.insert("code".into(), json!(self.code));
        if let Some(info) = &self.info {
            item.insert("info".into(), info.clone());
        }
        Value::Object(item)
    }
}

/// What came of a request: the response, which is an object, or an error.
pub type Outcome = Result<Value, Error>;

/// Why a message could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It names no request that could be answered: the connection has lost its meaning.
    #[error("{0}")]
    Message(String),
    /// It is a request, but a member of it is not what it must be.
    #[error("{what}")]
    Request { dialect: Dialect, request_id: u64, what: String },
}

impl Request {
    /// Reads a request.
    pub fn read(text: &str) -> Result<Request, Malformed> {
        let (mut members, mut wrong) = match members(text) {
            Ok(members) => (members, None),
            // A number beyond all bounds, say, is the request's own affair if it is in its params.
            Err(Malformed::Message(what)) => match without_params(text) {
                Some(members) => (members, Some(what)),
                None => return Err(Malformed::Message(what)),
            },
            Err(malformed) => return Err(malformed),
        };
        let (dialect, request_id) = number(&mut members)?;
        let known = ["type", "request"].iter().any(|name| members.contains_key(*name));
        if !known {
            return Err(Malformed::Message("neither type nor request: not a request".into()));
        }
        let mut string = |name: &str| match members.remove(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text,
            Some(_) => {
                wrong.get_or_insert(format!("{name} is not a string"));
                String::new()
            }
        };
        let (facade, id, method) = (string("type"), string("id"), string("request"));
        let version = match members.remove("version") {
            None | Some(Value::Null) => 0,
            Some(value) => value.as_u64().unwrap_or_else(|| {
                wrong.get_or_insert("version is not a number".into());
                0
            }),
        };
        let params = match members.remove("params") {
            None | Some(Value::Null) => json!({}),
            Some(value) => value,
        };
        match wrong {
            Some(what) => Err(Malformed::Request { dialect, request_id, what }),
            None => Ok(Request { dialect, request_id, facade, version, id, method, params }),
        }
    }

    /// Writes the request.
    pub fn write(&self) -> String {
        let mut message = json!({
            "request-id": self.request_id,
            "type": self.facade,
            "version": self.version,
            "request": self.method,
            "params": self.params,
        });
        if !self.id.is_empty() {
            message["id"] = json!(self.id);
        }
        message.to_string()
    }

    /// Reads what the method is given.
    pub fn given<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        if !self.params.is_object() {
            return Err(Error::new("params is not an object", code::BAD_REQUEST));
        }
        T::deserialize(&self.params)
            .map_err(|error| Error::new(error.to_string(), code::BAD_REQUEST))
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The dialect of the request.
    pub dialect: Dialect,
    /// The number of the request.
    pub request_id: u64,
    /// What came of it.
    pub outcome: Outcome,
}

#[derive(Serialize)]
struct KebabAnswer<'a> {
    #[serde(rename = "request-id")]
    request_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(rename = "error-code", skip_serializing_if = "Option::is_none")]
    error_code: Option<&'a str>,
    #[serde(rename = "error-info", skip_serializing_if = "Option::is_none")]
    error_info: Option<&'a Value>,
    response: &'a Value,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CamelAnswer<'a> {
    request_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_info: Option<&'a Value>,
    response: &'a Value,
}

impl Answer {
    /// Writes the answer.
    pub fn write(&self) -> String {
        let nothing = json!({});
        let (error, response) = match &self.outcome {
            Ok(response) => (None, response),
            Err(error) => (Some(error), &nothing),
        };
        let request_id = self.request_id;
        let error_code = error.map(|error| error.code.as_str()).filter(|code| !code.is_empty());
        let error_info = error.and_then(|error| error.info.as_ref());
        let error = error.map(|error| error.message.as_str());
        let written = match self.dialect {
            Dialect::Kebab => serde_json::to_string(&KebabAnswer {
                request_id,
                error,
                error_code,
                error_info,
                response,
            }),
            Dialect::Camel => serde_json::to_string(&CamelAnswer {
                request_id,
                error,
                error_code,
                error_info,
                response,
            }),
        };
        // Writing to a string cannot fail, and every key here is a string.
        written.expect("an answer is made of strings, numbers and values")
    }

    /// Reads an answer, as a client.
    pub fn read(text: &str) -> Result<Answer, Malformed> {
        let mut members = members(text)?;
        let (dialect, request_id) = number(&mut members)?;
        let mut string = |dashed: &str, plain: &str| {
            let value = members.remove(dashed).or_else(|| members.remove(plain));
            value.and_then(|value| value.as_str().map(String::from))
        };
        let code = string("error-code", "errorcode").unwrap_or_default();
        let message = string("error", "error");
        let info = members.remove("error-info").or_else(|| members.remove("errorinfo"));
        let outcome = match message {
            Some(message) => Err(Error { message, code, info: info.filter(|i| !i.is_null()) }),
            None => Ok(members.remove("response").unwrap_or_else(|| json!({}))),
        };
        Ok(Answer { dialect, request_id, outcome })
    }
}

/// Reads a member whose `null` means the same as its absence, as typed clients send it.
pub fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The members of a message by their names in lower case; of several alike, the last.
fn members(text: &str) -> Result<Map<String, Value>, Malformed> {
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => {
            Ok(members.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect())
        }
        Ok(_) => Err(Malformed::Message("not a JSON object".into())),
        Err(error) => Err(Malformed::Message(format!("not JSON: {error}"))),
    }
}

/// The members of a message but for `params`, which are only skipped; nothing if that is no object.
fn without_params(text: &str) -> Option<Map<String, Value>> {
    struct Members(Map<String, Value>);
    struct Reader;

    impl<'de> Visitor<'de> for Reader {
        type Value = Members;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut read: A) -> Result<Members, A::Error> {
            let mut members = Map::new();
            while let Some(name) = read.next_key::<String>()? {
                match name.to_lowercase() {
                    name if name == "params" => drop(read.next_value::<IgnoredAny>()?),
                    name => drop(members.insert(name, read.next_value()?)),
                }
            }
            Ok(Members(members))
        }
    }

    impl<'de> Deserialize<'de> for Members {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
            deserializer.deserialize_map(Reader)
        }
    }

    serde_json::from_str(text).ok().map(|Members(members)| members)
}

/// Takes the number of a message out, and tells the dialect by it.
fn number(members: &mut Map<String, Value>) -> Result<(Dialect, u64), Malformed> {
    let mut number = |name: &str| match members.remove(name) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => value
            .as_u64()
            .ok_or_else(|| Malformed::Message(format!("{name} is not a number from 0 up"))),
    };
    match (number("request-id")?, number("requestid")?) {
        (0, camel) => Ok((Dialect::Camel, camel)),
        (kebab, _) => Ok((Dialect::Kebab, kebab)),
    }
}

#[cfg(test)]
mod tests;
