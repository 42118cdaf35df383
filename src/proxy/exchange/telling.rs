//! What a try tells whoever is told of requests.

use std::rc::Rc;

use http::HeaderMap;

use super::{Exchange, Role};
use crate::{
    meter::{Outcome, Verdict},
    proxy::account::Account,
    telemetry::{Attempt, Try},
    time::Moment,
};

impl Exchange {
    /// Somebody is told of the request, which was dealt just now.
    pub(in crate::proxy) fn tell(&mut self, account: &Rc<Account>) {
        account.dealt(&self.view, self.draw);
        self.tried = Some(account.begin_try(self.dispatched_at));
    }

    /// The request's account, if there is one.
    pub(in crate::proxy) fn account(&self) -> Option<&Rc<Account>> {
        self.tried.as_ref().map(|tried| &tried.account)
    }

    /// Puts into a request's headers where in a trace its instance is called.
    pub(in crate::proxy) fn mark(&self, headers: &mut HeaderMap) {
        if let Some(tried) = &self.tried {
            tried.mark(headers);
        }
    }

    /// This try has ended.
    pub(super) fn tell_end(&self, outcome: &Outcome, ended_at: Moment) {
        let Some(tried) = &self.tried else { return };
        let attempt = match self.role {
            Role::Dealt => Attempt::Dealt,
            Role::Moved => Attempt::Moved,
            Role::Copy => Attempt::Copy,
            Role::Rescue => Attempt::Rescue,
        };
        tried.account.end_try(Try {
            attempt,
            span: tried.span,
            side: self.draw.side,
            instance: self.upstream().map(|upstream| upstream.instance.address().clone()),
            began_at: tried.began_at,
            ended_at,
            outcome: outcome.clone(),
        });
    }

    /// The try on the instance that the request leaves has ended with this verdict, and another one begins.
    pub(super) fn tell_move(&mut self, verdict: Verdict, now: Moment) {
        if self.tried.is_none() {
            return;
        }
        let outcome = Outcome { verdict, ..self.outcome(now, self.lateness) };
        self.tell_end(&outcome, now);
        self.tried = self.tried.take().map(|tried| tried.account.begin_try(now));
    }

    /// Another answer was faster than this copy's, or than the first try's.
    pub(super) fn tell_lost(&self, now: Moment) {
        if self.tried.is_some() && self.seat.is_some() {
            self.tell_end(&Outcome { verdict: Verdict::ClientGone, ..self.outcome(now, self.lateness) }, now);
        }
    }
}
