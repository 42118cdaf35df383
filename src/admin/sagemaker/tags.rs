//! Tags: pairs of texts that are the operator's own. Terraform and the SageMaker SDK read them with every resource.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Api, Request,
    records::{CONFIG, ENDPOINT, MODEL, Tagged},
};
use crate::admin::aws::{fault::Fault, front::Answer};

/// The most that a resource can have.
const MOST: usize = 50;

impl Api {
    pub(super) async fn add_tags(&self, request: Request) -> Result<Answer, Fault> {
        let mut added = request.members.clone();
        let added = take(&mut added)?;
        let tags = self.change_tags(&request, "tagged", |tags| {
            tags.extend(added);
            if tags.len() > MOST {
                return Err(Fault::validation(format!("The number of tags exceeds the limit of {MOST}.")));
            }
            Ok(())
        });
        Ok(json!({ "Tags": list(&tags.await?) }).into())
    }

    pub(super) async fn list_tags(&self, request: &Request) -> Result<Answer, Fault> {
        let (kind, name) = self.resource(request.text("ResourceArn")).await?;
        let found: Option<Tagged> = self.find(kind, &name).await?;
        Ok(json!({ "Tags": list(&found.map(|found| found.tags).unwrap_or_default()) }).into())
    }

    pub(super) async fn delete_tags(&self, request: Request) -> Result<Answer, Fault> {
        let gone: Vec<_> = request.list("TagKeys").iter().filter_map(Value::as_str).collect();
        self.change_tags(&request, "untagged", |tags| {
            tags.retain(|key, _| !gone.contains(&key.as_str()));
            Ok(())
        })
        .await?;
        Ok(json!({}).into())
    }

    async fn change_tags(
        &self,
        request: &Request,
        what: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), Fault>,
    ) -> Result<BTreeMap<String, String>, Fault> {
        let arn = request.text("ResourceArn");
        let (kind, name) = self.resource(arn).await?;
        let Some(mut found) = self.find::<Tagged>(kind, &name).await? else { return Err(no_resource(arn)) };
        change(&mut found.tags)?;
        self.keep((kind, &name), &found, (&request.actor, format!("{arn} was {what}"))).await?;
        Ok(found.tags)
    }

    /// The kind and the name behind an ARN, which has the name in lower case.
    async fn resource(&self, arn: &str) -> Result<(&'static str, String), Fault> {
        let (kind, lowered) =
            arn.rsplit(':').next().and_then(|rest| rest.split_once('/')).unwrap_or_default();
        let kind_stored = match kind {
            "model" => MODEL,
            "endpoint-config" => CONFIG,
            "endpoint" => ENDPOINT,
            _ => return Err(no_resource(arn)),
        };
        let all = self.handle.resources(kind_stored).await?;
        let found = all.into_iter().find(|resource| {
            resource.name.eq_ignore_ascii_case(lowered)
                && self.arn(kind, &resource.name).eq_ignore_ascii_case(arn)
        });
        found.map(|resource| (kind_stored, resource.name)).ok_or_else(|| no_resource(arn))
    }
}

/// Takes the tags out of a request. Of a key that is given twice AWS takes neither.
pub(super) fn take(members: &mut Map<String, Value>) -> Result<BTreeMap<String, String>, Fault> {
    let listed = members.shift_remove("Tags").unwrap_or_default();
    let mut tags = BTreeMap::new();
    for tag in listed.as_array().into_iter().flatten() {
        let part = |name: &str| tag[name].as_str().unwrap_or_default().to_owned();
        if tags.insert(part("Key"), part("Value")).is_some() {
            return Err(Fault::validation(format!("Duplicate tag key: {}", part("Key"))));
        }
    }
    Ok(tags)
}

fn list(tags: &BTreeMap<String, String>) -> Vec<Value> {
    tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

fn no_resource(arn: &str) -> Fault {
    Fault::validation(format!("Could not find resource \"{arn}\"."))
}
