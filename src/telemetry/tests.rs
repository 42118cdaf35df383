//! A scrape says what the meters say, in text that Prometheus accepts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{
    Aftermath, FleetFigures, ShiftEnd, ShiftFigures, Telemetry,
    fixture::{Fixture, bad, good},
};
use crate::{
    alarm::{
        AlarmEvidence, AlarmState, Budget, Comparison, External, ExternalEvidence, GuardBound, Poll, PollUrl,
        Polls, Query, Question, Rule, Source,
    },
    fleet::Side,
    meter::{FailureKind, WorkerMeters},
    name::EndpointName,
    route::RouteTable,
    shift::Cause,
};

type Shared = Arc<ArcSwap<RouteTable>>;

fn telemetry(fixture: &Fixture) -> (Telemetry, Shared) {
    let workers: Arc<[WorkerMeters]> = Arc::from([WorkerMeters::default(), WorkerMeters::default()]);
    workers[0].accepted.up();
    workers[1].accepted.up();
    workers[1].connections.up();
    let table = Arc::new(ArcSwap::from_pointee(fixture.table()));
    (Telemetry::new(table.clone(), workers, Default::default()), table)
}

fn figures() -> ShiftFigures {
    ShiftFigures {
        endpoint: EndpointName::parse("chat").unwrap(),
        state: "baking",
        alarms: vec![AlarmEvidence {
            name: "error_rate".to_owned(),
            rule: Rule::Guard(GuardBound::ErrorRate { below: 0.01 }),
            state: AlarmState::Ok,
            requests: 100,
            failures: 1,
            recent_requests: 0,
            recent_failures: 0,
            ln_e: 1.25,
            threshold: 6.5,
            missing: 0,
        }],
        thresholds: Vec::new(),
        externals: vec![external()],
        budget: Some(Budget { failures: 3, max_failures: 50 }),
    }
}

/// A query that saw 3.2 where 5 is the bound.
fn external() -> ExternalEvidence {
    let query = Query {
        text: "drift".to_owned(),
        comparison: Comparison::Above,
        bound: 5.0,
        missing: AlarmState::InsufficientData,
    };
    let poll = Poll {
        question: Question::Prometheus(query),
        url: PollUrl::parse("http://prometheus:9090").unwrap(),
        every: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        answers: 1,
        datapoints: 1,
        errors: 5,
        on_error: AlarmState::Alarm,
        token: None,
        ca: None,
    };
    ExternalEvidence {
        external: External {
            ignore_raised: false,
            name: "drift".to_owned(),
            lease: Duration::from_secs(60),
            on_expiry: AlarmState::Alarm,
            poll: Some(poll),
        },
        state: AlarmState::Ok,
        source: Source::Report(String::new()),
        polls: Polls { answered: 12, failed: 2, value: Some(3.2), ..Polls::default() },
    }
}

#[test]
fn every_kind_of_alarm_shows_value_bound_and_nearness_while_the_shift_runs() {
    let text = scrape();
    let series = series(&text);
    let shown = |what: &str, alarm: &str| {
        series[format!("snapback_alarm_{what}{{endpoint=\"chat\",alarm=\"{alarm}\"}}").as_str()]
    };
    for (alarm, value, bound, nearness) in
        [("error_rate", 0.01, 0.01, 1.25 / 6.5), ("drift", 3.2, 5.0, 0.64), ("max_failures", 3.0, 50.0, 0.06)]
    {
        assert_eq!(shown("value", alarm), value, "{alarm}");
        assert_eq!(shown("bound", alarm), bound, "{alarm}");
        assert!((shown("nearness", alarm) - nearness).abs() < 1e-9, "{alarm}");
    }
    let polls = |result| {
        format!("snapback_alarm_polls_total{{endpoint=\"chat\",alarm=\"drift\",result=\"{result}\"}}")
    };
    assert_eq!((series[polls("answered").as_str()], series[polls("failed").as_str()]), (12.0, 2.0));
    let over = telemetry(&Fixture::with_green()).0.render(Some(&[]));
    assert!(!over.contains("alarm=\""), "{over}");
}

fn scrape() -> String {
    let fixture = Fixture::with_green();
    fixture.settle(Side::Blue, 5, &good(200));
    fixture.settle(Side::Green, 2, &good(30));
    fixture.settle(Side::Green, 3, &bad(FailureKind::Reset));
    fixture.deal(Side::Green);
    telemetry(&fixture).0.render(Some(&[figures()]))
}

/// Series and their values.
fn series(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

#[test]
fn the_numbers_are_those_of_the_meters() {
    let text = scrape();
    let series = series(&text);
    let expected = [
        ("snapback_requests_total{endpoint=\"chat\",fleet=\"blue\",outcome=\"success\"}", 5.0),
        ("snapback_requests_total{endpoint=\"chat\",fleet=\"green\",outcome=\"failure\"}", 3.0),
        ("snapback_failures_total{endpoint=\"chat\",fleet=\"green\",kind=\"reset\"}", 3.0),
        ("snapback_failures_total{endpoint=\"chat\",fleet=\"green\",kind=\"overload\"}", 0.0),
        ("snapback_responses_total{endpoint=\"chat\",fleet=\"green\",status_class=\"2xx\"}", 2.0),
        ("snapback_request_duration_seconds_count{endpoint=\"chat\",fleet=\"blue\"}", 5.0),
        ("snapback_request_duration_seconds_sum{endpoint=\"chat\",fleet=\"blue\"}", 1.0),
        ("snapback_request_duration_seconds_bucket{endpoint=\"chat\",fleet=\"blue\",le=\"0.15\"}", 0.0),
        ("snapback_request_duration_seconds_bucket{endpoint=\"chat\",fleet=\"blue\",le=\"0.25\"}", 5.0),
        ("snapback_first_byte_seconds_sum{endpoint=\"chat\",fleet=\"green\"}", 0.03),
        ("snapback_request_body_bytes_total{endpoint=\"chat\",fleet=\"green\"}", 50.0),
        ("snapback_response_body_bytes_total{endpoint=\"chat\",fleet=\"blue\"}", 500.0),
        ("snapback_in_flight{endpoint=\"chat\",fleet=\"green\"}", 1.0),
        ("snapback_in_flight{endpoint=\"chat\",fleet=\"blue\"}", 0.0),
        ("snapback_share_target{endpoint=\"chat\",fleet=\"green\"}", 0.25),
        ("snapback_share_target{endpoint=\"chat\",fleet=\"blue\"}", 0.75),
        ("snapback_instance_healthy{endpoint=\"chat\",fleet=\"green\",instance=\"127.0.0.1:9002\"}", 1.0),
        ("snapback_instance_ejected{endpoint=\"chat\",fleet=\"green\",instance=\"127.0.0.1:9002\"}", 0.0),
        ("snapback_shift_state{endpoint=\"chat\",state=\"baking\"}", 1.0),
        ("snapback_shift_state{endpoint=\"chat\",state=\"none\"}", 0.0),
        ("snapback_alarm_evidence{endpoint=\"chat\",alarm=\"error_rate\"}", 1.25),
        ("snapback_alarm_threshold{endpoint=\"chat\",alarm=\"error_rate\"}", 6.5),
        ("snapback_alarm_state{endpoint=\"chat\",alarm=\"error_rate\",state=\"ok\"}", 1.0),
        ("snapback_table_generation", 7.0),
        ("snapback_connections{worker=\"1\"}", 1.0),
        ("snapback_connections_accepted_total", 2.0),
    ];
    for (name, value) in expected {
        assert_eq!(series.get(name), Some(&value), "{name} in\n{text}");
    }
}

#[test]
fn an_endpoint_in_steady_state_shows_its_whole_share_and_no_shift() {
    let mut fixture = Fixture::with_green();
    fixture.promote();
    let text = telemetry(&fixture).0.render(Some(&[]));
    let series = series(&text);
    assert_eq!(series["snapback_share_target{endpoint=\"chat\",fleet=\"blue\"}"], 1.0);
    assert_eq!(series["snapback_share_target{endpoint=\"chat\",fleet=\"green\"}"], 0.0);
    assert_eq!(series["snapback_shift_state{endpoint=\"chat\",state=\"none\"}"], 1.0);
}

#[test]
fn without_an_answer_of_control_the_data_planes_series_are_there() {
    let text = telemetry(&Fixture::with_green()).0.render(None);
    assert!(text.contains("snapback_requests_total{") && !text.contains("snapback_shift_state"));
}

#[test]
fn counters_never_fall_when_tables_change_between_scrapes() {
    let mut fixture = Fixture::with_green();
    let (telemetry, table) = telemetry(&fixture);
    let mut before = BTreeMap::new();
    for round in 0..4_u64 {
        fixture.settle(Side::Blue, round, &good(2));
        if round == 1 {
            fixture.settle(Side::Green, 9, &good(2));
        }
        if round == 2 {
            fixture.promote();
        }
        table.store(Arc::new(fixture.table()));
        let text = telemetry.render(None);
        let now: BTreeMap<String, f64> = series(&text)
            .into_iter()
            .filter(|(name, _)| ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.contains(end)))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        for (name, value) in &before {
            assert!(now[name] >= *value, "{name} fell from {value} to {}", now[name]);
        }
        before = now;
    }
}

/// The rules of `promtool check metrics`, as far as they concern what can be wrong here.
#[test]
fn the_text_keeps_prometheus_rules() {
    let text = scrape();
    assert!(text.ends_with('\n'));
    let (mut families, mut current) = (BTreeMap::new(), String::new());
    let mut lines = text.lines().filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}");
            assert!(families.insert(name, kind).is_none(), "{name} stands twice");
            current = name.to_owned();
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let bare = name.split('{').next().unwrap();
        let suffix = bare.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{line} under {current}"));
        match families[current.as_str()] {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            _ => assert_eq!(suffix, "", "{line}"),
        }
    }
    for (name, kind) in families {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert!(
            ["_ms", "_millis", "_percent", "_milliseconds", "_kb"].iter().all(|unit| !name.contains(unit)),
            "{name}"
        );
        assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}");
    }
}

#[test]
fn a_fleet_that_a_look_has_seen_is_counted_to_its_last_request() {
    let mut fixture = Fixture::with_green();
    let (telemetry, table) = telemetry(&fixture);
    telemetry.look();
    fixture.settle(Side::Green, 4, &good(2));
    let running = fixture.drop_green();
    table.store(Arc::new(fixture.table()));
    Fixture::settle_on(&running, 1, &good(2));
    let text = telemetry.render(None);
    let name = "snapback_requests_total{endpoint=\"chat\",fleet=\"green\",outcome=\"success\"}";
    assert_eq!(series(&text)[name], 5.0);
}

#[test]
fn ended_shifts_are_counted_by_their_cause_from_zero_on_and_the_last_rollback_is_shown() {
    let (telemetry, _table) = telemetry(&Fixture::with_green());
    let name = |result, cause| {
        format!("snapback_shifts_total{{endpoint=\"chat\",result=\"{result}\",cause=\"{cause}\"}}")
    };
    let before = telemetry.render(None);
    assert_eq!(series(&before)[name("rolled_back", "no_data").as_str()], 0.0);
    assert!(!before.contains("snapback_rollback_decision_seconds"));

    let aftermath = Aftermath {
        last_green_dispatch: Some(Duration::ZERO),
        drain: Some(Duration::from_millis(250)),
        green_responses: Some(14),
        is_blue_short: true,
        open: Some([3, 1, 0, 0, 2, 0]),
    };
    let rolled_back = |cause, decision| ShiftEnd::RolledBack { cause, decision, aftermath };
    let by_alarm = Cause::Alarm { name: "p99".to_owned(), evidence: String::new() };
    let chat = figures().endpoint;
    telemetry.count_shift(&chat, &ShiftEnd::Promoted);
    telemetry.count_shift(&chat, &rolled_back(by_alarm.clone(), Some(Duration::from_millis(9))));
    telemetry.count_shift(&chat, &rolled_back(by_alarm, Some(Duration::from_millis(12))));
    telemetry.count_shift(&chat, &rolled_back(Cause::Aborted, None));
    let after = telemetry.render(None);
    let series = series(&after);
    assert_eq!(series[name("promoted", "none").as_str()], 1.0);
    assert_eq!(series[name("rolled_back", "alarm").as_str()], 2.0);
    assert_eq!(series[name("rolled_back", "aborted").as_str()], 1.0);
    assert_eq!(series["snapback_rollback_decision_seconds{endpoint=\"chat\"}"], 0.012);
    assert_eq!(series["snapback_rollback_last_green_dispatch_seconds{endpoint=\"chat\"}"], 0.0);
    assert_eq!(series["snapback_rollback_drain_seconds{endpoint=\"chat\"}"], 0.25);
    assert_eq!(series["snapback_rollback_green_responses{endpoint=\"chat\"}"], 14.0);
    assert_eq!(series["snapback_rollback_blue_short{endpoint=\"chat\"}"], 1.0);
    let open = |result| format!("snapback_rollback_open_requests{{endpoint=\"chat\",result=\"{result}\"}}");
    assert_eq!(series[open("finished").as_str()], 3.0);
    assert_eq!(series[open("running").as_str()], 2.0);
}

#[test]
fn fleets_are_told_of_as_control_knows_them_and_not_at_all_while_it_does_not_say() {
    let (telemetry, _table) = telemetry(&Fixture::with_green());
    let endpoint = figures().endpoint;
    telemetry.note_fleets(Some(vec![FleetFigures { endpoint, side: Side::Green, desired: 3, ready: 2 }]));
    let text = telemetry.render(None);
    assert_eq!(series(&text)["snapback_desired_instances{endpoint=\"chat\",fleet=\"green\"}"], 3.0);
    assert_eq!(series(&text)["snapback_ready_instances{endpoint=\"chat\",fleet=\"green\"}"], 2.0);
    telemetry.note_fleets(None);
    assert!(!telemetry.render(None).contains("snapback_desired_instances{"));
}

#[test]
fn series_of_an_endpoint_that_is_gone_do_not_stay() {
    let (telemetry, table) = telemetry(&Fixture::with_green());
    telemetry.count_shift(&figures().endpoint, &ShiftEnd::Promoted);
    assert!(telemetry.render(Some(&[figures()])).contains("endpoint=\"chat\""));
    table.store(Arc::new(RouteTable::default()));
    let text = telemetry.render(Some(&[]));
    assert!(!text.contains("endpoint=") && text.contains("snapback_table_generation"), "{text}");
}
