//! What is kept of a request while it passes, where somebody is told of it: the access log, or traces.
//!
//! By default nobody is, and then a request has no account: that costs a branch where it begins and one for each of its tries. An account is
//! shared by whoever carries the request on; when the last of them lets it go the request is over, and it is handed to whom it concerns.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::{
    answer, caller::Caller, error::Failure, incoming::Incoming, lane::Draw, lane::RouteView, worker::Worker,
};
use crate::{
    clock,
    telemetry::{Dealt, Passage, TraceContext, Try, Witnesses, is_chosen, new_span},
    time::Moment,
};

/// Longer paths are cut: they would make the queues' memory a client's choice.
const PATH_LIMIT: usize = 2_048;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// One request's.
#[derive(Debug)]
pub(super) struct Account {
    worker: Rc<Worker>,
    passage: RefCell<Option<Box<Passage>>>,
    retries: Cell<u32>,
    /// Its place in a trace, if it is kept.
    kept: Option<TraceContext>,
}

/// One try's part in it.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) account: Rc<Account>,
    pub(super) span: u64,
    pub(super) began_at: Moment,
}

impl Account {
    /// Of a request whose head has come, if anybody is told of it.
    pub(super) fn begin(caller: &Caller, request: &Request<Incoming>) -> Option<Rc<Self>> {
        let witnesses = &caller.worker().settings.witnesses;
        if !witnesses.are_there() {
            return None;
        }
        // Rare enough, for whoever did not ask for it, to be kept out of the way.
        Some(Self::open(caller, request, witnesses))
    }

    #[cold]
    fn open(caller: &Caller, request: &Request<Incoming>, witnesses: &Witnesses) -> Rc<Self> {
        let path = match request.uri().path_and_query() {
            Some(both) if witnesses.want_query() => both.as_str(),
            Some(both) => both.path(),
            None => "",
        };
        let given = trace_of(request);
        let traces = witnesses.traces.as_ref();
        let kept = traces.and_then(|traces| traces.choose(given, &mut *caller.worker().rng()));
        let now = clock::now();
        let passage = Passage {
            received_at: now,
            ended_at: now,
            protocol: request.version(),
            method: request.method().clone(),
            path: cut(path).into(),
            dealt: None,
            tries: Vec::with_capacity(1),
            retries: 0,
            status: None,
            problem: None,
            trace: kept.or(given),
            rate: 1.0,
        };
        Rc::new(Self {
            worker: Rc::clone(caller.worker()),
            passage: RefCell::new(Some(Box::new(passage))),
            retries: Cell::new(0),
            kept,
        })
    }

    /// The request was dealt.
    pub(super) fn dealt(&self, view: &RouteView, draw: Draw) {
        self.note(|passage| {
            let (route, side, variant) = (view.route.clone(), draw.side, usize::from(draw.variant));
            passage.dealt = Some(Dealt { route, side, variant });
        });
    }

    /// The client is told of this failure.
    pub(super) fn failed(&self, failure: &Failure) {
        self.note(|passage| passage.problem = Some(answer::name(failure)));
    }

    /// The client gets an answer with this status.
    pub(super) fn answered(&self, status: u16) {
        self.note(|passage| passage.status = Some(status));
    }

    /// The request is sent again within its fleet.
    pub(super) fn retried(&self) {
        self.retries.set(self.retries.get() + 1);
    }

    /// A try begins.
    pub(super) fn begin_try(self: &Rc<Self>, began_at: Moment) -> Tried {
        let span = self.kept.map_or(0, |_| new_span(&mut *self.worker.rng()));
        Tried { account: Rc::clone(self), span, began_at }
    }

    /// A try has ended.
    pub(super) fn end_try(&self, ended: Try) {
        self.note(|passage| passage.tries.push(ended));
    }

    fn note(&self, change: impl FnOnce(&mut Passage)) {
        if let Some(passage) = &mut *self.passage.borrow_mut() {
            change(passage);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let Some(mut passage) = self.passage.take() else { return };
        let last = passage.tries.iter().map(|one| one.ended_at).max();
        passage.ended_at = last.unwrap_or_else(clock::now);
        passage.retries = self.retries.get();
        let Witnesses { access_log, traces } = &self.worker.settings.witnesses;
        let number = self.worker.number;
        if let (Some(traces), Some(_)) = (traces, self.kept) {
            traces.take(number, passage.clone());
        }
        if let Some(log) = access_log {
            passage.rate = log.rate(&passage);
            if is_chosen(passage.rate, &mut *self.worker.rng()) {
                log.take(number, passage);
            }
        }
    }
}

impl Tried {
    /// Says to the instance where in the trace it is called, if the request is kept. Otherwise what the client said passes as it came.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        let Some(trace) = self.account.kept else { return };
        if let Ok(value) = HeaderValue::try_from(trace.header(self.span)) {
            headers.insert(&TRACEPARENT, value);
            // What systems have said about another trace, or none, says nothing about this one.
            if trace.parent.is_none() {
                headers.remove(&TRACESTATE);
            }
        }
    }
}

/// The trace that the client says it is in.
fn trace_of(request: &Request<Incoming>) -> Option<TraceContext> {
    let mut given = request.headers().get_all(&TRACEPARENT).iter();
    match (given.next(), given.next()) {
        (Some(only), None) => TraceContext::parse(only.as_bytes()),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

fn cut(path: &str) -> &str {
    path.get(..path.floor_char_boundary(PATH_LIMIT)).unwrap_or(path)
}
