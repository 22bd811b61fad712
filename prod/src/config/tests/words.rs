//! In which words a file is refused, and which place in it they name.

use std::fs;
use std::path::Path;

use super::{Config, EXAMPLE, GOOD, load, said};

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/controller.toml")).expect_err("it is not there");
    insta::assert_snapshot!(error, @r#"
    /nowhere/controller.toml: cannot be read: No such file or directory (os error 2)
    "#);
}

#[test]
fn an_unknown_key_is_refused_with_the_likely_one() {
    insta::assert_snapshot!(said("api-port = 17070", "api-prot = 17070"), @r#"
    controller.toml:4:1: api-prot: unknown key; did you mean `api-port`?
      |
    4 | api-prot = 17070
      | ^^^^^^^^
    "#);
}

#[test]
fn an_unknown_key_like_no_other_is_refused_with_all_known_ones() {
    insta::assert_snapshot!(said("name = \"controller\"", "zzz = 1"), @r#"
    controller.toml:28:1: model.zzz: unknown key; those known here are uuid, name
       |
    28 | zzz = 1
       | ^^^
    "#);
}

#[test]
fn a_bad_duration_is_refused() {
    insta::assert_snapshot!(said("\"2s\"", "\"2 sek\""), @r#"
    controller.toml:6:23: api-port-open-delay: "2 sek" is not a duration (unknown time unit "sek", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations)); write a number and a unit, such as "250ms"
      |
    6 | api-port-open-delay = "2 sek"
      |                       ^^^^^^^
    "#);
}

#[test]
fn a_wrong_type_is_refused() {
    insta::assert_snapshot!(said("waiting-max = 8192", "waiting-max = \"many\""), @r#"
    controller.toml:24:15: limits.waiting-max: invalid type: string "many", expected a whole number, 0 or more
       |
    24 | waiting-max = "many"
       |               ^^^^^^
    "#);
    insta::assert_snapshot!(said("api-port = 17070", "api-port = 70000"), @r#"
    controller.toml:4:12: api-port: invalid value: integer `70000`, expected a port, 0 to 65535
      |
    4 | api-port = 70000
      |            ^^^^^
    "#);
}

#[test]
fn a_missing_key_is_refused() {
    insta::assert_snapshot!(said("cert = \"cert.pem\"\n", ""), @r#"
    controller.toml:8:1: tls: the key `cert` is missing
      |
    8 | [tls]
      | ^^^^^
    "#);
}

#[test]
fn text_that_is_no_toml_is_refused() {
    insta::assert_snapshot!(said("[tls]", "[tls"), @r#"
    controller.toml:8:5: unclosed table, expected `]`
      |
    8 | [tls
      |     ^
    "#);
    insta::assert_snapshot!(said("api-port = 17070", "data-dir = \"elsewhere\""), @r#"
    controller.toml:4:1: duplicate key
      |
    4 | data-dir = "elsewhere"
      | ^^^^^^^^
    "#);
}

#[test]
fn a_missing_file_is_refused() {
    insta::assert_snapshot!(said("\"key.pem\"", "\"lost.pem\""), @r#"
    controller.toml:11:7: tls.key: there is no file lost.pem
       |
    11 | key = "lost.pem"
       |       ^^^^^^^^^^
    "#);
}

#[test]
fn a_file_of_another_host_is_read_without_what_it_names() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let file = folder.path().join("controller.toml");
    fs::write(&file, EXAMPLE).expect("the folder can be written");
    assert!(Config::load(&file).is_err(), "its keys are not here");
    let config = Config::load_elsewhere(&file).expect("it is good");
    assert_eq!(config.peers.len(), 3);
    fs::write(&file, EXAMPLE.replace("batch-max = 1024", "batch-max = 0")).expect("it is ours");
    let error = Config::load_elsewhere(&file).expect_err("nothing could be proposed");
    assert!(error.to_string().contains("limits.batch-max"), "{error}");
}

#[test]
fn all_faults_of_meaning_are_said_at_once() {
    let text = GOOD
        .replace("id = 2", "id = 1")
        .replace("\"[fd00::2]:17071\"", "\"fd00::2\"")
        .replace("api-port-open-delay = \"2s\"", "agent-ratelimit-rate = \"61s\"")
        .replace("waiting-max = 8192", "waiting-max = 0")
        .replace("name = \"mysql/0\"", "name = \"mysql\"")
        .replace("model = \"deadbeef", "model = \"feedbeef")
        .replace("HASH", "secret");
    let error = load(&text).expect_err("much is wrong with it");
    insta::assert_snapshot!(error, @r#"
    controller.toml:6:24: agent-ratelimit-rate: must be above zero and at most 1min
      |
    6 | agent-ratelimit-rate = "61s"
      |                        ^^^^^
    controller.toml:19:6: peer.id: 1 is given more than once
       |
    19 | id = 1
       |      ^
    controller.toml:20:22: peer.controller-address: "fd00::2" is not host:port, such as "10.0.0.1:17070" or "[fd00::1]:17070"
       |
    20 | controller-address = "fd00::2"
       |                      ^^^^^^^^^
    controller.toml:24:15: limits.waiting-max: must be above zero
       |
    24 | waiting-max = 0
       |               ^
    controller.toml:31:8: unit.name: cannot name a user, a unit (such as mysql/0) or a machine (such as 0)
       |
    31 | name = "mysql"
       |        ^^^^^^^
    controller.toml:33:17: unit.password-hash: the hash must be 32 bytes in hex; `portcullis hash-password` makes one
       |
    33 | password-hash = "sha256$0102030405060708$secret"
       |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    controller.toml:32:9: unit.model: no [[model]] has the uuid "feedbeef-0bad-400d-8000-4b1d0d06f00d"
       |
    32 | model = "feedbeef-0bad-400d-8000-4b1d0d06f00d"
       |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
}
