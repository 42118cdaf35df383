//! What the two random choices of a request cost: its fleet and its instance.

use std::{hint::black_box, sync::Arc};

use criterion::Criterion;
use rand::{SeedableRng, rngs::StdRng};
use snapback::{
    fleet::{Address, Fleet, Instance},
    name::Version,
    route::{Deck, Split, pick},
    weight::Share,
};

const WORKERS: usize = 8;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    deal(&mut criterion);
    choose(&mut criterion);
    criterion.final_summary();
}

fn deal(criterion: &mut Criterion) {
    for share in ["0%", "10%", "0.25%"] {
        let split = Split { green: Share::parse(share).expect("a share"), epoch: 1 };
        let (mut deck, mut rng) = (Deck::default(), rand::rng());
        criterion.bench_function(&format!("split/deal {share}"), |bencher| {
            bencher.iter(|| deck.deal(black_box(split), &mut rng));
        });
    }
}

fn choose(criterion: &mut Criterion) {
    for instances in [1, 2, 8] {
        let (fleet, mut rng) = (fleet(instances), StdRng::seed_from_u64(1));
        criterion.bench_function(&format!("split/pick of {instances}"), |bencher| {
            bencher.iter(|| pick(black_box(&fleet), None, &mut rng).map(|instance| instance.in_flight()));
        });
    }
}

fn fleet(instances: usize) -> Fleet {
    let instance = |place| {
        let address = Address::parse(&format!("127.0.0.1:{}", 9_001 + place)).expect("an address");
        let instance = Instance::new(address, WORKERS);
        (0..place).for_each(|request| instance.begin(request % WORKERS));
        Arc::new(instance)
    };
    Fleet::of(Version::parse("v1").expect("a version"), (0..instances).map(instance).collect())
}
