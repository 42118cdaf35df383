//! Events as SageMaker sends them to EventBridge: what becomes of an endpoint, and every status of a deployment's variants
//! (<https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html>).
//!
//! They are events of the journal (`aws.event`) whose evidence is the whole envelope, so that the file, webhooks and buses of events carry
//! them like any other: in order for each endpoint, at least once. What was told is kept with each, so that a next process tells what
//! changed meanwhile and nothing twice without need. What is over before it is looked at, within milliseconds, is passed over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::{self, error::RecvError};

use super::{
    Api,
    describe::{live_variants, pending},
    picture::Picture,
    records::{ENDPOINT, EndpointRecord},
};
use crate::{
    admin::aws::{
        dialect::request_id,
        fault::{Fault, Kind},
    },
    control::{ResourceChange, ResourceEvent},
    name::EndpointName,
    store::{Event, Resource},
};

/// The kind of resource that says what was told of an endpoint last.
const TOLD: &str = "sagemaker-told";

/// The kind of the journal's events.
const EVENT: &str = "aws.event";

const ACTOR: &str = "sagemaker";
const SOURCE: &str = "aws.sagemaker";
const STATE_CHANGE: &str = "SageMaker Endpoint State Change";
const DEPLOYMENT_CHANGE: &str = "SageMaker Endpoint Deployment State Change";

/// From one look to the next while something goes on: a status may change by time alone.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// After a look that failed, since the journal, or control, needs time.
const REST: Duration = Duration::from_secs(1);

/// The members of a variant that events have.
const OF_VARIANT: [&str; 6] = [
    "VariantName",
    "CurrentWeight",
    "DesiredWeight",
    "CurrentInstanceCount",
    "DesiredInstanceCount",
    "VariantStatus",
];

/// What was told of an endpoint last.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Told {
    state: String,
    deployment: String,
    /// The detail of the last state change, for the one that tells of the endpoint's end.
    detail: Value,
}

/// Tells until it is dropped, or control has ended.
pub(in crate::admin) async fn tell(api: Option<Arc<Api>>, mut events: broadcast::Receiver<Event>) {
    let Some(api) = api else { return std::future::pending().await };
    let mut told = BTreeMap::new();
    let mut open = loop {
        match api.told().await {
            Ok((known, endpoints)) => {
                told.extend(known);
                break endpoints;
            }
            Err(fault) => rest(&fault).await,
        }
    };
    loop {
        let mut left = BTreeSet::new();
        for name in std::mem::take(&mut open) {
            match api.tell_of(&name, &mut told).await {
                Ok(false) => {}
                Ok(true) => drop(left.insert(name)),
                Err(fault) => {
                    left.insert(name);
                    rest(&fault).await;
                }
            }
        }
        open = left;
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) if event.kind == EVENT => {}
                Ok(event) => open.extend(event.endpoint.map(|name| name.as_str().to_owned())),
                Err(RecvError::Lagged(_)) => match api.told().await {
                    Ok((_, endpoints)) => open.extend(endpoints),
                    Err(fault) => rest(&fault).await,
                },
                Err(RecvError::Closed) => return,
            },
            () = tokio::time::sleep(LOOK_EVERY), if !open.is_empty() => {}
        }
    }
}

async fn rest(fault: &Fault) {
    tracing::warn!(fault.message, "events of SageMaker's endpoints cannot be told yet");
    tokio::time::sleep(REST).await;
}

impl Api {
    /// What was told before, and of which endpoints there may be something to tell.
    async fn told(&self) -> Result<(BTreeMap<String, Told>, BTreeSet<String>), Fault> {
        let told: BTreeMap<String, Told> = self.all(TOLD).await?.into_iter().collect();
        let endpoints = self.handle.resources(ENDPOINT).await?.into_iter().map(|resource| resource.name);
        let open = endpoints.chain(told.keys().cloned()).collect();
        Ok((told, open))
    }

    /// Tells what has changed of an endpoint, and says whether more is to come without an event.
    async fn tell_of(&self, name: &str, told: &mut BTreeMap<String, Told>) -> Result<bool, Fault> {
        let Some(record) = self.find::<EndpointRecord>(ENDPOINT, name).await? else {
            if let Some(last) = told.remove(name) {
                self.tell_of_end(name, &last).await?;
            }
            return Ok(false);
        };
        let picture = self.picture_of(name, record).await?;
        let before = told.get(name).cloned().unwrap_or_default();
        let status = shouted(picture.status());
        let live: Vec<_> = live_variants(&picture).into_iter().map(seen).collect();
        let coming = pending(&picture).map(seen_pending);
        let mut now = Told {
            state: format!("{status} {}", picture.config()),
            deployment: timeless(&told_of(&live, coming.as_ref())).to_string(),
            detail: self.state_detail(&picture),
        };
        if now.state != before.state {
            let document = self.envelope(STATE_CHANGE, &picture, now.detail.clone());
            self.put_event(&picture.name, &now, document, format!("endpoint {name} is {status}")).await?;
        } else {
            now.detail.clone_from(&before.detail);
        }
        let is_under_way =
            coming.is_some() || live.iter().any(|variant| variant.get("VariantStatus").is_some());
        if is_under_way && now.deployment != before.deployment {
            let detail = self.deployment_detail(&picture, live, coming);
            let cause = format!("the deployment of endpoint {name} goes on: {}", newest_status(&detail));
            let document = self.envelope(DEPLOYMENT_CHANGE, &picture, detail);
            self.put_event(&picture.name, &now, document, cause).await?;
        }
        told.insert(name.to_owned(), now);
        Ok(is_under_way || !matches!(picture.status(), "InService" | "Failed" | "UpdateRollbackFailed"))
    }

    /// It is gone: that it is being deleted is the last that SageMaker tells.
    async fn tell_of_end(&self, name: &str, last: &Told) -> Result<(), Fault> {
        let gone = vec![(TOLD, name.to_owned())];
        let mut change = ResourceChange { gone, ..ResourceChange::default() };
        if !last.state.starts_with("DELETING") {
            let mut detail = last.detail.clone();
            if let Some(members) = detail.as_object_mut() {
                members.insert("EndpointStatus".to_owned(), json!("DELETING"));
            }
            let evidence = self.enveloped(STATE_CHANGE, name, detail);
            change.event = Some(ResourceEvent { kind: EVENT, evidence });
            change.endpoint = EndpointName::parse(name).ok();
            change.cause = format!("endpoint {name} is DELETING");
        }
        Ok(self.handle.keep(change, ACTOR).await?)
    }

    /// The event and that it was told, both or none.
    async fn put_event(
        &self,
        endpoint: &EndpointName,
        told: &Told,
        evidence: Value,
        cause: String,
    ) -> Result<(), Fault> {
        let document = serde_json::to_value(told)
            .map_err(|error| Fault::new(Kind::Internal, format!("a record cannot be written: {error}")))?;
        let put = vec![Resource { kind: TOLD, name: endpoint.as_str().to_owned(), document }];
        let event = Some(ResourceEvent { kind: EVENT, evidence });
        let change = ResourceChange { put, event, cause, endpoint: Some(endpoint.clone()), gone: Vec::new() };
        Ok(self.handle.keep(change, ACTOR).await?)
    }

    fn envelope(&self, kind: &str, picture: &Picture, detail: Value) -> Value {
        self.enveloped(kind, picture.name.as_str(), detail)
    }

    fn enveloped(&self, kind: &str, endpoint: &str, detail: Value) -> Value {
        let now = jiff::Timestamp::from_millisecond(Self::now()).unwrap_or_default();
        json!({
            "version": "0",
            "id": request_id(),
            "detail-type": kind,
            "source": SOURCE,
            "account": self.config.account,
            "time": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "region": self.config.region,
            "resources": [self.arn("endpoint", endpoint)],
            "detail": detail,
        })
    }

    fn state_detail(&self, picture: &Picture) -> Value {
        let mut detail = self.common(picture);
        let variants = picture.serving().variants.iter().map(|variant| {
            json!({
                "DesiredWeight": number(picture.weight(variant)),
                "DesiredInstanceCount": variant.instances,
            })
        });
        detail.insert("ProductionVariants".to_owned(), variants.collect());
        if let Some(reason) = picture.failure() {
            detail.insert("FailureReason".to_owned(), json!(reason));
        }
        Value::Object(detail)
    }

    fn deployment_detail(&self, picture: &Picture, live: Vec<Value>, coming: Option<Value>) -> Value {
        let mut detail = self.common(picture);
        detail.insert("ProductionVariants".to_owned(), json!(live));
        if let Some(coming) = coming {
            detail.insert("PendingDeploymentSummary".to_owned(), coming);
        }
        Value::Object(detail)
    }

    fn common(&self, picture: &Picture) -> Map<String, Value> {
        let name = picture.name.as_str();
        let document = json!({
            "EndpointName": name,
            "EndpointArn": self.arn("endpoint", name),
            "EndpointConfigName": picture.config(),
            "EndpointStatus": shouted(picture.status()),
            "CreationTime": picture.record.created,
            "LastModifiedTime": picture.modified(),
            "Tags": picture.record.tags,
        });
        document.as_object().cloned().unwrap_or_default()
    }
}

/// A variant as events have it: fewer members, statuses in capitals, moments in milliseconds.
fn seen(variant: Value) -> Value {
    let Value::Object(variant) = variant else { return variant };
    let kept = variant.into_iter().filter(|(name, _)| OF_VARIANT.contains(&name.as_str()));
    let kept = kept.map(|(name, value)| {
        let value = match (name.as_str(), value) {
            ("VariantStatus", Value::Array(statuses)) => statuses.into_iter().map(seen_status).collect(),
            ("CurrentWeight" | "DesiredWeight", weight) => number(weight.as_f64().unwrap_or_default()),
            (_, value) => value,
        };
        (name, value)
    });
    Value::Object(kept.collect())
}

fn seen_status(mut status: Value) -> Value {
    if let Some(members) = status.as_object_mut() {
        if let Some(word) = members.get("Status").and_then(Value::as_str).map(shouted) {
            members.insert("Status".to_owned(), json!(word));
        }
        millis(members, "StartTime");
    }
    status
}

fn seen_pending(mut summary: Value) -> Value {
    if let Some(members) = summary.as_object_mut() {
        millis(members, "StartTime");
        if let Some(Value::Array(variants)) = members.remove("ProductionVariants") {
            let variants: Vec<_> = variants.into_iter().map(seen).collect();
            members.insert("ProductionVariants".to_owned(), json!(variants));
        }
    }
    summary
}

fn millis(members: &mut Map<String, Value>, name: &str) {
    if let Some(seconds) = members.get(name).and_then(Value::as_f64) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "moments of this program are milliseconds since 1970"
        )]
        let millis = (seconds * 1_000.0).round() as i64;
        members.insert(name.to_owned(), json!(millis));
    }
}

/// Without moments, which make no difference.
fn timeless(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| *name != "StartTime");
            Value::Object(kept.map(|(name, value)| (name.clone(), timeless(value))).collect())
        }
        Value::Array(items) => items.iter().map(timeless).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// What is compared with what was told before: of an endpoint with one variant in the form that it always had, so that a new release tells
/// nothing again.
fn told_of(live: &[Value], coming: Option<&Value>) -> Value {
    match live {
        [live] => json!([live, coming]),
        live => json!([live, coming]),
    }
}

/// The status of a variant that comes in, or else of one in service.
fn newest_status(detail: &Value) -> String {
    let places = ["/PendingDeploymentSummary/ProductionVariants", "/ProductionVariants"];
    let variants = places.into_iter().filter_map(|place| detail.pointer(place)?.as_array()).flatten();
    let mut messages =
        variants.filter_map(|variant| variant.pointer("/VariantStatus/0/StatusMessage")?.as_str());
    messages.next().unwrap_or("it has begun").to_owned()
}

/// The journal's events are read back to the same text, so a weight has few digits, and none behind the point where it is whole.
fn number(weight: f64) -> Value {
    let rounded = (weight.clamp(0.0, 1e9) * 1e6).round() / 1e6;
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is bounded")]
    let whole = rounded as i64;
    if rounded.fract() == 0.0 { json!(whole) } else { json!(rounded) }
}

/// `ActivatingTraffic` is `ACTIVATING_TRAFFIC`: events have another case than answers.
fn shouted(word: &str) -> String {
    let mut shouted = String::new();
    for (index, sign) in word.char_indices() {
        if index > 0 && sign.is_ascii_uppercase() {
            shouted.push('_');
        }
        shouted.push(sign.to_ascii_uppercase());
    }
    shouted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_in_capitals_and_moments_in_milliseconds() {
        for (word, expected) in [
            ("InService", "IN_SERVICE"),
            ("UpdateRollbackFailed", "UPDATE_ROLLBACK_FAILED"),
            ("ActivatingTraffic", "ACTIVATING_TRAFFIC"),
            ("Baking", "BAKING"),
        ] {
            assert_eq!(shouted(word), expected);
        }
        let variant = json!({
            "VariantName": "AllTraffic", "CurrentWeight": 1.0, "DesiredWeight": 0.25, "CurrentInstanceCount": 1, "DesiredInstanceCount": 3,
            "DeployedImages": [], "InstanceType": "ml.g5.xlarge",
            "VariantStatus": [{"Status": "Baking", "StatusMessage": "Baking.", "StartTime": 1_769_860_800.25}],
        });
        let expected = json!({
            "VariantName": "AllTraffic", "CurrentWeight": 1, "DesiredWeight": 0.25, "CurrentInstanceCount": 1, "DesiredInstanceCount": 3,
            "VariantStatus": [{"Status": "BAKING", "StatusMessage": "Baking.", "StartTime": 1_769_860_800_250_i64}],
        });
        assert_eq!(seen(variant.clone()), expected);
        let pending = json!({"EndpointConfigName": "c2", "StartTime": 1.0, "ProductionVariants": [variant]});
        let seen = seen_pending(pending);
        assert_eq!((&seen["StartTime"], &seen["ProductionVariants"][0]), (&json!(1_000), &expected));
        assert!(!timeless(&seen).to_string().contains("StartTime"));
    }
}
