//! What reading a model server's stream costs for each event that passes.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::Criterion;
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use snapback::{clock, meter::FleetMeters, proxy::Tap, time::Moment};

/// As vLLM sends them, a token each.
const EVENT: &str = concat!(
    r#"data: {"id":"chatcmpl-8b1f6c0e5d2a4c7f9e3b","object":"chat.completion.chunk","created":1764021600,"model":"llama-3","#,
    r#""choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}"#,
    "\n\n"
);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))]);
    let tap = || {
        let mut tap = Tap::of(200, &headers).expect("it is an event stream");
        tap.read(EVENT.as_bytes(), Moment::from_nanos(1), true, |_| {});
        tap
    };
    criterion.bench_function("tap/event", |bencher| {
        let (mut tap, mut nanos) = (tap(), 1);
        bencher.iter(|| {
            nanos += 1_000_000;
            tap.read(black_box(EVENT.as_bytes()), Moment::from_nanos(nanos), true, |gap: Duration| {
                black_box(gap);
            })
        });
    });
    criterion.bench_function("tap/event, with the clock read and the gap counted", |bencher| {
        let (mut tap, meters) = (tap(), Arc::new(FleetMeters::new(1)));
        bencher.iter(|| {
            tap.read(black_box(EVENT.as_bytes()), clock::now(), true, |gap| meters.shard(0).token_gap(gap))
        });
    });
    criterion.final_summary();
}
