//! What has to be done so that an endpoint is as declared: no request, no clock.

use std::collections::BTreeMap;

use serde_json::Value;

use super::files::Desired;
use crate::admin::wire;

/// A key whose value is not as declared.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Change {
    pub(super) key: String,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

/// Something to do, or a reason to leave it.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Step {
    /// Declare an endpoint that is not there.
    Create,
    /// Declare it anew; what serves goes on serving.
    Update { document: Value, changes: Vec<Change> },
    /// Declare it anew with another fleet, which takes over at once: no plan belongs to it.
    Replace { document: Value, changes: Vec<Change>, from: String },
    /// Bring another version in by a shift.
    Shift { from: String },
    /// A shift to that version runs or waits already.
    Underway { shift: String },
    /// A shift to that version by that plan went back: it is for a person to say that it may be tried again.
    WentBack { shift: String },
    /// Another version was promoted over the declared one, and no plan says how to get back.
    NeedsPlan { serving: String },
}

/// Whether a shift that went back may be tried again as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Again {
    Yes,
    No,
}

/// What there is of an endpoint.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Present {
    pub(super) endpoint: wire::Endpoint,
    /// Its running shift if it has one, else its newest.
    pub(super) newest: Option<wire::Shift>,
}

/// The steps in their order; none where everything is as declared.
pub(super) fn steps(desired: &Desired, present: Option<&Present>, again: Again) -> Vec<Step> {
    let Some(Present { endpoint, newest }) = present else { return vec![Step::Create] };
    let (spec, serving) = (&desired.spec, &endpoint.blue.version);
    let is_served = serving == spec.blue.version.as_str();
    let mut document = spec.to_json();
    let is_declared = endpoint.declared.get("blue") == document.get("blue");
    // A shift brought it in, or will: what was declared before stays, since another declared blue replaces what serves.
    let keeps_blue =
        if is_served { has_the_same_instances(desired, endpoint) } else { desired.plan.is_some() };
    if let (false, true, Some(blue)) = (is_declared, keeps_blue, endpoint.declared.get("blue")) {
        document["blue"] = blue.clone();
    }
    let changes = changes(&endpoint.declared, &document);
    let is_other_blue = endpoint.declared.get("blue") != document.get("blue");
    let mut steps = Vec::new();
    if is_other_blue {
        steps.push(Step::Replace { document, changes, from: serving.clone() });
    } else if !changes.is_empty() {
        steps.push(Step::Update { document, changes });
    }
    if is_served || is_other_blue {
        return steps;
    }
    let step = match (underway(desired, endpoint, newest.as_ref()), &desired.plan) {
        (Some(shift), _) => Step::Underway { shift },
        (None, Some(plan)) => shift(desired, serving, newest.as_ref(), &plan.to_json(), again),
        (None, None) => Step::NeedsPlan { serving: serving.clone() },
    };
    steps.push(step);
    steps
}

/// The shift to the declared version that runs or waits.
fn underway(desired: &Desired, endpoint: &wire::Endpoint, newest: Option<&wire::Shift>) -> Option<String> {
    let version = desired.spec.blue.version.as_str();
    let running = newest.filter(|shift| !shift.over && shift.green_version == version);
    let queued = endpoint.queue.iter().find(|queued| queued.green_version == version);
    running.and_then(|shift| shift.id.clone()).or_else(|| queued.and_then(|queued| queued.id.clone()))
}

/// A shift, unless the same one went back.
fn shift(desired: &Desired, serving: &str, newest: Option<&wire::Shift>, plan: &Value, again: Again) -> Step {
    let version = desired.spec.blue.version.as_str();
    let went_back = |shift: &&wire::Shift| {
        shift.over && shift.state != "promoted" && shift.green_version == version && shift.plan == *plan
    };
    match (newest.filter(went_back), again) {
        (Some(shift), Again::No) => Step::WentBack { shift: shift.id.clone().unwrap_or_default() },
        (Some(_), Again::Yes) | (None, Again::Yes | Again::No) => Step::Shift { from: serving.to_owned() },
    }
}

/// Of a fleet that a provider makes nobody but the provider knows the addresses.
fn has_the_same_instances(desired: &Desired, endpoint: &wire::Endpoint) -> bool {
    let blue = &desired.spec.blue;
    let of = |addresses: &mut dyn Iterator<Item = String>| -> BTreeMap<String, ()> {
        addresses.map(|address| (address, ())).collect()
    };
    let wanted = of(&mut blue.instances.iter().map(|instance| instance.address.to_string()));
    let there = of(&mut endpoint.blue.instances.iter().map(|instance| instance.address.clone()));
    blue.provider.is_some() || wanted == there
}

/// Every key that differs, by its path.
pub(super) fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    flatten("", before, &mut old);
    flatten("", after, &mut new);
    let keys: BTreeMap<&String, ()> = old.keys().chain(new.keys()).map(|key| (key, ())).collect();
    keys.into_keys()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| Change { key: key.clone(), before: old.get(key).cloned(), after: new.get(key).cloned() })
        .collect()
}

fn flatten(key: &str, value: &Value, keys: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let path = if key.is_empty() { member.clone() } else { format!("{key}.{member}") };
                flatten(&path, value, keys);
            }
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            keys.insert(key.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        cli::{
            tests::endpoint_now,
            view::tests::{baking, rolled_back},
        },
        config::{EndpointSpec, PlanSpec},
        name::EndpointName,
    };

    fn spec(version: &str, timeout: &str) -> EndpointSpec {
        let instances = if version == "v1" {
            json!(["127.0.0.1:9001", "127.0.0.1:9002"])
        } else {
            json!(["127.0.0.1:9003"])
        };
        let document = json!({
            "blue": {"version": version, "instances": instances}, "limits": {"total_timeout": timeout},
        });
        EndpointSpec::from_json(&EndpointName::parse("chat").unwrap(), &document).unwrap()
    }

    fn plan(version: &str) -> PlanSpec {
        let document = json!({
            "green": {"version": version, "instances": ["127.0.0.1:9003"]},
            "strategy": {"type": "canary", "share": "5%", "bake": "2m", "final_bake": "5m"},
            "guard": [{"metric": "error_rate", "below": "1%"}],
        });
        PlanSpec::from_json(&document).unwrap()
    }

    fn desired(version: &str, timeout: &str, plan: Option<PlanSpec>) -> Desired {
        Desired { source: "chat.toml".into(), spec: spec(version, timeout), plan }
    }

    /// Declared and serving v1.
    fn present(newest: Option<wire::Shift>) -> Present {
        Present {
            endpoint: wire::Endpoint { declared: spec("v1", "30s").to_json(), ..endpoint_now() },
            newest,
        }
    }

    #[test]
    fn what_is_not_there_is_created_and_what_is_as_declared_is_left_alone() {
        let desired = desired("v1", "30s", Some(plan("v1")));
        assert_eq!(steps(&desired, None, Again::No), [Step::Create]);
        assert_eq!(steps(&desired, Some(&present(None)), Again::No), []);
    }

    #[test]
    fn a_changed_limit_is_an_update_that_names_the_key() {
        let steps = steps(&desired("v1", "1m", None), Some(&present(None)), Again::No);
        let [Step::Update { changes, .. }] = steps.as_slice() else { panic!("{steps:?}") };
        let change = Change {
            key: "limits.total_timeout".into(),
            before: Some("30s".into()),
            after: Some("1m".into()),
        };
        assert_eq!(*changes, [change]);
    }

    #[test]
    fn another_version_comes_in_by_a_shift_and_the_declared_blue_stays_for_the_way_back() {
        let desired = desired("v2", "1m", Some(plan("v2")));
        let steps = steps(&desired, Some(&present(None)), Again::No);
        let [Step::Update { document, .. }, Step::Shift { from }] = steps.as_slice() else {
            panic!("{steps:?}")
        };
        assert_eq!((document["blue"]["version"].as_str(), from.as_str()), (Some("v1"), "v1"));
    }

    #[test]
    fn without_a_plan_another_version_replaces_the_fleet() {
        let steps = steps(&desired("v2", "30s", None), Some(&present(None)), Again::No);
        assert!(matches!(steps.as_slice(), [Step::Replace { from, .. }] if from == "v1"), "{steps:?}");
    }

    #[test]
    fn a_shift_that_runs_or_waits_is_not_started_twice() {
        let desired = desired("v2", "30s", Some(plan("v2")));
        assert_eq!(
            steps(&desired, Some(&present(Some(baking()))), Again::No),
            [Step::Underway { shift: "chat-7".into() }]
        );
    }

    #[test]
    fn what_went_back_is_not_started_again_before_the_version_or_the_plan_changes_or_somebody_says_so() {
        let desired = desired("v2", "30s", Some(plan("v2")));
        let back = wire::Shift { plan: plan("v2").to_json(), ..rolled_back() };
        let present = present(Some(back.clone()));
        assert_eq!(steps(&desired, Some(&present), Again::No), [Step::WentBack { shift: "chat-7".into() }]);
        assert_eq!(steps(&desired, Some(&present), Again::Yes), [Step::Shift { from: "v1".into() }]);
        let other = Present { newest: Some(wire::Shift { plan: json!({}), ..back }), ..present };
        assert_eq!(steps(&desired, Some(&other), Again::No), [Step::Shift { from: "v1".into() }]);
    }

    #[test]
    fn what_a_shift_has_promoted_is_as_declared_though_the_declaration_names_the_version_before() {
        let mut present = present(Some(wire::Shift { state: "promoted".into(), over: true, ..baking() }));
        present.endpoint.blue.version = "v2".into();
        present.endpoint.blue.instances.truncate(1);
        present.endpoint.blue.instances[0].address = "127.0.0.1:9003".into();
        assert_eq!(steps(&desired("v2", "30s", Some(plan("v2"))), Some(&present), Again::No), []);
        let back = steps(&desired("v1", "30s", None), Some(&present), Again::No);
        assert_eq!(back, [Step::NeedsPlan { serving: "v2".into() }]);
    }
}
