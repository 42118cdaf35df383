//! Fleets that a declaration brings in, made by a provider: they take the place of the one in service when they are ready.

use std::num::NonZeroU32;

use super::world::{Memory, World, chat};
use crate::{
    config::{self, Config},
    control::Execution,
};

fn config(version: &str) -> Config {
    let maker = "type = \"command\", provision = [\"make\"], list = [\"list\"], retire = [\"end\"]";
    let text = format!(
        "[data]\nlisten = [\"127.0.0.1:8080\"]\nworkers = 1\n[[endpoint]]\nname = \"chat\"\n\
         blue = {{ version = \"{version}\", provider = {{ {maker}, count = 3 }} }}\n"
    );
    config::parse(&text, "test.toml").unwrap()
}

fn serves(world: &World) -> String {
    world.route().blue.fleet.version.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_declared_fleet_that_lacks_one_instance_comes_in_when_it_is_to_have_one_less() {
    let world = World::start_with(&config("v1"), Memory::with_commits(&[]));
    world.pass(3_000).await;
    // Of those that are made next, the one that the provider tells of last.
    world.checks.set_sick(&["127.0.0.1:20004"]);
    let declared = config("v2").endpoints.remove(0);
    world.handle.put_endpoint(declared, "ann", Execution::Real).await.unwrap();
    world.pass(10_000).await;
    assert_eq!(serves(&world), "v1", "one of three is not ready");
    let two = NonZeroU32::new(2).unwrap();
    world.handle.scale_endpoint(&chat(), two, &"ann".into(), Execution::Real).await.unwrap();
    world.pass(2_000).await;
    assert_eq!(serves(&world), "v2");
    world.pass(60_000).await;
    assert_eq!(world.orchestra.fleets().values().sum::<usize>(), 2, "nothing else is left");
}
