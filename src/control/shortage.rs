//! What blue lacks at the moment at which it takes everything back.
//!
//! Going back waits for nobody, so nothing here decides: blue's instances take no more than they may at a time, what they have no room for waits in
//! its queue or is shed, and green's open requests end where they are. But whoever is called because of a rollback is told in its first event
//! that the fleet they rely on is not what it was.

use std::{num::NonZeroU32, time::Duration};

use serde_json::json;

use super::{
    endpoint::{Endpoint, Links},
    ledger::Draft,
    outlook,
    run::Run,
};
use crate::{
    fleet::{Fleet, Health},
    shift::State,
    time::{WallTime, format_duration},
    weight::Share,
};

/// A blue that had no request for so long has let go of what it keeps at hand for them: connections that instances close when they are idle
/// (most do after a minute), caches, and the workers that a server ends.
const COLD_AFTER: Duration = Duration::from_secs(60);

/// What blue lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shortage {
    /// How many instances it should have.
    wanted: usize,
    /// How many of them are healthy, or not known to be otherwise.
    usable: usize,
    /// How many requests those take at a time; `None` for any number.
    room: Option<u64>,
    /// Requests in flight on both fleets, which is about what blue gets from now on.
    in_flight: u64,
    /// How long blue had no request, where that was long.
    idle: Option<Duration>,
}

impl Endpoint {
    /// Says in the change of state that has just been remembered, and in an event of its own, what blue lacks, if it does. A rolling shift has taken
    /// blue's instances itself, and says in its states how they come back.
    pub(super) fn note_shortage(&mut self, links: &Links) {
        let wanted = usize::try_from(self.count()).unwrap_or(usize::MAX);
        let by_default = self.record.declared.protection.admission.max_concurrency;
        let Some(run) = &mut self.run else { return };
        let goes_back = matches!(run.engine.state(), State::RollingBack { .. });
        if !goes_back || run.plan.shift.rolling().is_some() {
            return;
        }
        let on_green = run.green_fleet().map_or(0, |green| green.in_flight());
        let now = links.timer.wall_of(links.timer.now());
        let idle = run.idle_blue(now).filter(|idle| *idle >= COLD_AFTER);
        let Some(shortage) = Shortage::of(&self.blue.route.fleet, wanted, by_default, (on_green, idle))
        else {
            return;
        };
        let text = shortage.text();
        run.blue_short = Some(text.clone());
        if let Some(change) = run.transitions.last_mut() {
            change.cause = format!("{}; {text}", change.cause);
        }
        let Shortage { wanted, usable, room, in_flight, idle } = shortage;
        let idle = idle.map(|idle| idle.as_secs());
        let evidence = json!({ "instances": wanted, "usable": usable, "room": room, "in_flight": in_flight, "idle_seconds": idle });
        let warning = Draft {
            endpoint: Some(run.endpoint.clone()),
            shift: Some(run.id.clone()),
            share: Some(run.share()),
            evidence: Some(evidence),
            ..Draft::new(now, "shift.warning", "prober", format!("blue: {text}"))
        };
        tracing::warn!(endpoint = %run.endpoint, shift = %run.id, text, "blue is short of what it had");
        run.unwritten.get_or_insert_default().push(warning);
    }
}

impl Shortage {
    /// `None` where blue has all its instances and, as far as is known, room for what both fleets have, and has had requests lately.
    fn of(
        blue: &Fleet,
        wanted: usize,
        by_default: Option<NonZeroU32>,
        (on_green, idle): (u64, Option<Duration>),
    ) -> Option<Self> {
        let usable = || blue.instances.iter().filter(|instance| instance.health() != Health::Unhealthy);
        let room = outlook::room(usable().map(|instance| instance.max_concurrency()), by_default);
        let shortage = Self {
            wanted,
            usable: usable().count(),
            room,
            in_flight: blue.in_flight().saturating_add(on_green),
            idle,
        };
        let is_full = room.is_some_and(|room| room < shortage.in_flight);
        (shortage.usable < wanted || is_full || idle.is_some()).then_some(shortage)
    }

    fn text(&self) -> String {
        let Self { wanted, usable, room, in_flight, idle } = self;
        let instances = match usable {
            0 if *wanted == 1 => "its only instance is not usable as it takes everything back".to_owned(),
            0 => format!("none of its {wanted} instances is usable as it takes everything back"),
            _ if usable < wanted => {
                format!("{usable} of its {wanted} instances are usable as it takes everything back")
            }
            _ => "it takes everything back".to_owned(),
        };
        let text = match room.filter(|room| room < in_flight) {
            Some(room) => format!(
                "{instances}, with room for {room} requests at a time and {in_flight} in flight on both fleets: the others wait in its queue or are shed"
            ),
            None => instances,
        };
        match idle {
            Some(idle) => format!(
                "{text}, after {} without a request: its first answers may be slow",
                format_duration(Duration::from_secs(idle.as_secs()))
            ),
            None => text,
        }
    }
}

impl Run {
    /// How long green had everything before the change of state that has just been remembered.
    fn idle_blue(&self, now: WallTime) -> Option<Duration> {
        let (_, before) = self.transitions.split_last()?;
        let since = before.iter().rev().take_while(|change| change.share == Share::ALL).last()?.at;
        let millis = now.as_millis().saturating_sub(since.as_millis());
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        fleet::{Address, Instance},
        name::Version,
    };

    /// What a blue lacks whose instances are healthy or not and have these many requests in flight, with so many more on green.
    fn lacks(instances: &[(Health, u32)], most: Option<u32>, on_green: u64) -> Option<String> {
        let made = instances.iter().map(|(health, count)| {
            let instance = Instance::new(Address::parse("127.0.0.1:9001").unwrap(), 1);
            instance.set_health(*health);
            (0..*count).for_each(|_| instance.begin(0));
            Arc::new(instance)
        });
        let fleet = Fleet::of(Version::parse("v1").unwrap(), made.collect());
        let wanted = instances.len().max(2);
        let most = most.and_then(NonZeroU32::new);
        Shortage::of(&fleet, wanted, most, (on_green, None)).map(|shortage| shortage.text())
    }

    #[test]
    fn a_blue_that_had_no_request_for_long_is_told_of_too() {
        let instance = Arc::new(Instance::new(Address::parse("127.0.0.1:9001").unwrap(), 1));
        let fleet = Fleet::of(Version::parse("v1").unwrap(), vec![instance]);
        let cold = Shortage::of(&fleet, 1, None, (0, Some(Duration::from_millis(1_800_250)))).unwrap();
        assert_eq!(
            cold.text(),
            "it takes everything back, after 30m without a request: its first answers may be slow"
        );
    }

    #[test]
    fn a_blue_that_is_whole_and_has_room_lacks_nothing() {
        let two = [(Health::Healthy, 3), (Health::Unknown, 3)];
        assert_eq!(lacks(&two, None, 1_000), None);
        assert_eq!(lacks(&two, Some(8), 10), None);
    }

    #[test]
    fn missing_instances_and_missing_room_are_told_with_their_numbers() {
        let one = [(Health::Healthy, 3), (Health::Unhealthy, 0)];
        let told = "1 of its 2 instances are usable as it takes everything back";
        assert_eq!(lacks(&one, None, 4).unwrap(), told);
        assert_eq!(lacks(&[(Health::Healthy, 3)], None, 4).unwrap(), told, "a provider has lost one");
        assert_eq!(
            lacks(&one, Some(4), 4).unwrap(),
            format!(
                "{told}, with room for 4 requests at a time and 7 in flight on both fleets: the others wait in its queue or are shed"
            )
        );
        let none = [(Health::Unhealthy, 0); 2];
        assert_eq!(
            lacks(&none, None, 0).unwrap(),
            "none of its 2 instances is usable as it takes everything back"
        );
        let whole = [(Health::Healthy, 3); 2];
        assert!(
            lacks(&whole, Some(4), 4)
                .unwrap()
                .starts_with("it takes everything back, with room for 8 requests")
        );
    }
}
