//! Requests that find their endpoint by model, and paths that are rewritten.

use std::sync::Arc;

use super::kit::{Origin, Rig, Setup};
use crate::{
    name::EndpointName,
    route::{EndpointSlot, Generation, MatchRule, Rewrite, RouteTable},
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A plane with two endpoints: the setup's own, and one that takes this model and leads to `other`.
fn with_model(mut setup: Setup, model: &str, other: &Origin) -> Rig {
    setup.settings.model_window_bytes = 256;
    let rig = setup.start();
    let second = Setup::new(&[other.address]).start();
    let mut route = second.route.clone();
    route.slot = EndpointSlot(1);
    route.name = EndpointName::parse("model").unwrap();
    route.rule = MatchRule { models: vec![model.to_owned()], ..MatchRule::default() };
    let routes = vec![Arc::new(rig.route.clone()), Arc::new(route)];
    rig.table.store(Arc::new(RouteTable::new(Generation(2), routes)));
    rig
}

#[test]
fn a_body_that_names_the_model_goes_to_its_endpoint_unchanged() {
    let (rest, llama) = (Origin::saying(OK), Origin::saying(OK));
    let rig = with_model(Setup::new(&[rest.address]), "llama", &llama);
    let mut client = rig.client();
    let body = r#"{"messages":[{"content":"hi"}],"model":"llama","stream":false}"#;
    assert_eq!(client.post("/v1/chat/completions", body).status, 200);
    assert_eq!(client.post("/v1/chat/completions", r#"{"model":"other"}"#).status, 200);
    assert_eq!(client.post("/v2/models/llama/infer", "tensor").status, 200);
    assert_eq!(client.get("/v2/models/llama/ready").status, 200);
    assert_eq!(client.get("/v1/models").status, 200);
    let bodies: Vec<_> =
        llama.seen().iter().map(|seen| String::from_utf8(seen.body.clone()).unwrap()).collect();
    assert_eq!(bodies, [body, "tensor", ""]);
    assert_eq!(rest.seen().len(), 2);
}

#[test]
fn a_body_in_pieces_is_waited_for_as_far_as_the_name_and_no_further() {
    let (rest, llama) = (Origin::saying(OK), Origin::saying(OK));
    let rig = with_model(Setup::new(&[rest.address]), "llama", &llama);
    let mut client = rig.client();
    client.send("POST /v1 HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
    for piece in [r#"{"mod"#, r#"el":"#, r#""lla"#, r#"ma","#, r#""n":1}"#] {
        client.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    assert_eq!(client.send("0\r\n\r\n").answer().status, 200);
    assert_eq!(llama.seen()[0].body, br#"{"model":"llama","n":1}"#);
}

#[test]
fn a_name_beyond_the_window_is_not_found_and_the_body_is_whole_all_the_same() {
    let (rest, llama) = (Origin::saying(OK), Origin::saying(OK));
    let rig = with_model(Setup::new(&[rest.address]), "llama", &llama);
    let body = format!(r#"{{"prompt":"{}","model":"llama"}}"#, "x".repeat(100_000));
    assert_eq!(rig.client().post("/v1", &body).status, 200);
    assert_eq!((llama.seen().len(), rest.seen()[0].body.len()), (0, body.len()));
}

#[test]
fn a_body_that_stops_before_its_name_is_a_timeout_of_the_client() {
    let (rest, llama) = (Origin::saying(OK), Origin::saying(OK));
    let mut setup = Setup::new(&[rest.address]);
    setup.settings.head_timeout = std::time::Duration::from_millis(50);
    let rig = with_model(setup, "llama", &llama);
    let mut client = rig.client();
    client.send("POST /v1 HTTP/1.1\r\nhost: test\r\ncontent-length: 99\r\n\r\n{\"mod");
    assert_eq!(client.answer().status, 408);
    assert_eq!(rig.blue().dealt, 0);
}

#[test]
fn the_paths_prefix_is_rewritten_and_the_query_stays() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.rule = MatchRule { path_prefix: Some("/chat".into()), ..MatchRule::default() };
    setup.rewrite = Some(Rewrite::new("/chat", "/v1"));
    let rig = setup.start();
    let mut client = rig.client();
    for path in ["/chat/a%2Fb?x=/chat", "/x/../chat//models", "/chat"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    let lines: Vec<_> = origin.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["GET /v1/a%2Fb?x=/chat HTTP/1.1", "GET /v1/models HTTP/1.1", "GET /v1 HTTP/1.1"]);
}

#[test]
fn no_way_of_writing_a_path_leads_past_a_rule_and_the_bytes_go_on_as_sent() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.rule = MatchRule { path_prefix: Some("/v1".into()), ..MatchRule::default() };
    let rig = setup.start();
    let mut client = rig.client();
    assert_eq!(client.get("/x/%2e%2e//%761/y").status, 200);
    assert_eq!(origin.seen()[0].line, "GET /x/%2e%2e//%761/y HTTP/1.1");
    assert_eq!(client.get("/v1/../admin").status, 404);
    for path in ["/v1/%00", "/v1/%5cx", "/../v1"] {
        assert_eq!(client.get(path).status, 400, "{path}");
    }
}
