//! Freezes: while one lasts, nothing of an endpoint goes on, neither a shift that runs nor one that would begin.
//!
//! A frozen shift stays where it is at the end of its bake; its alarms watch on, it goes back as ever, and its execution timeout counts on.
//! A freeze is durable before it holds, and holds from one process to the next.

use super::{
    Actor, ControlError, Handle,
    ask::Ask,
    endpoint::Endpoint,
    ledger::Draft,
    run::{By, Run},
    task::Task,
};
use crate::{
    name::EndpointName,
    shift::{Input, State},
    store::{Freeze, Record},
};

/// What is asked about freezes.
#[derive(Debug)]
pub(super) enum Frost {
    /// Which there are.
    Show,
    /// Freeze one endpoint, or all.
    Freeze(Option<EndpointName>, Actor),
    /// Lift the freeze of one endpoint, or the one of all.
    Lift(Option<EndpointName>, Actor),
}

impl Handle {
    /// All freezes, the one of all endpoints first.
    pub async fn freezes(&self) -> Result<Vec<Freeze>, ControlError> {
        self.ask(|reply| Ask::Frost { frost: Frost::Show, reply }).await
    }

    /// Freezes an endpoint, or all, those to come among them; answers with all freezes. Who is frozen already stays so by whoever did it.
    pub async fn freeze(
        &self,
        endpoint: Option<EndpointName>,
        actor: impl Into<Actor>,
    ) -> Result<Vec<Freeze>, ControlError> {
        let frost = Frost::Freeze(endpoint, actor.into());
        self.ask(|reply| Ask::Frost { frost, reply }).await
    }

    /// Lifts an endpoint's freeze, or the one of all, which leaves those of single endpoints; answers with the freezes that are left.
    /// Where there is none nothing happens.
    pub async fn unfreeze(
        &self,
        endpoint: Option<EndpointName>,
        actor: impl Into<Actor>,
    ) -> Result<Vec<Freeze>, ControlError> {
        let frost = Frost::Lift(endpoint, actor.into());
        self.ask(|reply| Ask::Frost { frost, reply }).await
    }
}

impl Task {
    pub(super) async fn frost(&mut self, frost: Frost) -> Result<Vec<Freeze>, ControlError> {
        match frost {
            Frost::Show => {}
            Frost::Freeze(endpoint, actor) => self.freeze(endpoint, &actor).await?,
            Frost::Lift(endpoint, actor) => self.unfreeze(endpoint, &actor).await?,
        }
        Ok(self.freezes.values().cloned().collect())
    }

    /// Gives every endpoint the freeze that it is under: its own before that of all.
    pub(super) fn spread_frost(&mut self) {
        let all = self.freezes.get(&None);
        for (name, endpoint) in &mut self.endpoints {
            endpoint.freeze = self.freezes.get(&Some(name.clone())).or(all).cloned();
        }
    }

    async fn freeze(&mut self, endpoint: Option<EndpointName>, actor: &Actor) -> Result<(), ControlError> {
        if let Some(name) = &endpoint {
            self.endpoint(name)?;
        }
        if self.freezes.contains_key(&endpoint) {
            return Ok(());
        }
        let since = self.links.timer.wall_of(self.links.timer.now());
        let freeze = Freeze {
            endpoint: endpoint.clone(),
            actor: actor.name.clone(),
            reason: actor.reason.clone(),
            since,
        };
        let draft = self.frost_draft("endpoint.frozen", endpoint.as_ref(), actor);
        self.commit(vec![Record::Freeze(Box::new(freeze.clone()))], &[draft]).await?;
        self.freezes.insert(endpoint, freeze);
        self.spread_frost();
        Ok(())
    }

    async fn unfreeze(&mut self, endpoint: Option<EndpointName>, actor: &Actor) -> Result<(), ControlError> {
        if let Some(name) = &endpoint {
            self.endpoint(name)?;
        }
        if !self.freezes.contains_key(&endpoint) {
            return Ok(());
        }
        let draft = self.frost_draft("endpoint.unfrozen", endpoint.as_ref(), actor);
        self.commit(vec![Record::Unfreeze(endpoint.clone())], &[draft]).await?;
        self.freezes.remove(&endpoint);
        self.spread_frost();
        let running = |(_, endpoint): &(_, &Endpoint)| endpoint.run.is_some() && endpoint.freeze.is_none();
        let names: Vec<_> = self.endpoints.iter().filter(running).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.let_go_on(&name).await;
        }
        Ok(())
    }

    /// What a shift had to wait with happens now.
    pub(super) async fn let_go_on(&mut self, name: &EndpointName) {
        let run = self.endpoints.get(name).and_then(|endpoint| endpoint.run.as_ref());
        if run.is_some_and(Run::awaits_leave) {
            let Some(standing) = self.leave(name) else { return };
            if let Err(error) = self.feed(name, Input::GreenReady(standing), By::Itself).await {
                tracing::warn!(endpoint = %name, %error, "a shift stays where it is");
            }
        } else {
            self.wake(name).await;
        }
    }

    fn frost_draft(&self, kind: &'static str, endpoint: Option<&EndpointName>, actor: &Actor) -> Draft {
        let whose = endpoint.map_or("all endpoints", EndpointName::as_str);
        let what = if kind == "endpoint.frozen" { "frozen" } else { "not frozen any more" };
        let why = actor.given_reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        self.draft(
            kind,
            endpoint,
            actor,
            format!("{whose} {} {what}{why}", if endpoint.is_some() { "is" } else { "are" }),
        )
    }
}

impl Endpoint {
    /// Who froze the endpoint and why, in a clause.
    pub(super) fn frozen(&self) -> Option<String> {
        let Freeze { endpoint, actor, reason, since } = self.freeze.as_ref()?;
        let whose = match endpoint {
            Some(name) => format!("{name} is"),
            None => "all endpoints are".to_owned(),
        };
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        Some(format!("{whose} frozen by {actor} since {since}{why}"))
    }
}

impl Run {
    /// Whether green is ready and has not been given its first share.
    fn awaits_leave(&self) -> bool {
        let is_ready = |green: &super::run::Green| green.fleet.is_some() && green.awaited.is_over();
        matches!(self.engine.state(), State::Preparing { .. }) && self.green.as_ref().is_some_and(is_ready)
    }
}
