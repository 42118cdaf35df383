//! What users are told of the file as a whole and of what stands before its endpoints, word for word.

use serde_json::json;

use super::messages::config_problems;
use crate::{
    config::{EndpointSpec, PlanSpec, load, parse},
    name::EndpointName,
};

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
            "c.toml:2: admin.listen: 0.0.0.0:9090 can be reached from other machines, and the admin port asks nobody who they are: \
          whoever reaches it commands every shift. Listen on 127.0.0.1, ask for tokens (admin.tokens_file, see `snapback token new`) or \
          client certificates (admin.tls with client_ca), or write allow_remote = true where a firewall or a container's network guards the port"
        ]
    );
    assert!(parse("[admin]\nlisten = \"0.0.0.0:9090\"\ntokens_file = \"tokens.toml\"\n", "c.toml").is_ok());
    assert_eq!(
        config_problems("[admin]\ntokens_file = \"\"\n"),
        ["c.toml:2: admin.tokens_file: the path is empty; write for instance \"tokens.toml\""]
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
    let reason =
        "cannot read the file: No such file or directory (os error 2): `snapback init` writes a first one";
    assert_eq!(problems, format!("{}: {reason}", path.display()));
}

#[test]
fn problems_of_json_have_no_lines() {
    let name = EndpointName::parse("chat").unwrap();
    let problems = |document| EndpointSpec::from_json(&name, &document).unwrap_err().to_string();
    assert_eq!(
        problems(json!(5)),
        "request body: expected a table with the keys name, match, rewrite, upgrades, blue, health, limits, balance, slow_start, admission, ejection, failures, rescue, hedge, sticky, signals, recording, variant_header, invocations, shadow, not the number 5"
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
