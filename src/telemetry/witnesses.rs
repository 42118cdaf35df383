//! Who is told of requests.

use std::sync::Arc;

use super::{
    access_log::AccessLog,
    exposition::Exposition,
    names::{self, LINE_RESULTS, SPAN_RESULTS},
    traces::Traces,
};

/// Who is told of requests. Where it is nobody, as by default, a request costs a look at this.
#[derive(Clone, Debug, Default)]
pub struct Witnesses {
    /// The access log.
    pub access_log: Option<Arc<AccessLog>>,
    /// Traces.
    pub traces: Option<Arc<Traces>>,
}

impl Witnesses {
    /// Whether there is any.
    pub fn are_there(&self) -> bool {
        self.access_log.is_some() || self.traces.is_some()
    }

    /// Whether somebody wants paths with their queries.
    pub fn want_query(&self) -> bool {
        self.access_log.as_ref().is_some_and(|log| log.wants_query())
    }
}

/// Writes what became of what they were told; nothing where nobody is told.
pub(super) fn write(text: &Exposition, witnesses: &Witnesses) {
    if let Some(log) = &witnesses.access_log {
        let lines = text.counters(&names::ACCESS_LOG_LINES);
        for (result, count) in LINE_RESULTS.into_iter().zip(log.counts()) {
            lines([result], count);
        }
    }
    if let Some(traces) = &witnesses.traces {
        let spans = text.counters(&names::SPANS);
        for (result, count) in SPAN_RESULTS.into_iter().zip(traces.counts()) {
            spans([result], count);
        }
    }
}
