//! Sessions during a shift: what the published tables say about them from step to step.

use std::{collections::BTreeSet, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::world::{World, config, share};
use crate::{fleet::Side, route::Sticky, weight::Share};

const STEPS: &str = "strategy = { type = \"linear\", step = \"25%\", bake = \"10s\", final_bake = \"10s\" }\n\
    [[guard]]\nname = \"errors\"\nmetric = \"error_rate\"\nbelow = \"1%\"\n";

fn world() -> World {
    let mut config = config();
    config.endpoints[0].sticky = Some(Sticky::Header(HeaderName::from_static("x-session-id")));
    World::start_with(&config, Arc::default())
}

/// The sessions of a thousand that the published table leads to green.
fn on_green(world: &World) -> BTreeSet<u32> {
    let route = world.route();
    let is_on_green = |session: &u32| {
        let key = HeaderValue::from(*session);
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-session-id"), key)]);
        match route.session_side(&headers) {
            Some(side) => side == Side::Green,
            // Outside of a shift there is one fleet, which no key is asked for.
            None => {
                assert!(route.green.is_none(), "a session is dealt while there are two fleets");
                false
            }
        }
    };
    (0..1_000).filter(is_on_green).collect()
}

#[tokio::test(start_paused = true)]
async fn from_step_to_step_no_session_goes_back_to_blue() {
    let world = world();
    let mut before = on_green(&world);
    assert!(before.is_empty());
    let id = world.begin(STEPS).await.id;
    for (step, least) in [("25%", 200), ("50%", 450), ("75%", 700), ("100%", 1_000)] {
        world.until_share(&id, step).await;
        let now = on_green(&world);
        assert!(now.is_superset(&before), "at {step} a session went back");
        assert!(now.len() >= least, "{} at {step}", now.len());
        before = now;
    }
    let view = world.until_over(&id).await;
    assert_eq!(view.share, Share::ALL);
}

#[tokio::test(start_paused = true)]
async fn after_a_rollback_no_session_is_greens_until_the_next_shift_whose_first_are_among_those_it_had() {
    let world = world();
    let id = world.begin(STEPS).await.id;
    world.until_share(&id, "50%").await;
    let first = on_green(&world);
    assert!(!first.is_empty());
    world.fail(Side::Green, 40);
    world.pass(11).await;
    assert_eq!(
        (world.green_share(), on_green(&world).len()),
        (Share::NONE, 0),
        "at once, before it has drained"
    );
    world.until_over(&id).await;
    assert!(on_green(&world).is_empty());
    let id = world.begin(STEPS).await.id;
    world.until_share(&id, "25%").await;
    let again = on_green(&world);
    assert!(again.is_subset(&first) && !again.is_empty(), "the same green begins with sessions that it had");
    assert_eq!(world.green_share(), share("25%"));
}
