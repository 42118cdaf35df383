//! Every metric in a table, for the documentation: `src/docs/metrics.md` is this, and a test says when it is not.

use super::names::{self, Family, Kind};

/// A metric as the table has it.
struct Entry {
    name: &'static str,
    kind: Kind,
    labels: Vec<&'static str>,
    help: &'static str,
}

impl<const LABELS: usize> From<&Family<LABELS>> for Entry {
    fn from(family: &Family<LABELS>) -> Self {
        let Family { name, labels, kind, help } = family;
        Self { name, kind: *kind, labels: labels.to_vec(), help }
    }
}

macro_rules! entries {
    ($($family:ident)*) => { [$(Entry::from(&names::$family)),*] };
}

const BEGINNING: &str = "\
# Metrics

`GET /metrics` on the admin port, in Prometheus' text format. Names and units follow Prometheus' conventions; nothing that a client sends becomes a label. Histograms
have the same bounds everywhere, from 1 ms to 600 s, at most two thirds apart. `config/prometheus/rules.yml` has recording rules and alerts on these, and
`config/grafana` a dashboard.

This table is written by the program itself.

| name | type | unit | labels | meaning |
| --- | --- | --- | --- | --- |
";

/// The whole page.
fn page() -> String {
    let mut entries = entries![
        REQUESTS
        FAILURES
        RESPONSES
        GRPC_RESPONSES
        REQUEST_DURATION
        FIRST_BYTE
        FIRST_TOKEN
        TOKEN_GAP
        TOKENS
        REQUEST_BODY_BYTES
        RESPONSE_BODY_BYTES
        WARM_UPS
        RETRIES
        RESCUES
        QUEUED
        WAITING
        HEDGES
        VARIANT_REQUESTS
        VARIANT_DURATION
        SHADOW_REQUESTS
        SHADOW_MISSED
        SHADOW_DURATION
        IN_FLIGHT
        SHARE_TARGET
        INSTANCE_HEALTHY
        INSTANCE_EJECTED
        DESIRED_INSTANCES
        READY_INSTANCES
        SHIFT_STATE
        ALARM_EVIDENCE
        ALARM_THRESHOLD
        ALARM_VALUE
        ALARM_BOUND
        ALARM_NEARNESS
        ALARM_POLLS
        ALARM_STATE
        SHIFTS
        ROLLBACK_DECISION
        ROLLBACK_LAST_GREEN_DISPATCH
        ROLLBACK_DRAIN
        ROLLBACK_GREEN_RESPONSES
        ROLLBACK_BLUE_SHORT
        ROLLBACK_OPEN_REQUESTS
        TABLE_GENERATION
        CONNECTIONS
        UPGRADED
        CONNECTIONS_ACCEPTED
        CONNECTIONS_HANDED_OVER
        CONNECTIONS_REFUSED
        HANDSHAKES_FAILED
        PROXY_HEADERS_REFUSED
        UNMATCHED_REQUESTS
        REJECTED_REQUESTS
        SLOW_CLIENTS
        PANICS
        SHED_REQUESTS
        UPSTREAM_CONNECTIONS
        WEBHOOK_DELIVERIES
        WEBHOOK_WAITING
        EVENTS_FILE_FAILING
        RELOADS
        RELOAD_REFUSED
        ACCESS_LOG_LINES
        SPANS
        BUILD_INFO
        PROCESS_START_TIME
    ];
    entries.sort_by_key(|entry| entry.name);
    entries.iter().fold(BEGINNING.to_owned(), |page, entry| page + &entry.row())
}

impl Entry {
    fn row(&self) -> String {
        let Self { name, kind, labels, help } = self;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {kind} | {} | {} | {help} |\n", self.unit(), labels.join(", "))
    }

    /// Base units end the name.
    fn unit(&self) -> &'static str {
        let name = self.name.trim_end_matches("_total");
        match name.rsplit('_').next() {
            Some("seconds") => "seconds",
            Some("bytes") => "bytes",
            Some(_) | None => "",
        }
    }
}

#[test]
fn the_page_has_every_metric_as_the_program_has_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/metrics.md");
    if std::env::var_os("SNAPBACK_WRITE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page(),
        "src/docs/metrics.md is not what the program has; write it anew: SNAPBACK_WRITE_DOCS=1 cargo test --lib catalogue"
    );
}

#[test]
fn no_metric_is_missing_in_the_table() {
    let declared = include_str!("names.rs").matches(": Family<").count();
    let rows = page().lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, declared);
}
