//! Tags of alarms.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Api, Request, list,
    putting::{MOST_TAGS, take_tags},
    record::AlarmRecord,
};
use crate::admin::aws::{
    fault::{Fault, Kind},
    front::Answer,
};

impl Api {
    pub(super) async fn tag(&self, request: &Request) -> Result<Answer, Fault> {
        let added = take_tags(&mut request.members.clone())?;
        self.change_tags(request, |tags| tags.extend(added)).await
    }

    pub(super) async fn untag(&self, request: &Request) -> Result<Answer, Fault> {
        let gone: Vec<_> = list(&request.members, "TagKeys").iter().filter_map(Value::as_str).collect();
        self.change_tags(request, |tags| tags.retain(|key, _| !gone.contains(&key.as_str()))).await
    }

    pub(super) fn list_tags(&self, request: &Request) -> Result<Answer, Fault> {
        let (_, record) = self.tagged(request)?;
        let tags = record.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value }));
        Ok(json!({ "Tags": tags.collect::<Vec<_>>() }).into())
    }

    async fn change_tags(
        &self,
        request: &Request,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Result<Answer, Fault> {
        let (name, mut record) = self.tagged(request)?;
        change(&mut record.tags);
        if record.tags.len() > MOST_TAGS {
            let message = format!("The number of tags exceeds the limit of {MOST_TAGS}.");
            return Err(Fault::new(Kind::InvalidParameter, message));
        }
        let cause = format!("tags of alarm {name} were changed");
        self.keep(&[(name.as_str(), &record)], cause, &request.actor).await?;
        self.state().alarms.change(&name, record);
        Ok(json!({}).into())
    }

    fn tagged(&self, request: &Request) -> Result<(String, AlarmRecord), Fault> {
        let arn = request.text("ResourceARN");
        let name = arn.strip_prefix(&self.arn("")).unwrap_or_default();
        let record = self.state().alarms.get(name).map(|alarm| alarm.record.clone());
        let record = record
            .ok_or_else(|| Fault::new(Kind::NotFound, format!("Could not find resource \"{arn}\".")))?;
        Ok((name.to_owned(), record))
    }
}
