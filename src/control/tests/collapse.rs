//! A control task that ends in the middle of something, as no defect should make it: nobody decides any more.

use std::{cell::Cell, rc::Rc};

use super::world::{CANARY, World, share};
use crate::{fault::simulated, shift::Command, weight::Share};

#[tokio::test(start_paused = true)]
async fn when_nobody_decides_any_more_green_gets_nothing_and_the_process_says_that_it_is_not_ready() {
    let ends = Rc::new(Cell::new(false));
    let is_time = Rc::clone(&ends);
    simulated::begin(move |_| is_time.get());
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.handle.ready().unwrap();
    ends.set(true);
    world.command(&id, Command::Pause).await.unwrap_err();
    ends.set(false);
    assert_eq!(world.green_share(), share("10%"), "the table is the last one that control published");
    let not_ready = world.handle.ready().unwrap_err();
    assert!(not_ready.contains("control has ended"), "{not_ready}");
    world.pass(500).await;
    assert_eq!(world.green_share(), Share::NONE);
}
