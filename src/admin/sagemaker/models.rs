//! Models: what a fleet is to be made from.

use serde_json::json;

use super::{
    Api, Request,
    listing::{Entry, Listing},
    records::{MODEL, Made},
    seconds, tags,
};
use crate::admin::aws::{fault::Fault, front::Answer};

impl Api {
    pub(super) async fn create_model(&self, mut request: Request) -> Result<Answer, Fault> {
        let name = request.text("ModelName").to_owned();
        let arn = self.arn("model", &name);
        if self.find::<Made>(MODEL, &name).await?.is_some() {
            return Err(Fault::validation(format!("Cannot create already existing model \"{arn}\".")));
        }
        if request.members.contains_key("PrimaryContainer") && !request.list("Containers").is_empty() {
            return Err(Fault::validation(
                "You cannot specify both PrimaryContainer and Containers in the same request.",
            ));
        }
        self.make_room(MODEL, "Total number of models").await?;
        let tags = tags::take(&mut request.members)?;
        let made = Made { request: request.members, created: Self::now(), tags };
        self.keep((MODEL, &name), &made, (&request.actor, format!("model {name} was created"))).await?;
        Ok(json!({ "ModelArn": arn }).into())
    }

    pub(super) async fn describe_model(&self, request: &Request) -> Result<Answer, Fault> {
        let name = request.text("ModelName");
        let Made { request: mut document, created, tags: _ } = self.model(name).await?;
        document.insert("ModelArn".to_owned(), json!(self.arn("model", name)));
        document.insert("CreationTime".to_owned(), json!(seconds(created)));
        Ok(serde_json::Value::Object(document).into())
    }

    pub(super) async fn list_models(&self, request: &Request) -> Result<Answer, Fault> {
        let all = self.all::<Made>(MODEL).await?.into_iter();
        let entries = all.map(|(name, made)| {
            let document = json!({
                "ModelName": name,
                "ModelArn": self.arn("model", &name),
                "CreationTime": seconds(made.created),
            });
            Entry { name, created: made.created, modified: made.created, status: "", document }
        });
        Listing::of(request)?.page(entries.collect(), "Models")
    }

    pub(super) async fn delete_model(&self, request: Request) -> Result<Answer, Fault> {
        let name = request.text("ModelName");
        self.model(name).await?;
        self.forget((MODEL, name), (&request.actor, format!("model {name} was deleted"))).await?;
        Ok(Answer::default())
    }

    /// The model of this name.
    pub(super) async fn model(&self, name: &str) -> Result<Made, Fault> {
        let found = self.find(MODEL, name).await?;
        found.ok_or_else(|| {
            Fault::validation(format!("Could not find model \"{}\".", self.arn("model", name)))
        })
    }
}
