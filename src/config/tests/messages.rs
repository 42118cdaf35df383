//! What users are told, word for word: what is wrong, where, and what would be right.

use serde_json::json;

use crate::{
    alarm::{Regression, RegressionBound, Tolerance},
    config::{EndpointSpec, PlanSpec, load, parse},
    name::EndpointName,
};

const PLAN_HEAD: &str = r#"green = { version = "v2", instances = ["127.0.0.1:9003"] }
strategy = { type = "canary", share = "5%", bake = "2m", final_bake = "5m" }
"#;

fn config_problems(text: &str) -> Vec<String> {
    parse(text, "c.toml").unwrap_err().to_string().lines().map(str::to_owned).collect()
}

/// Problems of a plan that is right but for these lines, which begin at line 3.
fn plan_problems(lines: &str) -> Vec<String> {
    whole_plan_problems(&format!("{PLAN_HEAD}{lines}"))
}

fn whole_plan_problems(text: &str) -> Vec<String> {
    PlanSpec::from_toml(text, "p.toml").unwrap_err().to_string().lines().map(str::to_owned).collect()
}

/// A configuration with one endpoint, whose blue fleet these lines follow.
fn endpoint_problems(lines: &str) -> Vec<String> {
    config_problems(&format!(
        "[[endpoint]]\nname = \"chat\"\nblue = {{ version = \"v1\", instances = [\"a:1\"] }}\n{lines}"
    ))
}

#[test]
fn every_problem_of_a_section_is_reported_with_its_line() {
    let text = r#"[data]
workers = -1
listen = "0.0.0.0:80"
head_timeout = 5
head_limit = 4096
expose_fleet = "yes"
conections_per_worker = 1
keep_alive_timeout = 0.5
drain_timeout = "5 s"
upstream_idle_timeout = "400d"
[log]
level = "info,snapback=loud"
format = "yaml"
[state]
path = ""
"#;
    assert_eq!(
        config_problems(text),
        [
            "c.toml:2: data.workers: expected a whole number from 0 to 1024, not the number -1",
            r#"c.toml:3: data.listen: expected a list such as ["0.0.0.0:8080"], not the text "0.0.0.0:80""#,
            r#"c.toml:4: data.head_timeout: 5 has no unit: write "5s" for seconds or "5ms" for milliseconds"#,
            r#"c.toml:5: data.head_limit: 4096 has no unit: write "4096B" for bytes, or a size such as "64KiB""#,
            r#"c.toml:6: data.expose_fleet: expected true or false, not the text "yes""#,
            r#"c.toml:7: data.conections_per_worker: unknown key; did you mean "connections_per_worker"?"#,
            r#"c.toml:8: data.keep_alive_timeout: 0.5 has no unit: write a whole number and a unit, such as "250ms""#,
            r#"c.toml:9: data.drain_timeout: "5 s" is not a duration: write a whole number and a unit, such as "250ms", "30s", "2m", "1h30m""#,
            "c.toml:10: data.upstream_idle_timeout: is longer than 365d, the longest duration",
            r#"c.toml:12: log.level: "snapback=loud" is not a log level: write one of off, error, warn, info, debug, trace, or target=level, separated by commas, such as "info,snapback::proxy=debug""#,
            r#"c.toml:13: log.format: expected one of "text", "json", not "yaml""#,
            r#"c.toml:15: state.path: the path is empty; write for instance "snapback.db""#,
        ]
    );
}

#[test]
fn sizes_are_checked_against_their_bounds() {
    assert_eq!(
        config_problems("data.head_limit = \"4KiB\""),
        ["c.toml:1: data.head_limit: must be from 8KiB to 1MiB, not 4KiB"]
    );
    assert_eq!(
        config_problems("data.head_limit = \"64K\""),
        [
            r#"c.toml:1: data.head_limit: "64K" is not a size: write a whole number and B, KiB, MiB or GiB, such as "64KiB""#
        ]
    );
}

#[test]
fn a_listen_address_is_an_ip_address_and_a_port() {
    assert_eq!(
        config_problems("[data]\nlisten = [\n  \"localhost:80\",\n  5,\n]\n"),
        [
            r#"c.toml:3: data.listen[0]: "localhost:80" is not a listen address: write an IP address and a port, such as "127.0.0.1:8080" or "[::]:8080", or "unix:" and an absolute path of at most 107 bytes, such as "unix:/run/snapback.sock""#,
            "c.toml:4: data.listen[1]: expected a text in quotes, not the number 5",
        ]
    );
    assert_eq!(
        config_problems("[data]\nlisten = []\n"),
        [r#"c.toml:2: data.listen: has no address; write for instance listen = ["0.0.0.0:8080"]"#]
    );
}

#[test]
fn two_listeners_on_one_address_are_refused() {
    assert_eq!(
        config_problems("[data]\nlisten = [\"0.0.0.0:80\", \"127.0.0.1:80\"]\n"),
        ["c.toml:2: data.listen[1]: 127.0.0.1:80 is taken by data.listen[0], which is 0.0.0.0:80"]
    );
    assert_eq!(
        config_problems("[admin]\nlisten = \"127.0.0.1:8080\"\n"),
        ["c.toml:2: admin.listen: 127.0.0.1:8080 is taken by data.listen, which is 0.0.0.0:8080"]
    );
    assert_eq!(
        config_problems("[data]\nlisten = [\"127.0.0.1:9090\"]\n"),
        ["c.toml:2: data.listen[0]: 127.0.0.1:9090 is what admin.listen is by default: change one of them"]
    );
    let free_ports = "[data]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\", \"[::]:80\", \"0.0.0.0:80\"]\n\
                      [admin]\nlisten = \"127.0.0.1:0\"\n";
    assert!(parse(free_ports, "c.toml").is_ok());
}

#[test]
fn an_admin_port_that_others_can_reach_needs_consent() {
    assert_eq!(
        config_problems("[admin]\nlisten = \"0.0.0.0:9090\"\n"),
        [
            "c.toml:2: admin.listen: 0.0.0.0:9090 can be reached from other machines, and the admin port has no authentication: \
          whoever reaches it commands every shift. Listen on 127.0.0.1, ask for client certificates (admin.tls with client_ca), or write \
          allow_remote = true where a firewall or a container's network guards the port"
        ]
    );
    assert!(parse("[admin]\nlisten = \"0.0.0.0:9090\"\nallow_remote = true\n", "c.toml").is_ok());
    let tls =
        "[admin]\nlisten = \"0.0.0.0:9090\"\n[admin.tls]\ncertificates = [{ cert = \"c\", key = \"k\" }]\n";
    assert_eq!(config_problems(tls).len(), 1);
    assert!(parse(&format!("{tls}client_ca = \"ca\"\n"), "c.toml").is_ok());
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let text = "dta = 1\n[[endpoint]]\nname = \"chat\"\nblu = { version = \"v1\" }\n[endpoint.health]\nHealthy-After = 1\n\
                blue = 5\nqwerty = 1\n";
    assert_eq!(
        config_problems(text),
        [
            r#"c.toml:1: dta: unknown key; did you mean "data"?"#,
            r#"c.toml:4: endpoint[0].blu: unknown key; did you mean "blue"?"#,
            r#"c.toml:6: endpoint[0].health.Healthy-After: unknown key; did you mean "healthy_after"?"#,
            r#"c.toml:7: endpoint[0].health.blue: unknown key here; "blue" is a key of endpoint"#,
            "c.toml:8: endpoint[0].health.qwerty: unknown key; the keys here are path, grpc, interval, timeout, unhealthy_after, \
             healthy_after",
        ]
    );
}

#[test]
fn tls_needs_certificates_with_keys_and_client_auth_its_authorities() {
    assert_eq!(
        config_problems("[data.tls]\nclient_auth = \"required\"\n"),
        [
            "c.toml:1: data.tls.client_ca: is missing: client_auth needs the authorities that sign clients' certificates",
            r#"c.toml:1: data.tls.certificates: is missing; write certificates = [{ cert = "cert.pem", key = "key.pem" }]"#,
        ]
    );
    let text = "[data]\nlisten = []\n[data.tls]\nlisten = [\"0.0.0.0:443\"]\nclient_auth = \"none\"\nclient_ca = \"ca\"\n\
                certificates = [{ cert = \"c\" }]\n";
    assert_eq!(
        config_problems(text),
        [
            r#"c.toml:5: data.tls.client_auth: is "none", so client_ca has no use: leave one of them out"#,
            r#"c.toml:7: data.tls.certificates[0].key: is missing; write key = "key.pem""#,
        ]
    );
    let text =
        "[data]\nlisten = [\"0.0.0.0:443\"]\n[data.tls]\nlisten = [\"127.0.0.1:443\"]\ncertificates = []\n";
    assert_eq!(
        config_problems(text),
        [
            "c.toml:4: data.tls.listen[0]: 127.0.0.1:443 is taken by data.listen[0], which is 0.0.0.0:443",
            "c.toml:5: data.tls.certificates: has no certificate: a TLS server needs at least one",
        ]
    );
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
fn a_trusted_proxy_is_a_network() {
    assert_eq!(
        config_problems(
            "[data]\ntrusted_proxies = [\"10.1.0.0/8\"]\nproxy_protocol = \"on\"\nunderscore_headers = true\n"
        ),
        [
            r#"c.toml:2: data.trusted_proxies[0]: "10.1.0.0/8" is not a network: write an address and its prefix, such as "10.0.0.0/8" or "fd00::/8", one address, or "unix" for all that connect through a Unix-domain socket"#,
            r#"c.toml:3: data.proxy_protocol: expected one of "off", "required", not "on""#,
            r#"c.toml:4: data.underscore_headers: expected one of "drop", "pass", "refuse", not true"#,
        ]
    );
}

#[test]
fn a_table_is_wanted_where_one_belongs() {
    assert_eq!(
        config_problems("admin = 5\nendpoint = {}\n"),
        [
            "c.toml:1: admin: expected a table with the keys listen, allow_remote, tls, not the number 5",
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
fn a_provider_is_told_what_it_lacks_and_what_it_cannot_have() {
    let fleet = |provider: &str| {
        format!("[[endpoint]]\nname = \"x\"\nblue = {{ version = \"v1\", provider = {{ {provider} }} }}\n")
    };
    let problems = |provider: &str| config_problems(&fleet(provider));
    assert_eq!(
        problems("type = \"procces\""),
        [r#"c.toml:3: endpoint[0].blue.provider.type: expected one of "process", "command", not "procces""#]
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
fn a_plans_limits_say_what_they_take() {
    let lines = "false_alarm = \"50%\"\nmax_failures = 0\nno_data = \"wait\"\non_restart = 1\nready_timeout = \"0s\"\n\
                 execution_timeout = \"7m\"\n";
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:3: false_alarm: must be below 50%, such as "0.1%": a test that is wrong every second time says nothing"#,
            "p.toml:4: max_failures: expected a whole number from 1 to 1000000000, not the number 0",
            r#"p.toml:5: no_data: expected one of "hold", "pass", "fail", not "wait""#,
            r#"p.toml:6: on_restart: expected one of "continue", "roll_back", not the number 1"#,
            "p.toml:7: ready_timeout: must be longer than 0s",
            "p.toml:8: execution_timeout: execution_timeout 7m is not longer than the plan's waits, 7m in all: raise it or shorten \
             the waits",
        ]
    );
}

#[test]
fn guards_say_what_they_take() {
    let lines = r#"[[guard]]
metric = "error_rate"
below = "100%"
quantile = "p99"
burst = 1.5
[[guard]]
metric = "latency"
quantile = "p100"
below = 250
[[guard]]
metric = "token_gap"
[[guard]]
name = "too slow"
metric = "p99"
execution_timeout = "1h"
[[guard]]
metric = "error_rate"
below = 0.01
[[guard]]
below = 1
[[guard]]
metric = "latency"
quantile = 99
"#;
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:5: guard[0].below: "100%" is not a percentage above 0% and below 100%, such as "1%" or "0.05%""#,
            "p.toml:6: guard[0].quantile: a guard on error_rate has no quantile: leave it out",
            "p.toml:7: guard[0].burst: expected a whole number from 1 to 1000, not the number 1.5",
            r#"p.toml:10: guard[1].quantile: "p100" is not a quantile: write "p50", "p99" or "p99.9", above p0 and below p100"#,
            r#"p.toml:11: guard[1].below: 250 has no unit: write "250s" for seconds or "250ms" for milliseconds"#,
            r#"p.toml:12: guard[2].quantile: is missing; write quantile = "p99""#,
            r#"p.toml:12: guard[2].below: is missing; write below = "250ms""#,
            r#"p.toml:15: guard[3].name: "too slow" is not an alarm's name: use 1 to 63 letters, digits or any of _ - ."#,
            r#"p.toml:16: guard[3].metric: expected one of "error_rate", "latency", "first_token", "token_gap", not "p99""#,
            r#"p.toml:17: guard[3].execution_timeout: unknown key here; "execution_timeout" belongs at the top of the file, above the first [table]"#,
            r#"p.toml:20: guard[4].below: 0.01 has no unit: write a percentage in quotes, such as "5%""#,
            r#"p.toml:21: guard[5].metric: is missing; write metric = "error_rate""#,
            r#"p.toml:23: guard[6].below: is missing; write below = "250ms""#,
            r#"p.toml:25: guard[6].quantile: expected a quantile such as "p99", not the number 99"#,
        ]
    );
}

#[test]
fn thresholds_say_what_they_take() {
    let lines = r#"[[threshold]]
name = "a"
metric = "latency"
statistic = "p90"
above = "0s"
period = "500ms"
datapoints = "3 of 2"
missing = "broken"
[[threshold]]
name = "b"
metric = "latency"
statistic = "tm(90%:10%)"
above = "2h"
below = "1s"
period = "1s"
datapoints = 2
low_samples = "no"
[[threshold]]
name = "b"
metric = "error_rate"
statistic = "p90"
at_least = 0.01
period = "10s"
[[threshold]]
metric = "token"
[[threshold]]
name = "c"
metric = "first_byte"
statistic = "maximum"
at_least = "2h"
period = "1s"
"#;
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:7: threshold[0].above: is finer than the histograms' buckets, which are 1us wide: write "2us" or more"#,
            "p.toml:8: threshold[0].period: must be 1s or longer, not 500ms: a shorter period says little",
            "p.toml:9: threshold[0].datapoints: 3 of 2 can never be met: at most 2 of 2",
            r#"p.toml:10: threshold[0].missing: expected one of "missing", "ignore", "breaching", "not_breaching", not "broken""#,
            r#"p.toml:14: threshold[1].statistic: "tm(90%:10%)" is not a statistic: write average, sum, minimum, maximum, sample_count, a percentile such as "p90", or tm, wm, tc or ts with what they keep, such as "tm90" or "tm(10%:90%)""#,
            "p.toml:16: threshold[1].below: an alarm has one bound: keep one of above, at_least, below and at_most",
            r#"p.toml:18: threshold[1].datapoints: expected datapoints such as "2 of 3", not the number 2"#,
            r#"p.toml:19: threshold[1].low_samples: expected one of "evaluate", "ignore", not "no""#,
            r#"p.toml:23: threshold[2].statistic: error_rate has the statistic "average" alone, not "p90": leave it out"#,
            r#"p.toml:24: threshold[2].at_least: 0.01 has no unit: write a percentage in quotes, such as "5%""#,
            r#"p.toml:26: threshold[3].name: is missing; write name = "slow""#,
            r#"p.toml:26: threshold[3].above: is missing; write above = "300ms", or at_least, below or at_most"#,
            r#"p.toml:26: threshold[3].period: is missing; write period = "10s""#,
            r#"p.toml:27: threshold[3].metric: expected one of "latency", "first_byte", "first_token", "token_gap", "error_rate", "client_error_rate", "requests", "failures", not "token""#,
            "p.toml:32: threshold[4].at_least: is beyond the histograms' last bucket, from 72m on: write less",
        ]
    );
}

#[test]
fn external_alarms_say_what_they_take() {
    let lines = r#"[[external]]
lease = "500ms"
[[external]]
name = "a b"
on_expiry = "fine"
[[external]]
name = "quality"
[[external]]
name = "quality"
leese = "1m"
"#;
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:3: external[0].name: is missing; write name = "quality""#,
            "p.toml:4: external[0].lease: must be 1s or longer, not 500ms",
            r#"p.toml:6: external[1].name: "a b" is not an alarm's name: use 1 to 63 letters, digits or any of _ - ."#,
            r#"p.toml:7: external[1].on_expiry: expected one of "ok", "alarm", "insufficient_data", not "fine""#,
            r#"p.toml:11: external[3].name: there are two alarms called "quality": give one a name of its own"#,
            r#"p.toml:12: external[3].leese: unknown key; did you mean "lease"?"#,
        ]
    );
}

#[test]
fn polled_alarms_say_what_they_take() {
    let lines = r#"[[external]]
name = "a"
lease = "10s"
poll = { url = "http://me:secret@grader/", method = "PUT", every = "100ms", token_env = "HOME", ca = "ca.pem" }
[[external]]
name = "b"
poll = { url = "http://grader/", token_file = "t", token_env = "SNAPBACK_TOKEN_B", ca = "ca.pem", errors = 0 }
prometheus = { url = "prometheus:9090", query = "up{version=\"$verion\"}", above = "5%", below = 1 }
[[external]]
name = "c"
lease = "10s"
prometheus = { url = "http://prometheus:9090", query = "", above = "5%", datapoints = "3 of 2", every = "8s" }
[[external]]
name = "d"
lease = "10s"
poll = { timeout = "2m", every = "8s" }
[external.prometheus]
"#;
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:6: external[0].poll.method: expected one of "GET", "POST", not "PUT""#,
            r#"p.toml:6: external[0].poll.url: a URL with a name or a password would be shown with the plan: write token_file or token_env instead"#,
            r#"p.toml:6: external[0].poll.every: must be from 1s to 1h, not 100ms"#,
            r#"p.toml:6: external[0].poll.token_env: "HOME" is not a variable for a token: its name begins with SNAPBACK_TOKEN_, so that no plan can send other variables away"#,
            r#"p.toml:9: external[1].poll.errors: expected a whole number from 1 to 100, not the number 0"#,
            r#"p.toml:9: external[1].poll.token_env: there is one token: keep either token_file or token_env"#,
            r#"p.toml:9: external[1].poll.ca: has no use with an http URL: write https, or leave it out"#,
            r#"p.toml:10: external[1].prometheus: an alarm has one source: keep either poll or prometheus"#,
            r#"p.toml:14: external[2].prometheus.query: must be from 1 to 4096 bytes long, not 0"#,
            r#"p.toml:14: external[2].prometheus.above: expected a number such as 0.05, in the query's unit, not the text "5%""#,
            r#"p.toml:14: external[2].prometheus.datapoints: 3 of 2 can never be met: at most 2 of 2"#,
            r#"p.toml:18: external[3].poll.url: is missing; write url = "https://grader.internal/state""#,
            r#"p.toml:18: external[3].poll.timeout: must be from 100ms to 1m, not 2m"#,
            r#"p.toml:19: external[3].prometheus: an alarm has one source: keep either poll or prometheus"#,
        ]
    );
}

#[test]
fn queries_have_one_bound_and_placeholders_that_stand_for_something_and_leases_outlast_a_question() {
    let lines = r#"[[external]]
name = "a"
prometheus = { url = "http://prometheus:9090", query = "up{version=\"$verion\"}", above = 1, below = 1 }
[[external]]
name = "b"
prometheus = { url = "prometheus:9090", query = "up" }
[[external]]
name = "c"
lease = "12s"
poll = { url = "http://grader/", every = "8s" }
"#;
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:5: external[0].prometheus.query: $verion stands for nothing: there are $endpoint, $shift, $blue, $green"#,
            r#"p.toml:5: external[0].prometheus.below: an alarm has one bound: keep one of above, at_least, below and at_most"#,
            r#"p.toml:8: external[1].prometheus.above: is missing; write above = 0.05, or at_least, below or at_most"#,
            r#"p.toml:8: external[1].prometheus.url: "prometheus:9090" is not a URL to ask at: write for instance "https://grader.internal:8443/state""#,
            r#"p.toml:11: external[2].lease: must be 13s or longer, which is every and timeout together, or answers would expire before the next one: not 12s"#,
        ]
    );
}

#[test]
fn no_alarm_takes_the_name_of_the_budget_of_failures() {
    assert_eq!(
        plan_problems("[[external]]\nname = \"max_failures\"\n"),
        [
            r#"p.toml:4: external[0].name: "max_failures" is the name of the plan's budget of failures: give the alarm another"#
        ]
    );
}

#[test]
fn thresholds_have_names_of_their_own_and_the_time_to_be_raised() {
    let threshold = |name: &str, period: &str| {
        format!(
            "[[threshold]]\nname = \"{name}\"\nmetric = \"failures\"\nabove = 0\nperiod = \"{period}\"\ndatapoints = \"2 of 3\"\n"
        )
    };
    let guard = "[[guard]]\nname = \"same\"\nmetric = \"error_rate\"\nbelow = \"1%\"\n";
    assert_eq!(
        plan_problems(&format!("{guard}{}", threshold("same", "1s"))),
        [r#"p.toml:8: threshold[0].name: there are two alarms called "same": give one a name of its own"#]
    );
    assert_eq!(
        plan_problems(&threshold("late", "2h")),
        [
            r#"p.toml:3: threshold: "late" needs 2 periods of 2h to be raised, which is longer than execution_timeout (2h): shorten the period, or have fewer datapoints"#
        ]
    );
    let many: String = (0..17).map(|number| threshold(&format!("t{number}"), "1s")).collect();
    assert_eq!(
        plan_problems(&many),
        ["p.toml:3: threshold: 17 thresholds are more than the 16 a plan can have"]
    );
}

#[test]
fn a_plan_has_so_many_guards_on_tokens() {
    let metric = |number: usize| if number.is_multiple_of(2) { "first_token" } else { "token_gap" };
    let guard = |number| {
        format!(
            "[[guard]]\nname = \"g{number}\"\nmetric = \"{}\"\nquantile = \"p95\"\nbelow = \"1s\"\n",
            metric(number)
        )
    };
    let plan = |guards: usize| (0..guards).map(guard).collect::<String>();
    assert_eq!(
        plan_problems(&plan(9)),
        ["p.toml:45: guard[8].metric: a plan has at most 8 guards on first_token and token_gap together"]
    );
    let unnamed = plan(2).replace("name = \"g0\"\n", "").replace("name = \"g1\"\n", "");
    let plan = PlanSpec::from_toml(&format!("{PLAN_HEAD}{unnamed}"), "p.toml").unwrap();
    let names: Vec<_> = plan.alarms.guards.iter().map(|guard| guard.name.as_str()).collect();
    assert_eq!(names, ["first_token_p95", "token_gap_p95"]);
}

#[test]
fn regressions_say_what_they_take() {
    let lines = r#"[[regression]]
metric = "error_rate"
tolerance = "0.9x"
quantile = "p99"
burst = 0
[[regression]]
metric = "latency"
tolerance = "5%"
[[regression]]
metric = "latency"
tolerance = "1.01x"
quantile = "p0"
[[regression]]
metric = "first_token"
tolerance = "1%"
[[regression]]
name = "latency_regression"
metric = "client_error_rate"
tolerance = 1.5
below = "1%"
[[regression]]
metric = "error"
"#;
    let tolerance = "is not a tolerance: write \"1.5x\" for one and a half times blue's, from 1x to 100x, or \"0.5%\" for so many \
                     percentage points above it";
    assert_eq!(
        plan_problems(lines),
        [
            format!("p.toml:5: regression[0].tolerance: \"0.9x\" {tolerance}"),
            "p.toml:6: regression[0].quantile: only a regression on latency, first_token or token_gap has a quantile: leave it out"
                .to_owned(),
            "p.toml:7: regression[0].burst: expected a whole number from 1 to 1000, not the number 0".to_owned(),
            "p.toml:10: regression[1].tolerance: times are compared by a ratio: write for instance \"1.2x\"".to_owned(),
            "p.toml:13: regression[2].tolerance: \"1.01x\" is finer than the buckets that times are counted in, which are a 64th \
             wide: write \"1x\", or \"1.02x\" and more"
                .to_owned(),
            r#"p.toml:14: regression[2].quantile: "p0" is not a quantile: write "p50", "p99" or "p99.9", above p0 and below p100"#
                .to_owned(),
            "p.toml:17: regression[3].tolerance: times are compared by a ratio: write for instance \"1.2x\"".to_owned(),
            "p.toml:21: regression[4].tolerance: expected a tolerance such as \"1.5x\" or \"0.5%\", not the number 1.5".to_owned(),
            "p.toml:22: regression[4].below: a regression is bounded by blue: write tolerance, or an absolute bound in a [[guard]]"
                .to_owned(),
            r#"p.toml:24: regression[5].metric: expected one of "error_rate", "client_error_rate", "latency", "first_token", "token_gap", not "error""#
                .to_owned(),
        ]
    );
}

#[test]
fn a_regression_needs_a_blue_that_takes_traffic() {
    let plan = |strategy: &str| {
        format!(
            "green = {{ version = \"v2\", instances = [\"a:1\"] }}\nstrategy = {strategy}\n[[regression]]\nmetric = \"latency\"\n"
        )
    };
    for (kind, strategy) in [
        ("all_at_once", "{ type = \"all_at_once\", final_bake = \"5m\" }"),
        ("canary", "{ type = \"canary\", share = \"5%\", bake = \"0s\", final_bake = \"5m\" }"),
    ] {
        assert_eq!(
            whole_plan_problems(&plan(strategy)),
            [format!(
                "p.toml:3: regression: a regression compares green with a blue that takes traffic at the same moments, and {kind} has no \
                 step below 100% with a bake: use strategy = {{ type = \"canary\", share = \"5%\", bake = \"2m\", final_bake = \"5m\" }}, \
                 or a [[guard]], which needs no blue"
            )]
        );
    }
}

#[test]
fn alarms_of_all_kinds_have_names_of_their_own() {
    let lines = "[[guard]]\nname = \"same\"\nmetric = \"error_rate\"\nbelow = \"1%\"\n\
                 [[regression]]\nname = \"same\"\nmetric = \"error_rate\"\n";
    assert_eq!(
        plan_problems(lines),
        [r#"p.toml:8: regression[0].name: there are two alarms called "same": give one a name of its own"#]
    );
    let many =
        (0..17).map(|number| format!("[[regression]]\nmetric = \"error_rate\"\nname = \"r{number}\"\n"));
    assert_eq!(
        plan_problems(&many.collect::<String>()),
        ["p.toml:3: regression: 17 regressions are more than the 16 a plan can have"]
    );
}

#[test]
fn a_regression_without_a_name_is_called_after_its_metric_and_has_no_tolerance() {
    let lines = "[[regression]]\nmetric = \"error_rate\"\n[[regression]]\nmetric = \"client_error_rate\"\n\
                 [[regression]]\nmetric = \"latency\"\n[[regression]]\nmetric = \"latency\"\nquantile = \"p95\"\ntolerance = \"1.2x\"\n\
                 [[regression]]\nmetric = \"first_token\"\nquantile = \"p90\"\n[[regression]]\nmetric = \"token_gap\"\n";
    let plan = PlanSpec::from_toml(&format!("{PLAN_HEAD}{lines}"), "p.toml").unwrap();
    let tolerance = Tolerance::Ratio(1.0);
    let regression = |name: &str, bound| Regression { name: name.to_owned(), bound, burst: None };
    assert_eq!(
        plan.alarms.regressions,
        [
            regression("error_rate_regression", RegressionBound::ErrorRate { tolerance }),
            regression("client_error_rate_regression", RegressionBound::ClientErrorRate { tolerance }),
            regression("latency_regression", RegressionBound::Latency { quantile: None, ratio: 1.0 }),
            regression(
                "latency_p95_regression",
                RegressionBound::Latency { quantile: Some(0.95), ratio: 1.2 }
            ),
            regression(
                "first_token_p90_regression",
                RegressionBound::FirstToken { quantile: Some(0.9), ratio: 1.0 }
            ),
            regression("token_gap_regression", RegressionBound::TokenGap { quantile: None, ratio: 1.0 }),
        ]
    );
}

#[test]
fn guards_have_names_of_their_own_and_a_number_that_the_meters_can_hold() {
    let guard = |below: usize| {
        format!(
            "[[guard]]\nmetric = \"latency\"\nquantile = \"p99\"\nbelow = \"{below}ms\"\nname = \"g{below}\"\n"
        )
    };
    let guards: String = (1..=9).map(guard).collect();
    assert_eq!(
        plan_problems(&guards),
        ["p.toml:44: guard[8].metric: a plan has at most 8 guards on latency"]
    );
    let twice = "[[guard]]\nmetric = \"error_rate\"\nbelow = \"1%\"\n".repeat(2);
    assert_eq!(
        plan_problems(&twice),
        [r#"p.toml:6: guard[1].name: there are two alarms called "error_rate": give one a name of its own"#]
    );
    let many: String = (0..17)
        .map(|number| format!("[[guard]]\nmetric = \"error_rate\"\nbelow = \"1%\"\nname = \"g{number}\"\n"))
        .collect();
    assert_eq!(plan_problems(&many), ["p.toml:3: guard: 17 guards are more than the 16 a plan can have"]);
}

#[test]
fn a_guard_without_a_name_is_called_after_its_metric() {
    let guards = "[[guard]]\nmetric = \"error_rate\"\nbelow = \"1%\"\n\
                  [[guard]]\nmetric = \"latency\"\nquantile = \"p99.9\"\nbelow = \"1s\"\n";
    let plan = PlanSpec::from_toml(&format!("{PLAN_HEAD}{guards}"), "p.toml").unwrap();
    let names: Vec<&str> = plan.alarms.guards.iter().map(|guard| guard.name.as_str()).collect();
    assert_eq!(names, ["error_rate", "latency_p99.9"]);
}

#[test]
fn a_plan_needs_a_green_fleet_and_a_strategy() {
    assert_eq!(
        whole_plan_problems(""),
        [
            r#"p.toml:1: green: is missing; write green = { version = "v2", instances = ["127.0.0.1:9003"] }"#,
            r#"p.toml:1: strategy: is missing; write strategy = { type = "canary", share = "5%", bake = "2m", final_bake = "5m" }"#,
        ]
    );
}

/// Problems of a plan with this strategy, whose keys begin at line 3.
fn strategy_problems(keys: &str) -> Vec<String> {
    let green = "green = { version = \"v2\", instances = [\"a:1\"] }";
    whole_plan_problems(&format!(
        "{green}\n[strategy]\n{keys}\n[[guard]]\nmetric = \"error_rate\"\nbelow = \"1%\"\n"
    ))
}

#[test]
fn a_strategy_takes_the_keys_of_its_type() {
    assert_eq!(
        strategy_problems("type = \"linear\"\nshare = \"5%\"\nbake = 2"),
        [
            r#"p.toml:2: strategy.step: is missing; write step = "25%""#,
            r#"p.toml:2: strategy.final_bake: is missing; write final_bake = "5m""#,
            "p.toml:4: strategy.share: unknown key; the keys here are type, step, bake, final_bake, ramp_when_safe",
            r#"p.toml:5: strategy.bake: 2 has no unit: write "2s" for seconds or "2ms" for milliseconds"#,
        ]
    );
    assert_eq!(
        strategy_problems("share = \"5%\""),
        [r#"p.toml:2: strategy.type: is missing; write type = "canary""#]
    );
    assert_eq!(
        strategy_problems("type = \"blue_green\""),
        [
            r#"p.toml:3: strategy.type: expected one of "all_at_once", "canary", "linear", "rolling", "steps", not "blue_green""#
        ]
    );
    assert_eq!(
        strategy_problems("type = \"rolling\"\nbatch = \"a\"\nrollback_batch = 0\nfinal_bake = \"1m\""),
        [
            r#"p.toml:2: strategy.bake: is missing; write bake = "2m""#,
            r#"p.toml:4: strategy.batch: "a" is not a part of a fleet: write a number of instances such as 2, or a part of the fleet such as "25%""#,
            r#"p.toml:5: strategy.rollback_batch: 0 is not a number of instances from 1 on: write a number of instances such as 2, or a part of the fleet such as "25%""#,
            "p.toml:6: strategy.final_bake: unknown key; the keys here are type, batch, bake, rollback_batch",
        ]
    );
    assert_eq!(
        strategy_problems("type = \"rolling\"\nbatch = 2\nbake = \"1m\""),
        [
            "p.toml:4: strategy.batch: a batch of 2 is more than green's 1: write at most 1, or use the strategy all_at_once, which makes the whole fleet before it moves traffic"
        ]
    );
    assert_eq!(
        strategy_problems("type = \"rolling\"\nbatch = \"0%\"\nbake = \"1m\""),
        [
            r#"p.toml:4: strategy.batch: batch is nothing: a batch has at least one instance, so write a number such as 1, or a part such as "25%""#
        ]
    );
}

#[test]
fn shares_are_percentages_that_rise() {
    assert_eq!(
        strategy_problems("type = \"canary\"\nshare = 5\nbake = \"1m\"\nfinal_bake = \"1m\""),
        [r#"p.toml:4: strategy.share: 5 has no unit: write "5%""#]
    );
    assert_eq!(
        strategy_problems("type = \"canary\"\nshare = \"100%\"\nbake = \"1m\"\nfinal_bake = \"1m\""),
        [
            "p.toml:4: strategy.share: a canary takes less than 100%: for everything in one step use the strategy all_at_once"
        ]
    );
    assert_eq!(
        strategy_problems("type = \"linear\"\nstep = \"0%\"\nbake = \"1m\"\nfinal_bake = \"1m\""),
        ["p.toml:4: strategy.step: step 1 gives green nothing: a step's share is above 0%"]
    );
    assert_eq!(
        strategy_problems(
            "type = \"steps\"\nsteps = [{ share = \"5%\", bake = \"1m\" }, { share = \"4%\", bake = \"1m\" }]"
        ),
        [
            "p.toml:4: strategy.steps: step 2 gives green 4%, which is not more than the 5% of the step before: shares must rise"
        ]
    );
    assert_eq!(
        strategy_problems("type = \"steps\"\nsteps = [{ share = \"5%\" }, 5]"),
        [
            "p.toml:4: strategy.steps[1]: expected a table with the keys share, bake, approval, not the number 5",
            r#"p.toml:4: strategy.steps[0].bake: is missing; write bake = "2m""#,
        ]
    );
    assert_eq!(
        strategy_problems("type = \"steps\"\nsteps = []"),
        ["p.toml:4: strategy.steps: a plan needs at least one step"]
    );
}

#[test]
fn a_final_bake_that_no_step_would_have_is_refused() {
    assert_eq!(
        strategy_problems(
            "type = \"steps\"\nsteps = [{ share = \"100%\", bake = \"1m\" }]\nfinal_bake = \"1m\""
        ),
        [
            "p.toml:5: strategy.final_bake: final_bake is the bake of the step to 100% that is added after the written steps, but \
          step 1 gives 100% itself: leave final_bake out, or that step"
        ]
    );
}

#[test]
fn guards_over_bakes_of_no_length_are_refused() {
    assert_eq!(
        strategy_problems("type = \"all_at_once\"\nfinal_bake = \"0s\""),
        [
            "p.toml:2: strategy: every bake is 0s, so no guard has time to see a request: give the strategy a bake, such as \
          final_bake = \"5m\", or leave the guards out"
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
fn a_warm_up_is_so_many_requests_or_so_much_time() {
    for (lines, expected) in [
        (
            "warm_up = { requests = 0, time = \"1s\" }",
            &[
                "p.toml:3: warm_up.requests: expected a whole number from 1 to 100000, not the number 0",
                "p.toml:3: warm_up.time: a warm-up is over after so many requests or after a time: leave one of the two out",
            ][..],
        ),
        (
            "warm_up = {}",
            &[
                "p.toml:3: warm_up.requests: is missing, and so is time; write requests = 50 or time = \"30s\"",
            ],
        ),
        ("warm_up = { time = \"0s\" }", &["p.toml:3: warm_up.time: must be longer than 0s"]),
        (
            "warm_up = \"30s\"",
            &["p.toml:3: warm_up: expected a table with the keys requests, time, not the text \"30s\""],
        ),
    ] {
        assert_eq!(plan_problems(lines), expected, "{lines}");
    }
}

#[test]
fn a_ramp_when_safe_is_refused_where_it_cannot_work() {
    let green = "green = { version = \"v2\", instances = [\"a:1\"] }\n";
    let ramp = "ramp_when_safe = {}";
    let at_once = format!("{green}strategy = {{ type = \"all_at_once\", final_bake = \"5m\", {ramp} }}\n");
    assert_eq!(
        whole_plan_problems(&at_once),
        [
            "p.toml:2: strategy.ramp_when_safe: has no step to end early: with all_at_once green has everything at once, and the last bake is \
             never cut short; use the strategy canary, linear or steps"
        ]
    );
    let steps = format!(
        "{green}strategy = {{ type = \"steps\", steps = [{{ share = \"100%\", bake = \"1m\" }}], {ramp} }}\n"
    );
    assert_eq!(
        whole_plan_problems(&steps),
        [
            "p.toml:2: strategy: ramp_when_safe has no step to end early: give the strategy a step below 100% with a bake, or leave it out",
            "p.toml:2: strategy: ramp_when_safe takes an alarm on failures, or a green that fails everything at once would be the safest of \
             all: add a [[regression]] or a [[guard]] with metric = \"error_rate\", or leave it out",
        ]
    );
    let canary = |ramp: &str, alarms: &str| {
        format!(
            "{green}strategy = {{ type = \"canary\", share = \"5%\", bake = \"2m\", final_bake = \"5m\", {ramp} }}\n{alarms}"
        )
    };
    let alarms = "guard = [{ metric = \"error_rate\", below = \"1%\" }]\nregression = [{ metric = \"latency\", tolerance = \"1.1x\" }]\n";
    assert_eq!(
        whole_plan_problems(&canary(ramp, alarms)),
        [
            "p.toml:2: strategy: ramp_when_safe cannot end a step before latency_regression is shown to be kept, and with a tolerance of 1.1x \
             it never is of a green as fast as blue: give it tolerance = \"1.2x\" or more, or leave one of the two out"
        ]
    );
    assert_eq!(
        whole_plan_problems(&canary("ramp_when_safe = { margin = 0.5, request = 5 }", "")),
        [
            "p.toml:2: strategy.ramp_when_safe.request: unknown key; did you mean \"requests\"?",
            "p.toml:2: strategy.ramp_when_safe.margin: 0.5 has no unit: write a percentage in quotes, such as \"5%\"",
            "p.toml:2: strategy: ramp_when_safe takes an alarm on failures, or a green that fails everything at once would be the safest of \
             all: add a [[regression]] or a [[guard]] with metric = \"error_rate\", or leave it out",
        ]
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
fn a_file_that_is_no_toml_is_one_problem_with_its_line() {
    assert_eq!(
        config_problems("[data]\nworkers = 2\nlisten = [\n"),
        ["c.toml:3: not valid TOML: unclosed array, expected `]`"]
    );
    assert_eq!(
        config_problems("[data]\nworkers = 2\nworkers = 3\n"),
        ["c.toml:3: not valid TOML: duplicate key"]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.toml");
    let problems = load(&path).unwrap_err().to_string();
    let reason = "cannot read the file: No such file or directory (os error 2)";
    assert_eq!(problems, format!("{}: {reason}", path.display()));
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

#[test]
fn problems_of_json_have_no_lines() {
    let name = EndpointName::parse("chat").unwrap();
    let problems = |document| EndpointSpec::from_json(&name, &document).unwrap_err().to_string();
    assert_eq!(
        problems(json!(5)),
        "request body: expected a table with the keys name, match, rewrite, upgrades, blue, health, limits, balance, slow_start, admission, ejection, failures, rescue, hedge, sticky, signals, recording, variant_header, not the number 5"
    );
    assert_eq!(
        problems(json!({
            "name": "other",
            "limit": {},
            "blue": { "version": "v1", "instances": ["a:1", null] },
        })),
        "request body: limit: unknown key; did you mean \"limits\"?\n\
         request body: name: \"other\" is not the name in the URL, \"chat\": write the same or leave it out\n\
         request body: blue.instances[1]: expected a text in quotes, not null"
    );
}

#[test]
fn a_null_in_json_is_an_absent_key() {
    let name = EndpointName::parse("chat").unwrap();
    let blue = json!({ "version": "v1", "instances": ["a:1"] });
    let with_nulls = json!({ "name": null, "match": null, "blue": blue, "health": { "path": null } });
    let without = json!({ "blue": blue });
    assert_eq!(EndpointSpec::from_json(&name, &with_nulls), EndpointSpec::from_json(&name, &without));
}

#[test]
fn what_a_hostile_document_gets_back_is_short_and_printable() {
    let long = "x".repeat(10_000);
    let members = (0..1000).map(|number| (format!("{long}\n{number}"), json!(long)));
    let document = serde_json::Value::Object(members.collect());
    let problems = PlanSpec::from_json(&document).unwrap_err();
    assert_eq!(problems.problems.len(), 51);
    assert_eq!(problems.problems[50].message, "and 952 more problems, which are not shown");
    let text = problems.to_string();
    assert!(text.len() < 20_000 && text.lines().count() == 51, "{} {}", text.len(), text.lines().count());
}

#[test]
fn what_needs_a_restart_is_told_key_by_key() {
    let old = parse("[data]\nworkers = 2\n", "c.toml").unwrap();
    let new =
        parse("[data]\nworkers = 4\ndrain_timeout = \"1m\"\n[log]\nlevel = \"debug\"\n", "c.toml").unwrap();
    assert_eq!(
        old.restart_needed(&new),
        [
            "data.workers = 4 takes effect at the next start; until then it is 2",
            r#"data.drain_timeout = "1m" takes effect at the next start; until then it is "30s""#,
            r#"log.level = "debug" takes effect at the next start; until then it is "info""#,
        ]
    );
    assert!(new.restart_needed(&new).is_empty());
}
