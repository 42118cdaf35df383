use ratatui::{Terminal, backend::TestBackend};
use serde_json::json;

use super::{Footer, Link, Palette, Trend, ViewState, draw, line, outcome};
use crate::{admin::wire, cli::view::text::moment};

/// A shift in the middle of its second step, 132 seconds after its start.
pub(in crate::cli) fn baking() -> wire::Shift {
    serde_json::from_value(json!({
        "id": "chat-7", "endpoint": "chat", "actor": "admin", "state": "baking", "over": false,
        "blue_version": "v1", "green_version": "v2",
        "plan": {"strategy": {"type": "linear"}},
        "steps": [
            {"share": "5%", "bake": "1m", "approval": false}, {"share": "25%", "bake": "1m", "approval": false},
            {"share": "50%", "bake": "1m", "approval": true}, {"share": "100%", "bake": "5m", "approval": false},
        ],
        "step": 2, "share": "25%", "share_got": 0.2496, "cause": null,
        "started_at": "2026-01-31T12:00:00.000Z",
        "breach_at": null, "decided_at": null, "published_at": null, "last_green_dispatch_at": null,
        "drained_at": null, "ended_at": null, "decision_ms": null, "publish_to_last_green_dispatch_ms": null,
        "green_responses_to_decision": null, "green_in_flight_at_decision": null,
        "alarms": alarms(),
        "fleets": {
            "blue": {"traffic": traffic(24012, 3, 12), "recent": recent(180.2, 0.0, Some(12.3), Some(48.2), Some(4.1))},
            "green": {"traffic": traffic(8004, 18, 4), "recent": recent(60.1, 0.0022, Some(13.0), Some(212.4), Some(4.3))},
        },
        "next": {"what": "step 3 of 4: 50% to green", "at": "2026-01-31T12:02:32.000Z"},
        "transitions": [
            transition("12:00:01.200", "preparing", "baking", "5%", "prober", "all 2 instances of green are ready"),
            transition("12:00:30.000", "baking", "paused", "5%", "admin", "a look at the answers"),
            transition("12:01:10.000", "paused", "baking", "5%", "admin", "looks fine"),
            transition("12:01:32.000", "baking", "baking", "25%", "timer", "the bake is over and every alarm is ok"),
        ],
        "explanation": "Step 2 of 4 is baking.",
    }))
    .unwrap()
}

fn alarms() -> serde_json::Value {
    json!([
        {"name": "errors", "kind": "guard", "metric": "error_rate", "quantile": null, "bound": "1%", "state": "ok",
         "requests": 8004, "failures": 18, "rate": 0.00225, "recent_requests": 0, "recent_failures": 0, "recent_rate": null,
         "permitted_rate": 0.01, "ln_e": 0.3, "threshold": 7.6, "nearness": 0.04, "odds": "odds of 1 : 1 against chance"},
        {"name": "slow", "kind": "guard", "metric": "latency", "quantile": "p99", "bound": "250ms", "state": "ok",
         "requests": 8004, "failures": 95, "rate": 0.01187, "recent_requests": 0, "recent_failures": 0, "recent_rate": null,
         "permitted_rate": 0.01, "ln_e": 5.3, "threshold": 7.6, "nearness": 0.7, "odds": "odds of 200 : 1 against chance"},
    ])
}

/// The same shift, rolled back by its error guard.
pub(in crate::cli) fn rolled_back() -> wire::Shift {
    let mut shift = baking();
    shift.state = "rolled_back".into();
    shift.over = true;
    shift.share = "0%".into();
    shift.share_got = Some(0.0);
    shift.cause = Some(wire::Cause {
        kind: "alarm".into(),
        alarm: Some("errors".into()),
        text: "alarm errors: 31 of 231 green requests failed, 1% is allowed".into(),
    });
    shift.ended_at = Some("2026-01-31T12:02:20.000Z".into());
    shift.breach_at = Some("2026-01-31T12:02:15.247Z".into());
    shift.decided_at = Some("2026-01-31T12:02:15.250Z".into());
    shift.decision_ms = Some(3.2);
    shift.publish_to_last_green_dispatch_ms = Some(0.41);
    shift.green_responses_to_decision = Some(231);
    shift.green_in_flight_at_decision = Some(4);
    let errors = &mut shift.alarms[0];
    errors.state = "alarm".into();
    (errors.requests, errors.failures, errors.rate) = (8_231, 49, Some(0.00595));
    (errors.recent_requests, errors.recent_failures, errors.recent_rate) = (231, 31, Some(0.134));
    (errors.ln_e, errors.nearness) = (9.2, 1.0);
    errors.odds = "odds of 9,900 : 1 against chance".into();
    shift.next = wire::Next { what: "nothing: the shift is over".into(), at: None };
    let at = |time: &str| format!("2026-01-31T{time}Z");
    for (time, before, after, actor, cause) in [
        (
            "12:02:15.250",
            "baking",
            "rolling_back",
            "alarm",
            "alarm errors: 31 of 231 green requests failed, 1% is allowed",
        ),
        ("12:02:20.000", "rolling_back", "rolled_back", "drain", "nothing is in flight on green"),
    ] {
        shift.transitions.push(wire::Transition {
            at: at(time),
            before: before.into(),
            after: after.into(),
            share: "0%".into(),
            actor: actor.into(),
            cause: cause.into(),
        });
    }
    shift.explanation =
        "The shift rolled back from step 2 because the alarm errors was raised: of 231 green \
        requests 31 failed (13.4%), where 1% is allowed. Were green within its bound, evidence this strong \
        would be seen once in 9,900 shifts."
            .into();
    shift
}

fn traffic(requests: u64, failed: u64, in_flight: u64) -> serde_json::Value {
    json!({"requests": requests, "succeeded": requests - failed - in_flight, "client_errors": 0, "failed": failed,
        "failures": {}, "client_gone": 0, "retried": 0, "in_flight": in_flight})
}

fn recent(
    rate: f64,
    error_rate: f64,
    p50: Option<f64>,
    p99: Option<f64>,
    first: Option<f64>,
) -> serde_json::Value {
    json!({"span_ms": 10000.0, "requests": 1, "rate": rate, "error_rate": error_rate, "p50_ms": p50, "p99_ms": p99,
        "first_byte_p50_ms": first, "first_byte_p99_ms": first})
}

fn transition(
    at: &str,
    before: &str,
    after: &str,
    share: &str,
    actor: &str,
    cause: &str,
) -> serde_json::Value {
    json!({"at": format!("2026-01-31T{at}Z"), "before": before, "after": after, "share": share, "actor": actor,
        "cause": cause})
}

fn state(footer: Footer) -> ViewState {
    let now = moment("2026-01-31T12:02:12.000Z").unwrap();
    ViewState { footer, ..ViewState::new(now, Palette::Plain) }
}

fn picture(shift: &wire::Shift, state: &ViewState, columns: u16, rows: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(frame, shift, state)).unwrap();
    let buffer = terminal.backend().buffer();
    (0..rows)
        .map(|y| {
            (0..columns).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>().trim_end().to_owned()
        })
        .collect()
}

/// Pictures are kept in files, to be looked at. `SNAPBACK_KEEP_PICTURES=1 cargo test` writes them anew.
#[track_caller]
fn assert_picture(
    file: &str,
    kept: &str,
    shift: &wire::Shift,
    state: &ViewState,
    (columns, rows): (u16, u16),
) {
    let drawn = picture(shift, state, columns, rows).join("\n") + "\n";
    if std::env::var_os("SNAPBACK_KEEP_PICTURES").is_some() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/view/pictures");
        std::fs::write(format!("{folder}/{file}"), drawn).unwrap();
    } else {
        assert!(drawn == kept, "{file} differs; drawn is:\n{drawn}");
    }
}

macro_rules! assert_picture {
    ($file:literal, $shift:expr, $footer:expr, $size:expr) => {
        assert_picture($file, include_str!(concat!("pictures/", $file)), $shift, &state($footer), $size)
    };
}

macro_rules! assert_state_picture {
    ($file:literal, $shift:expr, $state:expr, $size:expr) => {
        assert_picture($file, include_str!(concat!("pictures/", $file)), $shift, $state, $size)
    };
}

#[test]
fn a_baking_shift_fits_on_80_by_24_and_uses_more_where_there_is_more() {
    assert_picture!("baking-80x24.txt", &baking(), Footer::Keys, (80, 24));
    assert_picture!("baking-120x40.txt", &baking(), Footer::Keys, (120, 40));
}

/// Ninety seconds of a green that gets slower while its share grows.
fn trend() -> Trend {
    let mut trend = Trend::default();
    for second in 0..90_i32 {
        let mut shift = baking();
        shift.share_got = Some(if second < 40 { 0.05 } else { 0.25 });
        shift.fleets.green.recent.p99_ms = Some(60.0 + 1.7 * f64::from(second));
        shift.fleets.green.recent.error_rate = if second % 17 == 3 { 0.004 } else { 0.0 };
        trend.see(&shift, crate::time::WallTime::from_millis(i64::from(second) * 1_000));
    }
    trend
}

#[test]
fn what_was_watched_is_drawn_as_lines_of_blocks_and_the_history_makes_room_for_them() {
    let state = ViewState { trend: trend(), ..state(Footer::Keys) };
    assert_state_picture!("trend-80x24.txt", &baking(), &state, (80, 24));
    assert_state_picture!("trend-120x40.txt", &baking(), &state, (120, 40));
}

#[test]
fn the_help_names_every_key_and_what_the_figures_mean() {
    assert_picture!("help-80x24.txt", &baking(), Footer::Help, (80, 24));
}

#[test]
fn a_rolled_back_shift_says_why_above_all_figures() {
    assert_picture!("rolled-back-80x24.txt", &rolled_back(), Footer::Keys, (80, 24));
    assert_picture!("rolled-back-120x40.txt", &rolled_back(), Footer::Keys, (120, 40));
}

#[test]
fn a_shift_that_has_not_begun_has_dashes_where_nothing_was_measured() {
    let mut shift = baking();
    shift.state = "preparing".into();
    (shift.step, shift.share, shift.share_got) = (None, "0%".into(), None);
    shift.alarms.truncate(1);
    let alarm = &mut shift.alarms[0];
    alarm.state = "insufficient_data".into();
    (alarm.requests, alarm.failures, alarm.rate, alarm.nearness) = (0, 0, None, 0.0);
    shift.fleets.green =
        wire::ShiftFleet { traffic: wire::Traffic::default(), recent: wire::Recent::default() };
    shift.transitions.clear();
    shift.next = wire::Next { what: "step 1 of 4 once green is ready: 5% to green".into(), at: None };
    assert_picture!("preparing-80x24.txt", &shift, Footer::Text(String::new()), (80, 24));
}

#[test]
fn a_shift_without_alarms_says_what_that_means() {
    let mut shift = baking();
    shift.alarms.clear();
    let drawn = picture(&shift, &state(Footer::Keys), 80, 24).join("\n");
    assert!(drawn.contains("none: nothing but a person"), "{drawn}");
}

#[test]
fn a_long_plan_shows_its_steps_as_dots_and_a_longer_one_none() {
    let mut shift = baking();
    let step = shift.steps[0].clone();
    shift.steps = vec![step.clone(); 16];
    let drawn = picture(&shift, &state(Footer::Keys), 80, 24);
    assert!(drawn[1].ends_with("●━◉─○─○─○─○─○─○─○─○─○─○─○─○─○─○"), "{}", drawn[1]);
    shift.steps = vec![step; 100];
    let drawn = picture(&shift, &state(Footer::Keys), 80, 24);
    assert!(drawn[1].ends_with("step 2 of 100, 25% to green"), "{}", drawn[1]);
}

#[test]
fn a_share_got_that_is_not_the_share_wanted_is_marked() {
    let mut shift = baking();
    shift.share_got = Some(0.10);
    let drawn = picture(&shift, &state(Footer::Keys), 80, 24);
    let bar = &drawn[5];
    assert!(bar.starts_with(" green  v2       ████▌······│····"), "{bar}");
}

#[test]
fn the_last_row_asks_before_it_promotes_or_aborts() {
    let last = |footer| picture(&baking(), &state(footer), 80, 24).pop().unwrap();
    assert_eq!(
        last(Footer::ConfirmPromote),
        " Promote: skip the remaining bakes and give v2 everything? y/n"
    );
    assert_eq!(last(Footer::ConfirmAbort), " Abort: give everything back to v1? y/n");
    assert_eq!(last(Footer::AbortReason("odd".into())), " Why? (Enter aborts the shift, Esc does not) odd▏");
    let typed = last(Footer::AbortReason("x".repeat(100) + "end"));
    assert!(typed.ends_with("xend▏") && typed.chars().count() <= 80, "{typed}");
}

#[test]
fn a_lost_connection_is_said_instead_of_the_keys() {
    let mut state = state(Footer::Keys);
    state.link = Link::Lost { since: moment("2026-01-31T12:02:02Z").unwrap() };
    let last = picture(&baking(), &state, 80, 24).pop().unwrap();
    assert_eq!(last, " The admin port has not answered for 10s; trying again. q quits.");
}

#[test]
fn no_size_and_no_text_from_the_network_breaks_the_picture() {
    let mut odd = rolled_back();
    odd.state = "a state of tomorrow".into();
    odd.step = Some(usize::MAX);
    odd.share = "\u{1b}[31mred".into();
    odd.share_got = Some(f64::NAN);
    odd.started_at = "yesterday".into();
    odd.alarms[0].nearness = f64::INFINITY;
    odd.fleets.green.recent.rate = -1.0;
    odd.explanation = "\u{7}長い文".repeat(400);
    for shift in [baking(), rolled_back(), odd] {
        for columns in [1, 2, 10, 17, 40, 79, 99, 100, 300] {
            for rows in [1, 2, 3, 10, 23, 60] {
                let drawn = picture(&shift, &state(Footer::Keys), columns, rows).join("\n");
                assert!(!drawn.contains('\u{1b}'), "{drawn}");
            }
        }
    }
}

#[test]
fn colours_are_used_only_where_they_are_wanted() {
    let buffer = |palette| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let state = ViewState { palette, ..state(Footer::Keys) };
        terminal.draw(|frame| draw(frame, &rolled_back(), &state)).unwrap();
        terminal.backend().buffer().clone()
    };
    let is_coloured = |cell: &ratatui::buffer::Cell| cell.fg != ratatui::style::Color::Reset;
    assert!(buffer(Palette::Colour).content().iter().any(is_coloured));
    assert!(!buffer(Palette::Plain).content().iter().any(is_coloured));
}

#[test]
fn a_running_shift_is_one_line_and_an_ended_one_says_how_it_ended() {
    assert_eq!(
        line(&baking()),
        "chat v1 -> v2 baking, step 2 of 4, green 25% (got 24.96%), 240.3 req/s, errors 0.22% (blue 0.00%), \
         p99 212ms (blue 48ms), nearest alarm slow at 70%, next: step 3 of 4: 50% to green"
    );
    assert_eq!(
        outcome(&rolled_back()),
        "chat: rolled back from v2 to v1 after 2m20s\n\n\
         The shift rolled back from step 2 because the alarm errors was raised: of 231\n\
         green requests 31 failed (13.4%), where 1% is allowed. Were green within its\n\
         bound, evidence this strong would be seen once in 9,900 shifts."
    );
}

#[test]
fn where_tokens_are_streamed_their_first_one_is_shown_instead_of_the_first_byte() {
    let mut shift = baking();
    for fleet in [&mut shift.fleets.blue, &mut shift.fleets.green] {
        assert_eq!(
            super::text::first(&fleet.recent, false),
            super::text::millis(fleet.recent.first_byte_p50_ms)
        );
    }
    assert!(!super::text::has_tokens(&shift));
    (shift.fleets.green.recent.first_token_p50_ms, shift.fleets.green.recent.first_token_p99_ms) =
        (Some(120.0), Some(480.0));
    assert!(super::text::has_tokens(&shift));
    assert_eq!(super::text::first(&shift.fleets.green.recent, true), "120ms/480ms");
    assert_eq!(super::text::first(&shift.fleets.blue.recent, true), "-");
}
