//! The `command` provider: an operator's own commands provision, list and retire instances, so that any orchestrator can be driven.
//!
//! A command is run with one JSON document on its standard input, writes one to its standard output and exits with 0; what it writes to
//! its standard error explains anything else. The input names what is asked and about which fleet:
//!
//! ```json
//! {"action": "provision", "fleet": "chat-01k7", "endpoint": "chat", "version": "v2", "count": 2,
//!  "instances": [{"id": "a", "address": "10.0.0.7:8000"}]}
//! ```
//!
//! - `provision` makes the fleet have `count` instances and answers `{"instances": [..]}` with all of them. `instances` in the question
//!   are those that it is known to have. A repeated question must make nothing twice: `fleet` is the token to know it by.
//! - `list` answers in the same form with all that exists of the fleet, asked for or not.
//! - `retire` lets the instances of the question go; one that is gone already is no error. It answers `{}`, or nothing.

mod run;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Order, Provider, ProviderError};
use crate::fleet::{Address, CommandSpec, Member, ProviderSpec};

/// Runs an operator's commands.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommandProvider;

/// What a command reads.
#[derive(Serialize)]
struct Question<'a> {
    action: &'static str,
    fleet: &'a str,
    endpoint: &'a str,
    version: &'a str,
    count: u32,
    instances: Vec<Named<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    id: &'a str,
    address: &'a str,
}

/// What a command writes. Keys that are not known here are the operator's own business.
#[derive(Deserialize)]
struct Answer {
    instances: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    id: String,
    address: String,
}

impl CommandProvider {
    async fn ask(
        order: &Order,
        (action, command): (&'static str, &[String]),
        members: &[Member],
    ) -> Result<String, ProviderError> {
        let Some(spec) = spec(&order.provider) else {
            return Err(order.error(action, "the fleet is made by no command"));
        };
        let named = |member: &'_ Member| (member.id.clone(), member.address.clone());
        let pairs: Vec<_> = members.iter().map(named).collect();
        let question = Question {
            action,
            fleet: order.fleet.as_str(),
            endpoint: order.endpoint.as_str(),
            version: order.version.as_str(),
            count: order.count,
            instances: pairs.iter().map(|(id, address)| Named { id, address: address.as_str() }).collect(),
        };
        let question = serde_json::to_vec(&question).expect("texts and numbers are JSON");
        let limit = spec.timeout;
        let ran = tokio::time::timeout(limit, run::run(command, &spec.env, &question)).await;
        let ran = ran.unwrap_or_else(|_| Err(format!("it did not end within {limit:?} and was killed")));
        ran.map_err(|reason| order.error(action, format!("{:?}: {reason}", command.first())))
    }

    async fn members(
        order: &Order,
        (action, command): (&'static str, &[String]),
        members: &[Member],
    ) -> Result<Vec<Member>, ProviderError> {
        let answer = Self::ask(order, (action, command), members).await?;
        let wrong = |reason: String| order.error(action, format!("{:?} answered {reason}", command.first()));
        let Answer { instances } = serde_json::from_str(&answer)
            .map_err(|error| wrong(format!("what is no list of instances: {error}")))?;
        let member = |Told { id, address }: Told| {
            let address = Address::parse(&address).map_err(|error| wrong(format!("for {id:?}: {error}")))?;
            Ok(Member { id, address })
        };
        instances.into_iter().map(member).collect()
    }
}

impl Provider for CommandProvider {
    fn provision<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Vec<Member>, ProviderError>> {
        Box::pin(async move {
            let command = spec(&order.provider).map(|spec| &*spec.provision).unwrap_or_default();
            Self::members(order, ("provision", command), &order.members).await
        })
    }

    fn list<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Vec<Member>, ProviderError>> {
        Box::pin(async move {
            let command = spec(&order.provider).map(|spec| &*spec.list).unwrap_or_default();
            Self::members(order, ("list", command), &order.members).await
        })
    }

    fn retire<'a>(
        &'a self,
        order: &'a Order,
        members: &'a [Member],
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            let command = spec(&order.provider).map(|spec| &*spec.retire).unwrap_or_default();
            Self::ask(order, ("retire", command), members).await.map(drop)
        })
    }

    /// Looks at the list again and again. One that cannot be had says nothing: instances that serve go on.
    fn changed<'a>(&'a self, order: &'a Order, told: &'a [Member]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let refresh = spec(&order.provider).map_or(CommandSpec::REFRESH, |spec| spec.refresh);
            let mut told: Vec<_> = told.iter().collect();
            told.sort();
            loop {
                tokio::time::sleep(refresh).await;
                match self.list(order).await {
                    Ok(mut listed) => {
                        listed.sort();
                        if !listed.iter().eq(told.iter().copied()) {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, fleet = %order.fleet, "a fleet could not be looked at")
                    }
                }
            }
        })
    }

    fn patience(&self, order: &Order) -> Duration {
        // Three calls at most, each bounded on its own, and a little more.
        let timeout = spec(&order.provider).map_or(CommandSpec::TIMEOUT, |spec| spec.timeout);
        timeout.saturating_mul(3).saturating_add(Duration::from_secs(1))
    }
}

fn spec(provider: &Arc<ProviderSpec>) -> Option<&CommandSpec> {
    match &**provider {
        ProviderSpec::Command(spec) => Some(spec),
        ProviderSpec::Process(_) | ProviderSpec::Dns(_) => None,
    }
}
