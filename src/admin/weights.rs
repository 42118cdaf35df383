//! `/v1/endpoints/{name}/weights`: how the variants of the fleet in service share its requests.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize, de::Error};

use super::{
    actor::HeaderActor,
    extract::{Change, EndpointPath, Parameters, Read},
    problem::Fault,
    represent,
    state::Port,
    wire,
};
use crate::{control::Weights, fleet::VariantWeight, name::VariantName};

/// The body of `POST /v1/endpoints/{name}/weights`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsBody {
    /// What variants are to weigh, by their names: 0 to 1,000,000, to six decimals. Those that are left out keep what they have.
    pub weights: BTreeMap<String, f64>,
    /// Who; `operator` when absent.
    #[serde(default)]
    pub actor: Option<String>,
}

pub(super) async fn weigh(
    State(port): State<Arc<Port>>,
    EndpointPath(name): EndpointPath,
    Parameters(change): Parameters<Change>,
    actor: HeaderActor,
    Read(body): Read<WeightsBody>,
) -> Result<Json<wire::Endpoint>, Fault> {
    let WeightsBody { weights, actor: named } = body;
    let weights = checked(weights).map_err(|message| Fault::Shape(serde_json::Error::custom(message)))?;
    let view = port.handle.weigh_variants(&name, weights, &actor.or(named)?, change.execution()).await?;
    Ok(Json(represent::endpoint(view)))
}

fn checked(weights: BTreeMap<String, f64>) -> Result<Weights, String> {
    if weights.is_empty() {
        return Err("weights: names no variant: write for instance {\"a\": 1, \"b\": 0}".to_owned());
    }
    let weight = |(name, number): (String, f64)| {
        let name = VariantName::parse(&name).map_err(|error| format!("weights: {error}"))?;
        let weight = VariantWeight::from_number(number).ok_or_else(|| {
            format!("weights.{name}: {number} is not a weight, which is 0 to 1000000 with up to six decimals")
        })?;
        Ok((name, weight))
    };
    weights.into_iter().map(weight).collect()
}
