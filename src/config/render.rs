//! Writes endpoints and plans as JSON, in the shape that the readers take. Every key is written, defaults too, so that what was
//! in force can be read off a journal written by another version.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{
    EndpointSpec, HealthCheck, HealthSpec, PlanSpec, alarms, externals, pace, rescue, thresholds,
    units::{format_fraction, format_size},
};
use crate::{
    alarm::AlarmPlan,
    fleet::{CertificateFiles, FleetSpec, UpstreamTls},
    route::{HostPattern, Invocations, Limits, MatchRule},
    shift::{Approval, Batch, NoData, OnRestart, Rolling, ShiftLimits, ShiftPlan, Step, StrategyKind},
    time::format_duration,
};

pub(super) fn endpoint(spec: &EndpointSpec) -> Value {
    let EndpointSpec {
        name,
        rule,
        blue,
        health,
        limits,
        failures,
        rescue,
        sticky,
        balance,
        protection,
        rewrite,
        upgrades,
        signals,
        recording,
        variant_header,
        invocations,
        shadow,
    } = spec;
    let mut document = json!({
        "name": name.as_str(),
        "match": match_rule(rule),
        "blue": fleet(blue),
        "health": health_spec(health),
        "limits": request_limits(limits),
        "balance": super::balance::render(balance),
        "failures": super::failures::render(failures),
        "rescue": rescue::render(rescue),
        "upgrades": upgrades.iter().collect::<Vec<_>>(),
        "signals": signals.as_str(),
        "recording": recording,
    });
    super::protection::render(protection, &mut document);
    if let (Some(sticky), Some(document)) = (sticky, document.as_object_mut()) {
        document.insert("sticky".to_owned(), rescue::render_sticky(sticky));
    }
    if let Some(hedge) = &rescue.hedge {
        document["hedge"] = rescue::render_hedge(hedge);
    }
    if let Some(header) = variant_header {
        document["variant_header"] = header.as_str().into();
    }
    if let Some(Invocations { variant }) = invocations {
        document["invocations"] = json!({ "variant": variant.as_str() });
    }
    if let Some(shadow) = shadow {
        document["shadow"] = super::shadow::render(shadow);
    }
    if let Some(rewrite) = rewrite {
        document["rewrite"] =
            json!({ "strip_prefix": slashed(rewrite.strip()), "prefix": slashed(rewrite.prefix()) });
    }
    document
}

pub(super) fn plan(spec: &PlanSpec) -> Value {
    let PlanSpec { green, shift, alarms: alarm_plan, turn, schedule } = spec;
    let AlarmPlan {
        guards,
        regressions,
        thresholds: periods,
        externals: reported,
        false_alarm,
        max_failures,
        warm_up,
        ramp,
    } = alarm_plan;
    let ShiftLimits {
        execution_timeout,
        termination_wait,
        drain_timeout,
        ready_timeout,
        no_data,
        on_restart,
    } = shift.limits();
    let mut document = Map::new();
    document.insert("green".to_owned(), fleet(green));
    let mut strategy = strategy(shift);
    if let Some(ramp) = ramp {
        strategy["ramp_when_safe"] = pace::render_ramp(*ramp);
    }
    document.insert("strategy".to_owned(), strategy);
    document.insert("execution_timeout".to_owned(), format_duration(*execution_timeout).into());
    document.insert("termination_wait".to_owned(), format_duration(*termination_wait).into());
    document.insert("drain_timeout".to_owned(), format_duration(*drain_timeout).into());
    document.insert("ready_timeout".to_owned(), format_duration(*ready_timeout).into());
    document.insert("no_data".to_owned(), no_data_word(*no_data).into());
    document.insert("on_restart".to_owned(), on_restart_word(*on_restart).into());
    document.insert("false_alarm".to_owned(), format_fraction(*false_alarm).into());
    if let Some(max_failures) = max_failures {
        document.insert("max_failures".to_owned(), (*max_failures).into());
    }
    if let Some(warm_up) = warm_up {
        document.insert("warm_up".to_owned(), pace::render_warm_up(*warm_up));
    }
    super::turn::render(*turn, &mut document);
    super::schedule::render(schedule, &mut document);
    document.insert("guard".to_owned(), guards.iter().map(alarms::render_guard).collect());
    document.insert("regression".to_owned(), regressions.iter().map(alarms::render_regression).collect());
    document.insert("threshold".to_owned(), periods.iter().map(thresholds::render).collect());
    document.insert("external".to_owned(), reported.iter().map(externals::render).collect());
    Value::Object(document)
}

pub(super) fn fleet(spec: &FleetSpec) -> Value {
    let FleetSpec { version, instances, variants, provider, protocol, tls } = spec;
    let mut document = Map::new();
    document.insert("version".to_owned(), version.as_str().into());
    match provider {
        Some(provider) => document.insert("provider".to_owned(), super::provider::render(provider)),
        None if !variants.is_empty() => document.insert("variants".to_owned(), super::variant::render(spec)),
        None => document.insert("instances".to_owned(), super::instance::render(instances)),
    };
    document.insert("protocol".to_owned(), protocol.as_str().into());
    if let Some(tls) = tls {
        document.insert("tls".to_owned(), upstream_tls(tls));
    }
    Value::Object(document)
}

fn upstream_tls(tls: &UpstreamTls) -> Value {
    let UpstreamTls { ca, server_name, identity } = tls;
    let path = |path: &Path| Value::from(path.to_string_lossy().into_owned());
    let mut document = Map::new();
    if let Some(ca) = ca {
        document.insert("ca".to_owned(), path(ca));
    }
    if let Some(server_name) = server_name {
        document.insert("server_name".to_owned(), server_name.as_str().into());
    }
    if let Some(CertificateFiles { cert, key }) = identity {
        document.insert("cert".to_owned(), path(cert));
        document.insert("key".to_owned(), path(key));
    }
    Value::Object(document)
}

fn match_rule(rule: &MatchRule) -> Value {
    let MatchRule { host, path_prefix, header, models } = rule;
    let mut document = Map::new();
    match host {
        Some(HostPattern::Exact(name)) => {
            document.insert("host".to_owned(), name.as_str().into());
        }
        Some(HostPattern::Suffix(suffix)) => {
            document.insert("host".to_owned(), format!("*{suffix}").into());
        }
        None => {}
    }
    if let Some(path_prefix) = path_prefix {
        document.insert("path_prefix".to_owned(), path_prefix.as_str().into());
    }
    if let Some((name, value)) = header {
        let value = String::from_utf8_lossy(value.as_bytes());
        document.insert("header".to_owned(), json!({ "name": name.as_str(), "value": value }));
    }
    match models.as_slice() {
        [] => {}
        [model] => {
            document.insert("model".to_owned(), model.as_str().into());
        }
        models => {
            document.insert("models".to_owned(), json!(models));
        }
    }
    Value::Object(document)
}

/// A prefix of nothing is the root.
fn slashed(prefix: &str) -> &str {
    if prefix.is_empty() { "/" } else { prefix }
}

fn health_spec(spec: &HealthSpec) -> Value {
    let HealthSpec { check, interval, timeout, unhealthy_after, healthy_after } = spec;
    let mut document = Map::new();
    match check {
        HealthCheck::Connection => {}
        HealthCheck::Get(path) => drop(document.insert("path".to_owned(), path.as_str().into())),
        HealthCheck::Grpc(service) => drop(document.insert("grpc".to_owned(), service.as_str().into())),
    }
    document.insert("interval".to_owned(), format_duration(*interval).into());
    document.insert("timeout".to_owned(), format_duration(*timeout).into());
    document.insert("unhealthy_after".to_owned(), (*unhealthy_after).into());
    document.insert("healthy_after".to_owned(), (*healthy_after).into());
    Value::Object(document)
}

fn request_limits(limits: &Limits) -> Value {
    let Limits {
        connect_timeout,
        head_timeout,
        idle_timeout,
        total_timeout,
        upgrade_lifetime,
        on_half_close,
        head_limit_bytes,
        body_limit_bytes,
        replay_limit_bytes,
    } = limits;
    let size = |bytes: usize| format_size(u64::try_from(bytes).unwrap_or(u64::MAX));
    let mut document = json!({
        "connect_timeout": format_duration(*connect_timeout),
        "head_timeout": format_duration(*head_timeout),
        "idle_timeout": format_duration(*idle_timeout),
        "total_timeout": format_duration(total_timeout.unwrap_or_default()),
        "upgrade_lifetime": format_duration(upgrade_lifetime.unwrap_or_default()),
        "on_half_close": on_half_close.as_str(),
        "body_limit": format_size(*body_limit_bytes),
        "replay_limit": size(*replay_limit_bytes),
    });
    if let Some(bytes) = head_limit_bytes {
        document["head_limit"] = json!(size(*bytes));
    }
    document
}

/// Gives back the short form from the steps that it was compiled to: the first step has the share and bake of a canary and of a
/// linear shift, the last one the final bake.
fn strategy(plan: &ShiftPlan) -> Value {
    let (first, last) = match plan.steps() {
        [] => unreachable!("a checked plan has at least one step"),
        [only] => (only, only),
        [first, .., last] => (first, last),
    };
    let kind = plan.kind().as_str();
    let (share, bake, final_bake) =
        (first.share.to_string(), format_duration(first.bake), format_duration(last.bake));
    match plan.kind() {
        StrategyKind::AllAtOnce => json!({ "type": kind, "final_bake": final_bake }),
        StrategyKind::Canary => {
            json!({ "type": kind, "share": share, "bake": bake, "final_bake": final_bake })
        }
        StrategyKind::Linear => {
            json!({ "type": kind, "step": share, "bake": bake, "final_bake": final_bake })
        }
        StrategyKind::Rolling => rolling(plan),
        StrategyKind::Steps => {
            json!({ "type": kind, "steps": plan.steps().iter().map(step).collect::<Value>() })
        }
    }
}

fn rolling(plan: &ShiftPlan) -> Value {
    let rolling = plan.rolling().expect("a plan that was written as a rolling one is one");
    let Rolling { batch, bake, rollback_batch, sizes: _ } = *rolling;
    let kind = plan.kind().as_str();
    let mut document = json!({ "type": kind, "batch": self::batch(batch), "bake": format_duration(bake) });
    if let Some(back) = rollback_batch {
        document["rollback_batch"] = self::batch(back);
    }
    document
}

fn batch(batch: Batch) -> Value {
    match batch {
        Batch::Instances(count) => json!(count),
        Batch::Part(share) => json!(share.to_string()),
    }
}

fn step(step: &Step) -> Value {
    let Step { share, bake, approval } = step;
    let approval = match approval {
        Approval::Required => true,
        Approval::NotNeeded => false,
    };
    json!({ "share": share.to_string(), "bake": format_duration(*bake), "approval": approval })
}

fn no_data_word(no_data: NoData) -> &'static str {
    match no_data {
        NoData::Hold => "hold",
        NoData::Pass => "pass",
        NoData::Fail => "fail",
    }
}

fn on_restart_word(on_restart: OnRestart) -> &'static str {
    match on_restart {
        OnRestart::Continue => "continue",
        OnRestart::RollBack => "roll_back",
    }
}
