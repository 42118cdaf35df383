//! Rolling shifts over fleets of processes: how many there are at most, on the way forward and back, and that none is left.

use std::{
    cell::Cell,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    bench::Snapback,
    providing::{Place, provider, wait_for, wait_until_healthy},
};

/// A rolling shift of the fleet in service by ones.
fn plan(bake: &str) -> Value {
    json!({
        "green": { "version": "v2", "provider": provider("v2", None) },
        "strategy": { "type": "rolling", "batch": 1, "bake": bake },
        "guard": [{ "metric": "error_rate", "below": "5%" }],
    })
}

/// Three processes of blue, all of them in service.
fn three() -> (Place, Snapback) {
    let place = Place::new(3);
    let snapback = place.start();
    wait_until_healthy(&snapback, 3);
    (place, snapback)
}

/// Waits until the fleet's three processes are all that there are.
fn wait_for_fleet(place: &Place, fits: impl Fn(&str) -> bool) {
    wait_for("three processes of one fleet", || {
        let processes = place.processes();
        (processes.len() == 3 && processes.iter().all(|(_, fleet)| fits(fleet))).then_some(())
    });
}

#[test]
fn of_three_processes_never_more_than_four_are_there_and_at_the_end_only_greens() {
    let (place, snapback) = three();
    let id = snapback.start_shift(&plan("300ms"));
    let most = Cell::new(0);
    let shift = snapback.drive_until(&id, |shift| {
        most.set(most.get().max(place.instances()));
        shift["over"] == true
    });
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    assert_eq!(most.get(), 4, "N + b");
    wait_for_fleet(&place, |fleet| fleet == id);
    wait_until_healthy(&snapback, 3);
    assert_eq!(snapback.ask().body, b"v2");
}

#[test]
fn an_abort_goes_back_one_for_one_and_leaves_blues_processes_alone() {
    let (place, snapback) = three();
    let mut plan = plan("20m");
    plan["strategy"]["rollback_batch"] = json!(1);
    let id = snapback.start_shift(&plan);
    for (step, share) in [(1, "33.34%"), (2, "66.67%")] {
        snapback.drive_until(&id, |shift| shift["share"] == share);
        let skip = json!({ "skip": "bake", "step": step }).to_string();
        let (status, told) = snapback.admin("POST", &format!("/v1/shifts/{id}/promote"), &skip);
        assert_eq!(status, 200, "{told}");
    }
    snapback.drive_until(&id, |shift| shift["share"] == "100%");
    let (status, _) = snapback.admin("POST", &format!("/v1/shifts/{id}/abort"), "");
    assert_eq!(status, 200);
    let most = Cell::new(0);
    let shift = snapback.drive_until(&id, |shift| {
        most.set(most.get().max(place.instances()));
        shift["over"] == true
    });
    let transitions = shift["transitions"].as_array().unwrap();
    let mut shares: Vec<_> = transitions.iter().map(|step| step["share"].as_str().unwrap()).collect();
    shares.dedup();
    let way_back: Vec<_> = shares.into_iter().skip_while(|share| *share != "100%").skip(1).collect();
    assert_eq!(shift["state"], "rolled_back", "{shift:#}");
    assert_eq!(way_back, ["66.67%", "33.34%", "0%"], "batch by batch");
    assert!(most.get() <= 4, "{}", most.get());
    wait_for_fleet(&place, |fleet| fleet != id);
    wait_until_healthy(&snapback, 3);
    assert_eq!(snapback.ask().body, b"v1");
}

/// Kills the proxy after ever longer times, so that the blow falls while batches are made, while they bake and while they are let go.
#[test]
fn kill_nine_in_any_batch_is_gone_on_from_and_leaves_none_behind() {
    let (place, mut snapback) = three();
    let id = snapback.start_shift(&plan("100ms"));
    for round in 0..10 {
        let pause = Instant::now() + Duration::from_millis(round * 37);
        while Instant::now() < pause {
            snapback.ask();
        }
        snapback.kill_nine();
        snapback = place.start();
        assert_eq!(snapback.ask().status, 200, "there is always somebody who serves");
    }
    let shift = snapback.drive_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "promoted", "{shift:#}");
    wait_for_fleet(&place, |fleet| fleet == id);
    wait_until_healthy(&snapback, 3);
    let fleets: BTreeSet<_> = place.processes().into_iter().map(|(_, fleet)| fleet).collect();
    assert_eq!(fleets, BTreeSet::from([id]));
}
