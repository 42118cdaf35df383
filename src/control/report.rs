//! Views of endpoints and shifts, and the report that a shift leaves in the journal.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    AlarmView, EndpointView, Lineage, Next, ShiftView, Traffic, TrafficWindow, Transition,
    alarm_form::AlarmForm,
    endpoint::{Endpoint, Links},
    external_form::{ExternalForm, Lasting},
    fate::{Fate, FateForm, Tally},
    hours::Hold,
    lineage::LineageForm,
    outlook::FindingForm,
    run::{Earlier, Rollback, Run},
    series::{Track, TrackForm},
    thresholds::ThresholdForm,
    traffic::{ratio, traffic_since},
    words,
};
use crate::{
    alarm::AlarmEvidence,
    fleet::Side,
    lint::Finding,
    meter::{FailureKind, Reading},
    shift::Shift,
    store::{Moments, ShiftRecord},
    time::{Moment, WallTime},
    weight::Share,
};

impl Endpoint {
    /// The endpoint now.
    pub(super) fn view(&self, links: &Links) -> EndpointView {
        let now = links.timer.now();
        let (split, generation) = links.publisher.split(&self.record.declared.name);
        let run = self.run.as_ref();
        let green = run.and_then(|run| run.green.as_ref()?.fleet.as_ref());
        EndpointView {
            declared: self.record.declared.clone(),
            origin: self.record.origin,
            blue: self.blue.view(Side::Blue, now),
            green: green.map(|fleet| fleet.view(Side::Green, now)),
            shadow: self.shadow.as_ref().and_then(|shadow| shadow.view(&self.record, now)),
            share: split.green,
            generation,
            freeze: self.freeze.clone(),
            running_shift: run.map(|run| run.id.clone()),
            queue: self.queue_views(links.timer.wall_of(now)),
        }
    }

    /// The running shift now.
    pub(super) fn shift_view(&self, links: &Links) -> Option<ShiftView> {
        self.run.as_ref().map(|run| self.view_of_run(run, &run.engine, links))
    }

    /// A run as it would be with this engine.
    pub(super) fn view_of_run(&self, run: &Run, engine: &Shift, links: &Links) -> ShiftView {
        let now = links.timer.now();
        let (blue, green) = (run.blue.meters.read(), run.green_reading());
        let watched = run.green.as_ref().map(|green| &green.watched);
        let (what, at) = words::next(engine.state(), engine.plan());
        let hold = self.hold(links.timer.wall_of(now)).filter(|_| engine.state().has_way_back());
        let what = hold.as_ref().map_or_else(|| what.clone(), |hold| format!("{}: {what}", hold.end()));
        let held_until = hold.as_ref().and_then(Hold::until);
        let held = hold.map(|hold| hold.why);
        let alarm = |evidence: AlarmEvidence| AlarmView { nearness: evidence.nearness(), evidence };
        let window = |side| self.ring_of(run, side).map(|fleet| fleet.ring.window(&fleet.route.meters, now));
        ShiftView {
            id: run.id.clone(),
            endpoint: run.endpoint.clone(),
            actor: run.actor.clone(),
            blue_version: run.blue_spec.version.clone(),
            plan: run.plan.clone(),
            lineage: run.lineage.clone(),
            state: engine.state().clone(),
            step: engine.snapshot(now).step,
            share: run.share_of(engine),
            share_got: run.share_got(&blue, &green),
            started_at: run.started_at,
            moments: run.moments_now(&green, links),
            decision: run.rollback.decision,
            publish_to_last_green_dispatch: run.rollback.last_dispatch(&green),
            green_responses_to_decision: run.rollback.green_responses,
            green_in_flight_at_decision: run.rollback.green_in_flight,
            blue_short: run.blue_short.clone(),
            fate: run.rollback.fate(&green),
            restarts: engine.snapshot(now).restarts,
            alarms: watched
                .map(|watched| watched.evidence().into_iter().map(alarm).collect())
                .unwrap_or_default(),
            thresholds: watched.map(|watched| watched.thresholds()).unwrap_or_default(),
            externals: watched.map(|watched| watched.externals()).unwrap_or_default(),
            safety: watched.and_then(|watched| watched.safety()),
            blue: traffic_since(&blue, &run.blue_baseline).plus_earlier(&run.earlier.blue),
            green: traffic_since(&green, &Reading::default()).plus_earlier(&run.earlier.green),
            blue_recent: window(Side::Blue).unwrap_or_default(),
            green_recent: window(Side::Green).unwrap_or_default(),
            held,
            held_until,
            next: Next { what, at: at.map(|at| links.timer.wall_of(at)) },
            transitions: run.transitions.clone(),
            findings: run.findings.clone(),
            forecast: None,
        }
    }

    /// The running shift for the journal.
    pub(super) fn shift_record(&self, links: &Links) -> Option<ShiftRecord> {
        let run = self.run.as_ref()?;
        Some(Self::record_of(run, &self.view_of_run(run, &run.engine, links), links))
    }

    /// The running shift for the journal, as it would be with a report on one of its alarms.
    pub(super) fn shift_record_with(&self, report: &super::Report, links: &Links) -> Option<ShiftRecord> {
        let run = self.run.as_ref()?;
        let externals = run.green.as_ref()?.watched.externals_with(report);
        let view = ShiftView { externals, ..self.view_of_run(run, &run.engine, links) };
        Some(Self::record_of(run, &view, links))
    }

    fn record_of(run: &Run, view: &ShiftView, links: &Links) -> ShiftRecord {
        let now = links.timer.now();
        ShiftRecord {
            id: run.id.clone(),
            endpoint: run.endpoint.clone(),
            blue: run.blue_spec.clone(),
            blue_fleet: run.blue_fleet.clone(),
            plan: run.plan.clone(),
            snapshot: run.engine.snapshot(now),
            recorded_at: links.timer.wall_of(now),
            actor: run.actor.clone(),
            started_at: run.started_at,
            moments: view.moments,
            report: Report { track: TrackForm::of(&run.track), ..Report::of(view) }.to_json(),
        }
    }

    /// Where a shift's fleet is sampled: green's moves to the endpoint when it is adopted.
    pub(super) fn ring_of<'a>(&'a self, run: &'a Run, side: Side) -> Option<&'a super::endpoint::LiveFleet> {
        match (side, &run.green) {
            (Side::Blue, _) => Some(run.old_blue.as_ref().unwrap_or(&self.blue)),
            (Side::Green, Some(green)) => {
                green.fleet.as_ref().or_else(|| run.old_blue.as_ref().map(|_| &self.blue))
            }
            (Side::Green, None) => None,
        }
    }
}

impl Run {
    fn share_got(&self, blue: &Reading, green: &Reading) -> Option<f64> {
        let (blue_before, green_before) = self.dealt_at_share?;
        let (blue, green) =
            (blue.dealt.saturating_sub(blue_before), green.dealt.saturating_sub(green_before));
        (blue + green > 0).then(|| ratio(green, blue + green))
    }

    fn moments_now(&self, green: &Reading, links: &Links) -> Moments {
        let mut moments = self.moments;
        if self.rollback.published.is_some() && green.last_dispatch_nanos > 0 {
            let last = Moment::from_nanos(green.last_dispatch_nanos);
            moments.last_green_dispatch_at = Some(links.timer.wall_of(last));
        }
        moments
    }
}

impl Rollback {
    fn fate(&self, green: &Reading) -> Option<Fate> {
        self.tally.map(|tally| tally.fate(Tally::of(green))).or(self.earlier_fate)
    }

    /// From the blue-only table's publishing to green's last request.
    fn last_dispatch(&self, green: &Reading) -> Option<Duration> {
        let here = |published| Moment::from_nanos(green.last_dispatch_nanos).since(published);
        self.published.map(here).or(self.earlier_dispatch)
    }
}

/// A shift's figures as the journal keeps them. Fields that a record lacks read as nothing, so that older records stay readable.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    share_basis_points: u16,
    share_got: Option<f64>,
    decision_nanos: Option<u64>,
    publish_to_last_green_dispatch_nanos: Option<u64>,
    green_responses_to_decision: Option<u64>,
    green_in_flight_at_decision: Option<u64>,
    blue_short: Option<String>,
    fate: Option<FateForm>,
    alarms: Vec<AlarmForm>,
    thresholds: Vec<ThresholdForm>,
    externals: Vec<ExternalForm>,
    blue: TrafficForm,
    green: TrafficForm,
    transitions: Vec<TransitionForm>,
    findings: Vec<FindingForm>,
    lineage: LineageForm,
    track: TrackForm,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct TrafficForm {
    requests: u64,
    succeeded: u64,
    client_errors: u64,
    failures: Vec<(String, u64)>,
    excused: u64,
    warm_ups: u64,
    client_gone: u64,
    shed: u64,
    retried: u64,
    rescued: u64,
    rescue_failed: u64,
    not_rescued: u64,
    in_flight: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct TransitionForm {
    at_millis: i64,
    before: String,
    after: String,
    share_basis_points: u16,
    actor: String,
    cause: String,
}

/// What a run goes on from after a restart.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) earlier: Earlier,
    pub(super) rollback: Rollback,
    pub(super) blue_short: Option<String>,
    pub(super) transitions: Vec<Transition>,
    pub(super) findings: Vec<Finding>,
    pub(super) lineage: Lineage,
    /// Reports on external alarms.
    pub(super) lasting: Vec<Lasting>,
    pub(super) track: Track,
}

impl Report {
    fn of(view: &ShiftView) -> Self {
        Self {
            share_basis_points: view.share.basis_points(),
            share_got: view.share_got,
            decision_nanos: view.decision.map(nanos),
            publish_to_last_green_dispatch_nanos: view.publish_to_last_green_dispatch.map(nanos),
            green_responses_to_decision: view.green_responses_to_decision,
            green_in_flight_at_decision: view.green_in_flight_at_decision,
            blue_short: view.blue_short.clone(),
            fate: view.fate.as_ref().map(FateForm::of),
            alarms: view.alarms.iter().map(|alarm| AlarmForm::of(&alarm.evidence)).collect(),
            thresholds: view.thresholds.iter().map(ThresholdForm::of).collect(),
            externals: view.externals.iter().map(ExternalForm::of).collect(),
            blue: TrafficForm::of(&view.blue),
            green: TrafficForm::of(&view.green),
            transitions: view.transitions.iter().map(TransitionForm::of).collect(),
            findings: view.findings.iter().map(FindingForm::of).collect(),
            lineage: LineageForm::of(&view.lineage),
            track: TrackForm::default(),
        }
    }

    /// The shift's traffic from its beginning.
    pub(super) fn track(self) -> Track {
        self.track.track()
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a report has string keys and finite numbers only")
    }

    /// Reads a record's report. One that makes no sense costs the figures, not the shift.
    pub(super) fn read(record: &ShiftRecord) -> Self {
        if record.report.is_null() {
            return Self::default();
        }
        Self::deserialize(&record.report).unwrap_or_else(|error| {
            tracing::warn!(shift = %record.id, %error, "a shift's report cannot be read; its figures are left out");
            Self::default()
        })
    }

    /// What a run goes on from after a restart.
    pub(super) fn resumed(self) -> Resumed {
        let earlier = Earlier { blue: self.blue.traffic(), green: self.green.traffic() };
        let rollback = Rollback {
            decision: self.decision_nanos.map(Duration::from_nanos),
            published: None,
            earlier_dispatch: self.publish_to_last_green_dispatch_nanos.map(Duration::from_nanos),
            green_responses: self.green_responses_to_decision,
            green_in_flight: self.green_in_flight_at_decision,
            tally: None,
            earlier_fate: self.fate.map(|fate| fate.fate().after_restart()),
        };
        let transitions = self.transitions.into_iter().map(TransitionForm::transition).collect();
        let findings = self.findings.into_iter().map(FindingForm::finding).collect();
        let lineage = self.lineage.lineage();
        let lasting = self.externals.iter().filter_map(ExternalForm::lasting).collect();
        let track = self.track.track();
        let blue_short = self.blue_short;
        Resumed { earlier, rollback, blue_short, transitions, findings, lineage, lasting, track }
    }
}

/// A shift of the journal that does not run here.
pub(super) fn recorded_view(record: ShiftRecord) -> ShiftView {
    let report = Report::read(&record);
    let ShiftRecord {
        id,
        endpoint,
        blue,
        blue_fleet: _,
        plan,
        snapshot,
        recorded_at: _,
        actor,
        started_at,
        moments,
        report: _,
    } = record;
    ShiftView {
        id,
        endpoint,
        actor,
        blue_version: blue.version,
        lineage: report.lineage.lineage(),
        step: snapshot.step,
        share: Share::from_basis_points(report.share_basis_points).unwrap_or_default(),
        share_got: report.share_got,
        started_at,
        moments,
        decision: report.decision_nanos.map(Duration::from_nanos),
        publish_to_last_green_dispatch: report.publish_to_last_green_dispatch_nanos.map(Duration::from_nanos),
        green_responses_to_decision: report.green_responses_to_decision,
        green_in_flight_at_decision: report.green_in_flight_at_decision,
        blue_short: report.blue_short,
        fate: report.fate.map(FateForm::fate),
        restarts: snapshot.restarts,
        safety: None,
        alarms: report.alarms.into_iter().map(AlarmForm::view).collect(),
        thresholds: report.thresholds.into_iter().filter_map(|form| form.view(&plan.alarms)).collect(),
        externals: report.externals.into_iter().filter_map(|form| form.view(&plan.alarms)).collect(),
        blue: report.blue.traffic(),
        green: report.green.traffic(),
        blue_recent: TrafficWindow::default(),
        green_recent: TrafficWindow::default(),
        held: None,
        held_until: None,
        next: Next { what: words::next(&snapshot.state, &plan.shift).0, at: None },
        transitions: report.transitions.into_iter().map(TransitionForm::transition).collect(),
        findings: report.findings.into_iter().map(FindingForm::finding).collect(),
        forecast: None,
        state: snapshot.state,
        plan,
    }
}

impl TrafficForm {
    fn of(traffic: &Traffic) -> Self {
        let Traffic {
            requests,
            succeeded,
            client_errors,
            failed: _,
            failures,
            excused,
            warm_ups,
            client_gone,
            shed,
            retried,
            rescued,
            rescue_failed,
            not_rescued,
            in_flight,
        } = traffic;
        Self {
            requests: *requests,
            succeeded: *succeeded,
            client_errors: *client_errors,
            failures: failures.iter().map(|(kind, count)| (kind.as_str().to_owned(), *count)).collect(),
            excused: *excused,
            warm_ups: *warm_ups,
            client_gone: *client_gone,
            shed: *shed,
            retried: *retried,
            rescued: *rescued,
            rescue_failed: *rescue_failed,
            not_rescued: *not_rescued,
            in_flight: *in_flight,
        }
    }

    fn traffic(&self) -> Traffic {
        let kind_of = |name: &str| FailureKind::ALL.into_iter().find(|kind| kind.as_str() == name);
        let failures = self.failures.iter().filter_map(|(name, count)| Some((kind_of(name)?, *count)));
        Traffic {
            requests: self.requests,
            succeeded: self.succeeded,
            client_errors: self.client_errors,
            failed: self.failures.iter().map(|(_, count)| count).sum(),
            failures: failures.collect(),
            excused: self.excused,
            warm_ups: self.warm_ups,
            client_gone: self.client_gone,
            shed: self.shed,
            retried: self.retried,
            rescued: self.rescued,
            rescue_failed: self.rescue_failed,
            not_rescued: self.not_rescued,
            in_flight: self.in_flight,
        }
    }
}

impl TransitionForm {
    fn of(transition: &Transition) -> Self {
        let Transition { at, before, after, share, actor, cause } = transition.clone();
        let (at_millis, share_basis_points) = (at.as_millis(), share.basis_points());
        Self { at_millis, before, after, share_basis_points, actor, cause }
    }

    fn transition(self) -> Transition {
        let Self { at_millis, before, after, share_basis_points, actor, cause } = self;
        let share = Share::from_basis_points(share_basis_points).unwrap_or_default();
        Transition { at: WallTime::from_millis(at_millis), before, after, share, actor, cause }
    }
}

pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
