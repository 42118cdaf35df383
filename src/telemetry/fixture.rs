//! An endpoint with a fleet or two, whose meters a test can bump.

use std::{sync::Arc, time::Duration};

use crate::{
    fleet::{Address, Fleet, Health, Instance, Side},
    meter::{FailureKind, FleetMeters, Outcome, Recording, Stamp, Verdict},
    name::{EndpointName, VariantName, Version},
    route::{
        Balance, EndpointRoute, EndpointSlot, FailureClasses, FleetRoute, Generation, Limits, MatchRule,
        Protection, RescuePolicy, RouteTable, Signals, Split, Upgrades,
    },
    time::Moment,
    weight::Share,
};

pub(super) struct Fixture {
    route: EndpointRoute,
}

/// A complete answer after this long.
pub(super) fn good(millis: u64) -> Outcome {
    Outcome {
        status: Some(200),
        first_byte: Some(Duration::from_millis(millis) / 2),
        bytes_in: 10,
        bytes_out: 100,
        ..Outcome::of(Verdict::Success, Duration::from_millis(millis))
    }
}

/// A failure without an answer.
pub(super) fn bad(kind: FailureKind) -> Outcome {
    Outcome { verdict: Verdict::Failure(kind), status: None, first_byte: None, ..good(7) }
}

fn fleet(version: &str, port: u16) -> FleetRoute {
    let address = Address::parse(&format!("127.0.0.1:{port}")).unwrap();
    let instance = Instance::new(address, 2);
    instance.set_health(Health::Healthy);
    FleetRoute {
        fleet: Arc::new(Fleet::of(Version::parse(version).unwrap(), vec![Arc::new(instance)])),
        meters: Arc::new(FleetMeters::new(2)),
    }
}

impl Fixture {
    /// Blue at 75%, green at 25%.
    pub(super) fn with_green() -> Self {
        let route = EndpointRoute {
            slot: EndpointSlot(0),
            name: EndpointName::parse("chat").unwrap(),
            rule: MatchRule::default(),
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
            recording: Recording::default(),
            shadow: None,
            split: Split { green: Share::from_basis_points(2_500).unwrap(), epoch: 1 },
            blue: fleet("v1", 9001),
            green: Some(fleet("v2", 9002)),
            leg: None,
            watch: None,
        };
        Self { route }
    }

    pub(super) fn table(&self) -> RouteTable {
        RouteTable::new(Generation(7), vec![Arc::new(self.route.clone())])
    }

    /// Deals and settles so many requests of a side.
    pub(super) fn settle(&self, side: Side, count: u64, outcome: &Outcome) {
        Self::settle_on(&self.route.fleet(side).unwrap().meters, count, outcome);
    }

    pub(super) fn settle_on(meters: &FleetMeters, count: u64, outcome: &Outcome) {
        for number in 0..count {
            let shard = meters.shard(usize::from(number % 2 == 1));
            shard.dealt(Stamp::default(), Moment::from_nanos(number + 1));
            shard.settled(Stamp::default(), None, outcome);
        }
    }

    /// Both fleets have variants of these names.
    pub(super) fn vary(&mut self, names: [&str; 2]) {
        let names = names.map(|name| VariantName::parse(name).unwrap());
        for fleet in std::iter::once(&mut self.route.blue).chain(&mut self.route.green) {
            fleet.meters = Arc::new(FleetMeters::with_variants(2, names.iter()));
        }
    }

    /// The same as [`Self::settle`] of one of a side's variants.
    pub(super) fn settle_variant(&self, side: Side, variant: &str, count: u64, outcome: &Outcome) {
        let meters = &self.route.fleet(side).unwrap().meters;
        let (_, meters) = meters.variants().iter().find(|(name, _)| name.as_str() == variant).unwrap();
        Self::settle_on(meters, count, outcome);
    }

    /// Deals a request that does not end.
    pub(super) fn deal(&self, side: Side) {
        self.route.fleet(side).unwrap().meters.shard(0).dealt(Stamp::default(), Moment::from_nanos(1));
    }

    /// Green becomes blue.
    pub(super) fn promote(&mut self) {
        self.route.blue = self.route.green.take().unwrap();
        self.route.split = Split { green: Share::NONE, epoch: 2 };
    }

    /// Green leaves the table; a request that is still running holds its meters.
    pub(super) fn drop_green(&mut self) -> Arc<FleetMeters> {
        self.route.split = Split { green: Share::NONE, epoch: 2 };
        self.route.green.take().unwrap().meters
    }
}
