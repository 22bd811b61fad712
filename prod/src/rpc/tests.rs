use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Request {
    Request::read(text).expect("a request")
}

fn write(request: &Request, outcome: Outcome) -> String {
    Answer { dialect: request.dialect, request_id: request.request_id, outcome }.write()
}

#[test]
fn a_request_is_read_as_libjuju_sends_it() {
    let request = read(
        r#"{"type": "Admin", "request": "Login", "version": 3, "params":
            {"client-version": "3.6.1.3", "auth-tag": "user-admin", "credentials": "secret"},
            "request-id": 1}"#,
    );
    assert_eq!((request.facade.as_str(), request.version), ("Admin", 3));
    assert_eq!((request.method.as_str(), request.request_id), ("Login", 1));
    assert_eq!(request.params["auth-tag"], "user-admin");
    assert_eq!(request.dialect, Dialect::Kebab);
}

#[test]
fn names_are_read_without_regard_to_case() {
    let request = read(r#"{"Type":"AllWatcher","Request":"Next","Id":"1","request-id":5}"#);
    assert_eq!((request.facade.as_str(), request.id.as_str()), ("AllWatcher", "1"));
    assert_eq!(request.version, 0);
}

#[test]
fn null_is_absent() {
    let request =
        read(r#"{"request-id":7,"type":"Pinger","request":"Ping","params":null,"id":null}"#);
    assert_eq!((request.params, request.id.as_str()), (json!({}), ""));
}

#[test]
fn an_answer_is_written_as_clients_demand() {
    let request = read(r#"{"request-id":1,"type":"Pinger","request":"Ping"}"#);
    assert_eq!(write(&request, Ok(json!({}))), r#"{"request-id":1,"response":{}}"#);
    let error = Error::new("invalid entity name or password", code::UNAUTHORIZED);
    assert_eq!(
        write(&request, Err(error)),
        r#"{"request-id":1,"error":"invalid entity name or password","#.to_owned()
            + r#""error-code":"unauthorized access","response":{}}"#,
    );
    let info = Some(json!({ "retry-after": 0.5 }));
    let error = Error { info, ..Error::new("try again", code::TRY_AGAIN) };
    assert_eq!(
        write(&request, Err(error)),
        r#"{"request-id":1,"error":"try again","error-code":"try again","#.to_owned()
            + r#""error-info":{"retry-after":0.5},"response":{}}"#,
    );
    let error = Error::new("not redirected", "");
    assert_eq!(
        write(&request, Err(error)),
        r#"{"request-id":1,"error":"not redirected","response":{}}"#,
    );
}

#[test]
fn the_first_protocol_is_answered_in_its_own_names() {
    let request = read(r#"{"RequestId":4,"Type":"Admin","Request":"Login","Params":{"a":1}}"#);
    assert_eq!((request.dialect, request.request_id), (Dialect::Camel, 4));
    assert_eq!(request.params, json!({ "a": 1 }));
    assert_eq!(write(&request, Ok(json!({}))), r#"{"RequestId":4,"Response":{}}"#);
    let error = Error::new("no", code::NOT_SUPPORTED);
    assert_eq!(
        write(&request, Err(error)),
        r#"{"RequestId":4,"Error":"no","ErrorCode":"not supported","Response":{}}"#,
    );
    let numberless = read(r#"{"type":"Pinger","request":"Ping","request-id":0}"#);
    assert_eq!(write(&numberless, Ok(json!({}))), r#"{"RequestId":0,"Response":{}}"#);
}

#[test]
fn what_cannot_be_read_says_why() {
    let malformed = |text: &str| Request::read(text).expect_err("malformed").to_string();
    assert!(malformed("{").starts_with("not JSON: "));
    assert!(malformed(&"[".repeat(10_000)).starts_with("not JSON: "));
    assert_eq!(malformed("[]"), "not a JSON object");
    assert_eq!(malformed(r#"{"request-id":1}"#), "neither type nor request: not a request");
    let number = malformed(r#"{"request-id":"1","type":"Pinger"}"#);
    assert_eq!(number, "request-id is not a number from 0 up");
    let typed = Request::read(r#"{"request-id":9,"type":7,"request":"Ping"}"#);
    let what = "type is not a string".into();
    assert_eq!(typed, Err(Malformed::Request { dialect: Dialect::Kebab, request_id: 9, what }));
}

#[test]
fn params_beyond_bounds_are_their_requests_own_affair() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for params in ["{\"duration\":1e400}", "[-1e999]", &deep] {
        let text = format!(r#"{{"request-id":9,"type":"Pinger","params":{params}}}"#);
        match Request::read(&text) {
            Err(Malformed::Request { request_id: 9, what, .. }) => {
                assert!(what.starts_with("not JSON: "), "{what}");
            }
            other => panic!("{params}: {other:?}"),
        }
    }
    let elsewhere = r#"{"request-id":9,"type":"Pinger","version":1e400,"params":{}}"#;
    assert!(matches!(Request::read(elsewhere), Err(Malformed::Message(_))));
    assert!(matches!(Request::read(r#"{"params":{"a":1e400}}"#), Err(Malformed::Message(_))));
}

#[test]
fn a_client_reads_what_a_server_writes() {
    let request = Request {
        request_id: 12,
        facade: "Pinger".into(),
        version: 1,
        method: "Ping".into(),
        params: json!({}),
        ..Request::default()
    };
    assert_eq!(read(&request.write()), request);
    let info = Some(json!({ "server-id": "1" }));
    let error = Error { info, ..Error::new("not leader", code::NOT_LEADER) };
    for outcome in [Ok(json!({ "results": [Value::Null] })), Err(error)] {
        let answer = Answer { dialect: Dialect::Kebab, request_id: 12, outcome };
        assert_eq!(Answer::read(&answer.write()), Ok(answer));
    }
}
