//! What users are told of an endpoint, word for word: what is wrong, where, and what would be right.

use serde_json::json;

use crate::{
    config::{EndpointSpec, PlanSpec, parse},
    name::EndpointName,
};

pub(super) const PLAN_HEAD: &str = r#"green = { version = "v2", instances = ["127.0.0.1:9003"] }
strategy = { type = "canary", share = "5%", bake = "2m", final_bake = "5m" }
"#;

pub(super) fn config_problems(text: &str) -> Vec<String> {
    parse(text, "c.toml").unwrap_err().to_string().lines().map(str::to_owned).collect()
}

/// Problems of a plan that is right but for these lines, which begin at line 3.
pub(super) fn plan_problems(lines: &str) -> Vec<String> {
    whole_plan_problems(&format!("{PLAN_HEAD}{lines}"))
}

pub(super) fn whole_plan_problems(text: &str) -> Vec<String> {
    PlanSpec::from_toml(text, "p.toml").unwrap_err().to_string().lines().map(str::to_owned).collect()
}

/// A configuration with one endpoint, whose blue fleet these lines follow.
fn endpoint_problems(lines: &str) -> Vec<String> {
    config_problems(&format!(
        "[[endpoint]]\nname = \"chat\"\nblue = {{ version = \"v1\", instances = [\"a:1\"] }}\n{lines}"
    ))
}

#[test]
fn a_fleets_tls_needs_both_of_a_pair_and_a_name_to_look_for() {
    let text = "[[endpoint]]\nname = \"x\"\n[endpoint.blue]\nversion = \"v1\"\ninstances = [\"unix:/run/a\"]\n\
                tls = { cert = \"c\" }\n";
    assert_eq!(
        config_problems(text),
        [
            r#"c.toml:6: endpoint[0].blue.tls.server_name: is missing: unix:/run/a has no host that a certificate could name; write for instance server_name = "model.internal""#,
            "c.toml:6: endpoint[0].blue.tls.key: is missing: cert needs its private key",
        ]
    );
    let text = text.replace("cert = \"c\"", "server_name = \"http://a\", key = \"k\"");
    assert_eq!(
        config_problems(&text),
        [
            r#"c.toml:6: endpoint[0].blue.tls.server_name: "http://a" is not a host name: write it without scheme and port, such as "model.internal""#,
            "c.toml:6: endpoint[0].blue.tls.cert: is missing: key needs its certificate",
        ]
    );
}

#[test]
fn what_instances_speak_and_whether_they_have_tls_must_agree() {
    let problems = |protocol: &str| {
        let text = format!(
            "[[endpoint]]\nname = \"chat\"\n[endpoint.blue]\nversion = \"v1\"\ninstances = [\"a:1\"]\nprotocol = {protocol}\n"
        );
        config_problems(&text)
    };
    assert_eq!(
        problems("\"h2\""),
        [
            r#"c.toml:6: endpoint[0].blue.protocol: is "h2", which is HTTP/2 over TLS, but the fleet has no tls: add tls = {}, or write "h2c""#
        ]
    );
    assert_eq!(
        problems("\"h2c\"\ntls = {}"),
        [
            r#"c.toml:6: endpoint[0].blue.protocol: is "h2c", which is HTTP/2 without TLS, but the fleet has tls: write "h2", or leave tls out"#
        ]
    );
    assert_eq!(
        problems("\"http2\""),
        [r#"c.toml:6: endpoint[0].blue.protocol: expected one of "http1", "h2c", "h2", not "http2""#]
    );
}

#[test]
fn a_check_asks_for_a_path_or_for_a_service_over_http2() {
    let text = |protocol: &str, health: &str| {
        format!(
            "[[endpoint]]\nname = \"chat\"\nblue = {{ version = \"v1\", instances = [\"a:1\"], protocol = \"{protocol}\" }}\nhealth = {{ {health} }}\n"
        )
    };
    assert_eq!(
        config_problems(&text("h2c", "path = \"/h\", grpc = \"a.B\"")),
        [
            "c.toml:4: endpoint[0].health.grpc: a check asks for a path or for a gRPC service: leave one of them out"
        ]
    );
    assert_eq!(
        config_problems(&text("h2c", "grpc = \"/a.B\"")),
        [
            r#"c.toml:4: endpoint[0].health.grpc: "/a.B" is not a gRPC service: write its full name, such as "inference.GRPCInferenceService", or "" for the whole server"#
        ]
    );
    assert_eq!(
        config_problems(&text("http1", "grpc = \"\"")),
        [
            r#"c.toml:4: endpoint[0].health.grpc: is asked over HTTP/2, but blue's protocol is "http1": write protocol = "h2c" or "h2" there"#
        ]
    );
}

#[test]
fn a_table_is_wanted_where_one_belongs() {
    assert_eq!(
        config_problems("admin = 5\nendpoint = {}\n"),
        [
            "c.toml:1: admin: expected a table with the keys listen, allow_remote, tls, tokens_file, identities, not the number 5",
            "c.toml:2: endpoint: expected [[table]] sections or a list of tables, not a table",
        ]
    );
}

#[test]
fn an_admission_says_what_is_wrong_with_it() {
    assert_eq!(
        endpoint_problems(
            "[endpoint.admission]\nmax_concurrency = 0\nqueue = -1\nqueue_timeout = \"0s\"\nshed_status = 500\nblame = \"green\"\n"
        ),
        [
            "c.toml:5: endpoint[0].admission.max_concurrency: expected a whole number from 1 to 1000000, not the number 0",
            "c.toml:6: endpoint[0].admission.queue: expected a whole number from 0 to 100000, not the number -1",
            r#"c.toml:7: endpoint[0].admission.queue_timeout: must be longer than 0s"#,
            "c.toml:8: endpoint[0].admission.shed_status: expected 503 or 429, not the number 500",
            r#"c.toml:9: endpoint[0].admission.blame: expected one of "nobody", "fleet", not "green""#,
        ]
    );
}

#[test]
fn an_ejection_says_what_is_wrong_with_it() {
    assert_eq!(
        endpoint_problems(
            "[endpoint.ejection]\nafter = -1\nstatuses = [200]\nbase_time = \"10m\"\nmax_share = 50\nfleets = \"green\"\n"
        ),
        [
            "c.toml:5: endpoint[0].ejection.after: expected a whole number from 0 to 1000, not the number -1",
            "c.toml:6: endpoint[0].ejection.statuses[0]: expected a whole number from 400 to 599, not the number 200",
            "c.toml:7: endpoint[0].ejection.base_time: is longer than longest_time, which is 5m: make it shorter, or longest_time longer",
            r#"c.toml:8: endpoint[0].ejection.max_share: 50 has no unit: write "50%""#,
            r#"c.toml:9: endpoint[0].ejection.fleets: expected one of "blue", "both", not "green""#,
        ]
    );
}

#[test]
fn an_instance_is_an_address_or_a_table_with_one() {
    let text = r#"[[endpoint]]
name = "x"
[endpoint.blue]
version = "v1"
instances = [
  { address = "a:1", weight = 0 },
  { adress = "a:2", weight = "3" },
  { weight = 1001 },
  { address = "a", weigth = 1 },
  3,
  { address = "b:1", weight = 2 },
  "b:1",
]
"#;
    let address = r#"is not an instance address: write host:port, such as "127.0.0.1:9001" or "model-a:8000", without a scheme, or "unix:" and a path"#;
    assert_eq!(
        config_problems(text),
        [
            "c.toml:6: endpoint[0].blue.instances[0].weight: expected a whole number from 1 to 1000, not the number 0".to_owned(),
            r#"c.toml:7: endpoint[0].blue.instances[1].adress: unknown key; did you mean "address"?"#.to_owned(),
            r#"c.toml:7: endpoint[0].blue.instances[1].weight: expected a whole number from 1 to 1000, not the text "3""#.to_owned(),
            r#"c.toml:8: endpoint[0].blue.instances[2].address: is missing; write address = "127.0.0.1:9001""#.to_owned(),
            "c.toml:8: endpoint[0].blue.instances[2].weight: expected a whole number from 1 to 1000, not the number 1001".to_owned(),
            r#"c.toml:9: endpoint[0].blue.instances[3].weigth: unknown key; did you mean "weight"?"#.to_owned(),
            format!(r#"c.toml:9: endpoint[0].blue.instances[3].address: "a" {address}"#),
            "c.toml:10: endpoint[0].blue.instances[4]: expected a text in quotes, not the number 3".to_owned(),
        ]
    );
    let twice = r#"blue = { version = "v1", instances = [{ address = "b:1", weight = 2 }, "b:1"] }"#;
    assert_eq!(
        config_problems(&format!("[[endpoint]]\nname = \"x\"\n{twice}")),
        [
            "c.toml:3: endpoint[0].blue.instances[1]: b:1 is in the fleet already, as endpoint[0].blue.instances[0]"
        ]
    );
}

#[test]
fn a_name_that_is_none_and_a_resolver_without_a_port_are_told_with_what_would_be_right() {
    let provider = "type = \"dns\", name = \"10.0.0.1\", port = 0, resolvers = [\"10.0.0.2\"], ttl_floor = \"10s\", ttl_ceiling = \"1s\"";
    let text =
        format!("[[endpoint]]\nname = \"x\"\nblue = {{ version = \"v1\", provider = {{ {provider} }} }}\n");
    let told = config_problems(&text);
    let expected = [
        "provider.name: \"10.0.0.1\" is an address and has no others: write it into instances",
        "provider.port: expected a whole number from 1 to 65535, not the number 0",
        "provider.resolvers[0]: \"10.0.0.2\" is not the address of a resolver; write for instance \"10.0.0.2:53\"",
        "provider.ttl_ceiling: 1s is less than ttl_floor, 10s: an answer holds for at least that",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for part in expected {
        assert!(told.iter().any(|problem| problem.ends_with(part)), "{part} in {told:#?}");
    }
}

#[test]
fn a_provider_is_told_what_it_lacks_and_what_it_cannot_have() {
    let fleet = |provider: &str| {
        format!("[[endpoint]]\nname = \"x\"\nblue = {{ version = \"v1\", provider = {{ {provider} }} }}\n")
    };
    let problems = |provider: &str| config_problems(&fleet(provider));
    assert_eq!(
        problems("type = \"procces\""),
        [
            r#"c.toml:3: endpoint[0].blue.provider.type: expected one of "process", "command", "dns", not "procces""#
        ]
    );
    assert_eq!(
        problems("type = \"process\""),
        [
            r#"c.toml:3: endpoint[0].blue.provider.command: is missing; write command = ["python3", "serve.py", "--port", "{port}"]"#
        ]
    );
    assert_eq!(
        problems(
            "type = \"process\", command = [\"serve\"], env = { A = 1, \"B=\" = \"x\", SNAPBACK_X = \"y\" }"
        ),
        [
            "c.toml:3: endpoint[0].blue.provider.env.A: expected a text in quotes, not the number 1",
            r#"c.toml:3: endpoint[0].blue.provider.env."B=": "B=" is not the name of a variable: leave '=' out"#,
            r#"c.toml:3: endpoint[0].blue.provider.env.SNAPBACK_X: "SNAPBACK_X" is of the names that the proxy sets itself: write another"#,
        ]
    );
    assert_eq!(
        problems("type = \"process\", command = [\"serve\"], count = 0, on_exit = \"stay\", env = 5"),
        [
            "c.toml:3: endpoint[0].blue.provider.env: expected a table such as { PORT = \"{port}\" }, not the number 5",
            "c.toml:3: endpoint[0].blue.provider.count: expected a whole number from 1 to 1024, not the number 0",
            r#"c.toml:3: endpoint[0].blue.provider.on_exit: expected one of "end", "keep", not "stay""#,
        ]
    );
    assert_eq!(
        problems("type = \"process\", command = [\"serve\", \"--port\"]"),
        [
            "c.toml:3: endpoint[0].blue.provider.command: says nowhere where to listen: write {port} into it, or into a value of env, where the port belongs"
        ]
    );
    assert_eq!(
        problems("type = \"command\", provision = [\"./p\"], list = [], stop_grace = \"1s\""),
        [
            "c.toml:3: endpoint[0].blue.provider.stop_grace: unknown key; the keys here are type, provision, list, retire, env, count, timeout, refresh, replace_after",
            r#"c.toml:3: endpoint[0].blue.provider.list: names no program; write for instance ["./list.sh"]"#,
            r#"c.toml:3: endpoint[0].blue.provider.retire: is missing; write retire = ["./retire.sh"]"#,
        ]
    );
    let both = r#"blue = { version = "v1", instances = ["a:1"], provider = { type = "process", command = ["x{port}"] } }"#;
    assert_eq!(
        config_problems(&format!("[[endpoint]]\nname = \"x\"\n{both}\n")),
        ["c.toml:3: endpoint[0].blue.instances: a provider makes the instances: leave out either of the two"]
    );
}

#[test]
fn an_endpoint_needs_a_name_and_a_blue_fleet_with_instances() {
    let text = r#"[[endpoint]]
[[endpoint]]
name = "a b"
blue = { version = "", instances = [] }
[[endpoint]]
name = "x"
[endpoint.blue]
instances = [
    "a:1",
    "http://b:1",
]
[[endpoint]]
name = "y"
blue = { version = "v1", instances = ["a:1", "b:1", "a:1"] }
"#;
    assert_eq!(
        config_problems(text),
        [
            r#"c.toml:1: endpoint[0].name: is missing; write name = "chat""#,
            r#"c.toml:1: endpoint[0].blue: is missing; write blue = { version = "v1", instances = ["127.0.0.1:9001"] }"#,
            r#"c.toml:3: endpoint[1].name: "a b" is not an endpoint name: use 1 to 63 letters, digits or '-', with a letter or digit at both ends"#,
            r#"c.toml:4: endpoint[1].blue.version: "" is not a version: use 1 to 128 letters, digits or any of . _ - : / @ +"#,
            r#"c.toml:4: endpoint[1].blue.instances: a fleet has at least one instance; write for instance ["127.0.0.1:9001"]"#,
            r#"c.toml:7: endpoint[2].blue.version: is missing; write version = "v1""#,
            r#"c.toml:10: endpoint[2].blue.instances[1]: "http://b:1" is not an instance address: write host:port, such as "127.0.0.1:9001" or "model-a:8000", without a scheme, or "unix:" and a path"#,
            "c.toml:14: endpoint[3].blue.instances[2]: a:1 is in the fleet already, as endpoint[3].blue.instances[0]",
        ]
    );
}

#[test]
fn endpoints_that_claim_the_same_name_or_the_same_requests_are_refused() {
    let again = "[[endpoint]]\nname = \"chat\"\nblue = { version = \"v1\", instances = [\"a:1\"] }\n\
                 [[endpoint]]\nname = \"b\"\nmatch = { path_prefix = \"/\" }\nblue = { version = \"v1\", instances = [\"a:1\"] }\n";
    assert_eq!(
        endpoint_problems(again),
        [
            r#"c.toml:5: endpoint[1].name: there are two endpoints called "chat""#,
            "c.toml:9: endpoint[2].match: a request could belong to chat as well as to b: make one rule more specific, by a longer \
             path_prefix, a host, a header or models",
        ]
    );
}

#[test]
fn a_balance_is_a_word_or_a_key_with_a_bound() {
    let problems = |balance: &str| endpoint_problems(&format!("balance = {balance}"));
    assert_eq!(
        problems("\"least\""),
        [
            r#"c.toml:4: endpoint[0].balance: expected one of "least_of_two", "round_robin", "random", not "least""#
        ]
    );
    assert_eq!(
        problems("{ header = \"x-a\", prompt_prefix = \"1KiB\", load_bound = \"100%\" }"),
        [
            r#"c.toml:4: endpoint[0].balance.load_bound: expected a whole percentage from "101%" to "1000%", such as "125%", not the text "100%""#,
            "c.toml:4: endpoint[0].balance.header: stands beside prompt_prefix: leave one of the two out",
        ]
    );
    assert_eq!(
        problems("{ load_bound = \"150%\" }"),
        [
            r#"c.toml:4: endpoint[0].balance.header: is missing, and so is cookie; write header = "x-session-id" or cookie = "sid""#
        ]
    );
}

#[test]
fn models_and_rewrites_say_what_they_take() {
    let lines = r#"match = { model = "a", models = ["b", "b"] }
rewrite = { prefix = "/v1/../x" }
"#;
    assert_eq!(
        endpoint_problems(lines),
        [
            r#"c.toml:4: endpoint[0].match.models[1]: "b" is in the list already"#,
            r#"c.toml:5: endpoint[0].rewrite.prefix: "/v1/../x" never fits, since paths are compared without '.', '..', '//' and needless escapes: write "/x""#,
            r#"c.toml:5: endpoint[0].rewrite.strip_prefix: is missing, and match has no path_prefix: write what is to be taken away, such as "/chat""#,
        ]
    );
}

#[test]
fn upgrades_say_what_they_take() {
    assert_eq!(
        endpoint_problems("upgrades = [\"websocket\", \"h2c\", \"a b\"]"),
        [
            r#"c.toml:4: endpoint[0].upgrades[1]: "h2c" cannot be switched to: requests inside of it would pass unseen; clients can speak HTTP/2 and TLS without an upgrade"#,
            r#"c.toml:4: endpoint[0].upgrades[2]: "a b" cannot be switched to: it is not a protocol's token: write a name such as "websocket""#,
        ]
    );
    assert_eq!(
        endpoint_problems("upgrades = \"websocket\""),
        [
            r#"c.toml:4: endpoint[0].upgrades: expected a list such as ["websocket"], not the text "websocket""#
        ]
    );
}

#[test]
fn match_health_and_limits_say_what_they_take() {
    let lines = r#"[endpoint.match]
model = ""
path_prefix = "v1"
host = "a.example:80"
header = { name = "a b" }
[endpoint.health]
path = "health"
timeout = "0s"
unhealthy_after = 0
[endpoint.limits]
body_limit = "0B"
replay_limit = "2GiB"
head_limit = "512B"
total_timeout = "soon"
upgrade_lifetime = "1 day"
on_half_close = "wait"
idle_timeout = false
"#;
    assert_eq!(
        endpoint_problems(lines),
        [
            "c.toml:5: endpoint[0].match.model: a model's name has 1 to 256 bytes, not 0",
            r#"c.toml:6: endpoint[0].match.path_prefix: "v1" is not a path: begin with '/', use visible ASCII characters and leave out '?' and '#', such as "/v1/""#,
            r#"c.toml:7: endpoint[0].match.host: "a.example:80" is not a host: write a name without scheme and port, such as "chat.example.org", or "*.example.org" for every host below it"#,
            r#"c.toml:8: endpoint[0].match.header.name: "a b" is not a header name: write a name such as "x-model""#,
            r#"c.toml:8: endpoint[0].match.header.value: is missing; write value = "chat""#,
            r#"c.toml:10: endpoint[0].health.path: "health" is not a path: begin with '/', use visible ASCII characters and leave out '?' and '#', such as "/health""#,
            "c.toml:11: endpoint[0].health.timeout: must be longer than 0s",
            "c.toml:12: endpoint[0].health.unhealthy_after: expected a whole number from 1 to 1000, not the number 0",
            "c.toml:14: endpoint[0].limits.body_limit: must be from 1B to 1024GiB, not 0B",
            "c.toml:15: endpoint[0].limits.replay_limit: must be from 0B to 1GiB, not 2GiB",
            "c.toml:16: endpoint[0].limits.head_limit: must be from 1KiB to 1MiB, not 512B",
            r#"c.toml:17: endpoint[0].limits.total_timeout: "soon" is not a duration: write a whole number and a unit, such as "250ms", "30s", "2m", "1h30m""#,
            r#"c.toml:18: endpoint[0].limits.upgrade_lifetime: "1 day" is not a duration: write a whole number and a unit, such as "250ms", "30s", "2m", "1h30m""#,
            r#"c.toml:19: endpoint[0].limits.on_half_close: expected one of "cancel", "serve", not "wait""#,
            r#"c.toml:20: endpoint[0].limits.idle_timeout: expected a duration such as "30s", not false"#,
        ]
    );
}

#[test]
fn a_hedge_and_the_least_rate_say_what_they_take() {
    assert_eq!(
        endpoint_problems("hedge = { fleets = \"green\" }\n"),
        [
            r#"c.toml:4: endpoint[0].hedge.after: is missing; write after = "300ms""#,
            r#"c.toml:4: endpoint[0].hedge.fleets: expected one of "blue", "both", not "green""#,
        ]
    );
    assert_eq!(
        endpoint_problems("hedge = { after = \"0s\" }\n[data]\nleast_rate = \"2MiB\"\n"),
        [
            "c.toml:4: endpoint[0].hedge.after: must be longer than 0s",
            "c.toml:6: data.least_rate: must be from 0B to 1MiB, not 2MiB",
        ]
    );
}

#[test]
fn rescue_and_sticky_say_what_they_take() {
    let lines = r#"rescue = { on = "always", statuses = [404, 399, 600], grpc_statuses = ["unavailable", 0, 17, "INTERNAL", 14], until = "token", budget = 20 }
sticky = { header = "x-session", cookie = "a=b" }
[[endpoint]]
name = "other"
blue = { version = "v1", instances = ["a:1"] }
match = { path_prefix = "/other" }
sticky = {}
"#;
    assert_eq!(
        endpoint_problems(lines),
        [
            r#"c.toml:4: endpoint[0].rescue.on: expected one of "never", "connect_failures", "before_first_byte", not "always""#,
            "c.toml:4: endpoint[0].rescue.statuses[1]: expected a whole number from 400 to 599, not the number 399",
            "c.toml:4: endpoint[0].rescue.statuses[2]: expected a whole number from 400 to 599, not the number 600",
            r#"c.toml:4: endpoint[0].rescue.grpc_statuses[0]: expected a gRPC status such as "UNAVAILABLE", or its code such as 14, not the text "unavailable""#,
            r#"c.toml:4: endpoint[0].rescue.grpc_statuses[1]: OK is no failure: leave it out"#,
            r#"c.toml:4: endpoint[0].rescue.grpc_statuses[2]: expected a gRPC status such as "UNAVAILABLE", or its code such as 14, not the number 17"#,
            r#"c.toml:4: endpoint[0].rescue.until: expected one of "head", "first_token", not "token""#,
            r#"c.toml:4: endpoint[0].rescue.budget: 20 has no unit: write "20%""#,
            r#"c.toml:5: endpoint[0].sticky.cookie: "a=b" is not the name of a cookie: write a name such as "sid""#,
            "c.toml:5: endpoint[0].sticky.cookie: a session's key is in a header or in a cookie: leave one of the two out",
            r#"c.toml:10: endpoint[1].sticky.header: is missing, and so is cookie; write header = "x-session-id" or cookie = "sid""#,
        ]
    );
}

#[test]
fn failures_say_which_statuses_there_are_and_agree_with_what_is_rescued() {
    let lines = r#"failures = { statuses = [399, "6xx", "504-502", "500-x", true], grpc_statuses = ["BROKEN"], in_band = "yes", timeout = false }
"#;
    let expected = |place: &str, given: &str| {
        format!(
            "c.toml:4: endpoint[0].failures.statuses[{place}]: expected a status from 400 to 599, \"4xx\", \"5xx\" or a range such as \
             \"502-504\", not {given}"
        )
    };
    assert_eq!(
        endpoint_problems(lines),
        [
            r#"c.toml:4: endpoint[0].failures.timeout: unknown key; did you mean "timeouts"?"#.to_owned(),
            expected("0", "the number 399"),
            expected("1", "\"6xx\""),
            expected("2", "\"504-502\""),
            expected("3", "\"500-x\""),
            expected("4", "true"),
            r#"c.toml:4: endpoint[0].failures.grpc_statuses[0]: expected a gRPC status such as "UNAVAILABLE", or its code such as 14, not the text "BROKEN""#.to_owned(),
            "c.toml:4: endpoint[0].failures.in_band: expected true or false, not the text \"yes\"".to_owned(),
        ]
    );
    let lines = r#"failures = { statuses = ["5xx"], grpc_statuses = ["INTERNAL"] }
rescue = { statuses = [404, 424, 500], grpc_statuses = ["NOT_FOUND"] }
"#;
    assert_eq!(
        endpoint_problems(lines),
        [
            "c.toml:5: endpoint[0].rescue.statuses: 404, 424 would be rescued but is no failure by endpoint.failures: what is rescued \
             counts against green, so it must count for blue too; add it there, or leave it out here",
            "c.toml:5: endpoint[0].rescue.grpc_statuses: \"NOT_FOUND\" would be rescued but is no failure by endpoint.failures: what is \
             rescued counts against green, so it must count for blue too; add it there, or leave it out here",
        ]
    );
}

#[test]
fn the_sign_of_an_error_in_a_body_is_one_thing() {
    assert_eq!(
        endpoint_problems(
            "failures = { body = { field = \"error\", contains = \"x\", within = \"1MiB\" } }\n"
        ),
        [
            "c.toml:4: endpoint[0].failures.body.within: must be from 1B to 64KiB, not 1MiB",
            "c.toml:4: endpoint[0].failures.body.contains: an error is told by a field or by a text: leave one of the two out",
        ]
    );
    assert_eq!(
        endpoint_problems("failures = { body = { within = \"1KiB\" } }\n"),
        [
            "c.toml:4: endpoint[0].failures.body.field: is missing, and so is contains; write field = \"error\" or contains = \"CUDA error\""
        ]
    );
    assert_eq!(
        endpoint_problems("failures = { body = { field = \"\" } }\n"),
        ["c.toml:4: endpoint[0].failures.body.field: must have from 1 to 64 bytes"]
    );
}

#[test]
fn what_is_rescued_is_a_failure_of_both_fleets_and_what_is_none_is_not_rescued() {
    let endpoint = |lines: &str| {
        let text = format!(
            "[[endpoint]]\nname = \"chat\"\nblue = {{ version = \"v1\", instances = [\"a:1\"] }}\n{lines}"
        );
        parse(&text, "c.toml").unwrap().endpoints.remove(0)
    };
    let named = endpoint("rescue = { statuses = [404], grpc_statuses = [\"NOT_FOUND\"] }\n").failures;
    assert!(named.statuses.contains(404) && named.statuses.contains(500) && !named.statuses.contains(400));
    assert!(named.grpc_statuses.contains(crate::meter::GrpcStatus::NotFound));
    let few = endpoint("failures = { statuses = [503], grpc_statuses = [14] }\n").rescue;
    assert_eq!(few.statuses.iter().collect::<Vec<_>>(), [503]);
    assert_eq!(few.grpc_statuses.iter().collect::<Vec<_>>(), [crate::meter::GrpcStatus::Unavailable]);
}

#[test]
fn a_recording_has_a_bound() {
    let name = EndpointName::parse("chat").unwrap();
    let document = json!({"recording": 1_000_001, "blue": {"version": "v1", "instances": ["a:1"]}});
    assert_eq!(
        EndpointSpec::from_json(&name, &document).unwrap_err().to_string(),
        "request body: recording: expected a whole number from 0 to 1000000, not the number 1000001"
    );
}
