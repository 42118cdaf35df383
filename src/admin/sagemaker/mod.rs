#![doc = include_str!("../../docs/sagemaker.md")]
//!
//! # The parts
//!
//! `limits` has the requests' constraints, `records` what is kept of each resource, `listing` how lists are filtered and cut into pages;
//! `models`, `configs`, `endpoints`, `updates`, `describe` and `tags` are the operations. `fleet` turns a model into a fleet, and `deployment`
//! its configuration into a shift's plan, which the engine runs like any other. `picture` is an endpoint as it is now, `stages` what is said of
//! each state of its shift, and `settle` sees to what comes after an answer. What protocols have in common is the business of `aws`.

mod configs;
mod deployment;
mod describe;
mod endpoints;
mod fleet;
mod limits;
mod listing;
mod models;
mod notices;
mod picture;
mod records;
mod settle;
mod stages;
mod tags;
mod updates;

pub(super) use deployment::alarm_key;
pub(super) use notices::tell;
pub(super) use records::variant_name;
pub(super) use settle::settle;

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, Notify};

use super::{
    aws::{
        fault::Fault,
        front::Answer,
        shape::{self, Member},
    },
    cloudwatch,
};
use crate::{
    clock,
    config::{AwsConfig, AwsKey},
    control::{Actor, Handle},
    route::RouteTable,
};

/// The control API.
#[derive(Debug)]
pub(super) struct Api {
    handle: Handle,
    config: AwsConfig,
    keys: Arc<[AwsKey]>,
    /// Where the alarms of deployments are, as far as they are not reported by others.
    cloudwatch: Arc<cloudwatch::Api>,
    /// Held by what changes something, so that what it has looked at is still so when it acts.
    turn: Mutex<()>,
    /// There is an endpoint of which more is to come.
    unsettled: Notify,
}

/// What can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    CreateModel,
    DescribeModel,
    ListModels,
    DeleteModel,
    CreateEndpointConfig,
    DescribeEndpointConfig,
    ListEndpointConfigs,
    DeleteEndpointConfig,
    CreateEndpoint,
    DescribeEndpoint,
    ListEndpoints,
    UpdateEndpoint,
    UpdateEndpointWeightsAndCapacities,
    DeleteEndpoint,
    AddTags,
    ListTags,
    DeleteTags,
}

/// A request that fits its constraints.
pub(super) struct Request {
    members: Map<String, Value>,
    actor: Actor,
}

impl Api {
    pub(super) fn new(handle: Handle, table: Arc<ArcSwap<RouteTable>>, config: AwsConfig) -> Self {
        let keys = config.keys.iter().cloned().collect();
        let cloudwatch = Arc::new(cloudwatch::Api::new(handle.clone(), table, &config));
        Self { handle, config, keys, cloudwatch, turn: Mutex::default(), unsettled: Notify::new() }
    }

    /// The API of metrics and alarms.
    pub(super) fn cloudwatch(&self) -> &Arc<cloudwatch::Api> {
        &self.cloudwatch
    }

    /// Who may call; everybody where there is none.
    pub(super) fn keys(&self) -> &Arc<[AwsKey]> {
        &self.keys
    }

    /// Holds a request against its constraints and carries it out.
    pub(super) async fn run(
        &self,
        operation: Operation,
        mut document: Value,
        actor: Actor,
    ) -> Result<Answer, Fault> {
        if let Some(members) = document.as_object_mut() {
            deployment::mend(members);
        }
        let members = shape::check(document, operation.members())?;
        let request = Request { members, actor };
        let _turn = if operation.changes() { Some(self.turn.lock().await) } else { None };
        match operation {
            Operation::CreateModel => self.create_model(request).await,
            Operation::DescribeModel => self.describe_model(&request).await,
            Operation::ListModels => self.list_models(&request).await,
            Operation::DeleteModel => self.delete_model(request).await,
            Operation::CreateEndpointConfig => self.create_config(request).await,
            Operation::DescribeEndpointConfig => self.describe_config(&request).await,
            Operation::ListEndpointConfigs => self.list_configs(&request).await,
            Operation::DeleteEndpointConfig => self.delete_config(request).await,
            Operation::CreateEndpoint => self.create_endpoint(request).await,
            Operation::DescribeEndpoint => self.describe_endpoint(&request).await,
            Operation::ListEndpoints => self.list_endpoints(&request).await,
            Operation::UpdateEndpoint => self.update_endpoint(request).await,
            Operation::UpdateEndpointWeightsAndCapacities => self.update_weights(request).await,
            Operation::DeleteEndpoint => self.delete_endpoint(request).await,
            Operation::AddTags => self.add_tags(request).await,
            Operation::ListTags => self.list_tags(&request).await,
            Operation::DeleteTags => self.delete_tags(request).await,
        }
    }

    fn arn(&self, kind: &str, name: &str) -> String {
        let AwsConfig { region, account, .. } = &self.config;
        format!("arn:aws:sagemaker:{region}:{account}:{kind}/{}", name.to_ascii_lowercase())
    }

    fn now() -> i64 {
        clock::wall().as_millis()
    }
}

impl Operation {
    const ALL: [Self; 17] = [
        Self::CreateModel,
        Self::DescribeModel,
        Self::ListModels,
        Self::DeleteModel,
        Self::CreateEndpointConfig,
        Self::DescribeEndpointConfig,
        Self::ListEndpointConfigs,
        Self::DeleteEndpointConfig,
        Self::CreateEndpoint,
        Self::DescribeEndpoint,
        Self::ListEndpoints,
        Self::UpdateEndpoint,
        Self::UpdateEndpointWeightsAndCapacities,
        Self::DeleteEndpoint,
        Self::AddTags,
        Self::ListTags,
        Self::DeleteTags,
    ];

    /// The operation of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// What clients call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CreateModel => "CreateModel",
            Self::DescribeModel => "DescribeModel",
            Self::ListModels => "ListModels",
            Self::DeleteModel => "DeleteModel",
            Self::CreateEndpointConfig => "CreateEndpointConfig",
            Self::DescribeEndpointConfig => "DescribeEndpointConfig",
            Self::ListEndpointConfigs => "ListEndpointConfigs",
            Self::DeleteEndpointConfig => "DeleteEndpointConfig",
            Self::CreateEndpoint => "CreateEndpoint",
            Self::DescribeEndpoint => "DescribeEndpoint",
            Self::ListEndpoints => "ListEndpoints",
            Self::UpdateEndpoint => "UpdateEndpoint",
            Self::UpdateEndpointWeightsAndCapacities => "UpdateEndpointWeightsAndCapacities",
            Self::DeleteEndpoint => "DeleteEndpoint",
            Self::AddTags => "AddTags",
            Self::ListTags => "ListTags",
            Self::DeleteTags => "DeleteTags",
        }
    }

    /// Whether it changes something.
    pub(super) const fn changes(self) -> bool {
        match self {
            Self::CreateModel
            | Self::DeleteModel
            | Self::CreateEndpointConfig
            | Self::DeleteEndpointConfig
            | Self::CreateEndpoint
            | Self::UpdateEndpoint
            | Self::UpdateEndpointWeightsAndCapacities
            | Self::DeleteEndpoint
            | Self::AddTags
            | Self::DeleteTags => true,
            Self::DescribeModel
            | Self::ListModels
            | Self::DescribeEndpointConfig
            | Self::ListEndpointConfigs
            | Self::DescribeEndpoint
            | Self::ListEndpoints
            | Self::ListTags => false,
        }
    }

    fn members(self) -> &'static [Member] {
        match self {
            Self::CreateModel => limits::CREATE_MODEL,
            Self::DescribeModel | Self::DeleteModel => limits::NAMED_MODEL,
            Self::ListModels | Self::ListEndpointConfigs => limits::LIST_NAMED,
            Self::CreateEndpointConfig => limits::CREATE_CONFIG,
            Self::DescribeEndpointConfig | Self::DeleteEndpointConfig => limits::NAMED_CONFIG,
            Self::CreateEndpoint => limits::CREATE_ENDPOINT,
            Self::DescribeEndpoint | Self::DeleteEndpoint => limits::NAMED_ENDPOINT,
            Self::ListEndpoints => limits::LIST_ENDPOINTS,
            Self::UpdateEndpoint => limits::UPDATE_ENDPOINT,
            Self::UpdateEndpointWeightsAndCapacities => limits::UPDATE_WEIGHTS,
            Self::AddTags => limits::ADD_TAGS,
            Self::ListTags => limits::LIST_TAGS,
            Self::DeleteTags => limits::DELETE_TAGS,
        }
    }
}

impl Request {
    /// A text; empty where there is none.
    fn text(&self, member: &str) -> &str {
        self.members.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    fn flag(&self, member: &str) -> bool {
        self.members.get(member).and_then(Value::as_bool).unwrap_or_default()
    }

    fn list(&self, member: &str) -> &[Value] {
        self.members.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// A moment as the JSON protocols write it: seconds since 1970, with milliseconds.
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}
