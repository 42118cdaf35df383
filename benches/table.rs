//! What it costs to read the table and to find a request's endpoint in it.

use std::{hint::black_box, sync::Arc};

use arc_swap::{ArcSwap, cache::Cache};
use criterion::Criterion;
use http::HeaderMap;
use snapback::{
    fleet::Fleet,
    meter::{FleetMeters, Recording},
    name::{EndpointName, Version},
    route::{
        Balance, EndpointRoute, EndpointSlot, FailureClasses, FleetRoute, Generation, Limits, Lookup,
        MatchRule, ModelKey, Protection, RequestKey, RescuePolicy, RouteTable, Signals, Split, Upgrades,
    },
};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    load(&mut criterion);
    find(&mut criterion);
    criterion.final_summary();
}

fn load(criterion: &mut Criterion) {
    let shared = Arc::new(ArcSwap::from_pointee(table(100)));
    let mut cache = Cache::new(Arc::clone(&shared));
    criterion.bench_function("table/load through the cache", |bencher| {
        bencher.iter(|| Arc::clone(cache.load()).generation());
    });
}

fn find(criterion: &mut Criterion) {
    let (table, headers) = (table(100), HeaderMap::new());
    for (place, path) in
        [("first", "/endpoint-000/v1/chat"), ("last", "/endpoint-099/v1/chat"), ("none", "/other")]
    {
        let key =
            RequestKey { host: Some("models.example.org"), path, headers: &headers, model: ModelKey::Unread };
        criterion.bench_function(&format!("table/find of 100, {place}"), |bencher| {
            bencher.iter(|| matches!(table.find(black_box(&key)), Lookup::Found(_)));
        });
    }
}

/// Endpoints told apart by the paths' first segments, all of one length, so that each is asked in turn.
fn table(endpoints: u32) -> RouteTable {
    let endpoint = |place| {
        let name = format!("endpoint-{place:03}");
        Arc::new(EndpointRoute {
            slot: EndpointSlot(place),
            name: EndpointName::parse(&name).expect("a name"),
            rule: MatchRule { path_prefix: Some(format!("/{name}/")), ..MatchRule::default() },
            limits: Limits::default(),
            failures: FailureClasses::default(),
            rescue: RescuePolicy::default(),
            sticky: None,
            variant_header: None,
            invocations: None,
            balance: Balance::default(),
            protection: Protection::default(),
            rewrite: None,
            upgrades: Upgrades::default(),
            signals: Signals::Auto,
            split: Split::default(),
            blue: FleetRoute {
                fleet: Arc::new(Fleet::of(Version::parse("v1").expect("a version"), Vec::new())),
                meters: Arc::new(FleetMeters::new(1)),
            },
            green: None,
            leg: None,
            watch: None,
            recording: Recording::default(),
            shadow: None,
        })
    };
    RouteTable::new(Generation(1), (0..endpoints).map(endpoint).collect())
}
