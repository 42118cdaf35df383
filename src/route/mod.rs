//! The route table: an immutable snapshot of all endpoints, and the choices made from it for each request: which
//! endpoint (match), which variant where it has several, which fleet (deck), which instance (balance).
//!
//! Pure: randomness is an argument. Control builds and publishes tables; the data plane reads one per request.

mod balance;
mod balancing;
mod deck;
mod failure_body;
mod failures;
mod hash;
mod invocations;
mod matching;
mod model;
mod path;
mod protection;
mod rescue;
mod session;
mod shadow;
mod signals;
mod sticky;
mod table;
mod underscores;
mod upgrades;
mod variants;

#[cfg(test)]
mod tests;

pub use balance::{pick, pick_by};
pub use balancing::{Balance, Choice, HashKey, Turns};
pub use deck::Deck;
pub use failure_body::{BodyScanner, BodySign, FailureBody};
pub use failures::FailureClasses;
pub use hash::hash;
pub use invocations::Invocations;
pub use matching::{HostPattern, MatchRule, RequestKey};
pub use model::{
    GrpcScanner, JsonScanner, ModelKey, ModelScanner, PromptScanner, Scan, StreamScanner, StreamWish,
    model_of_message, model_of_path,
};
pub use path::{PathError, Rewrite, normalise};
pub use protection::{Admission, Blame, EjectingFleets, Ejection, Judgement, Protection, ShedStatus};
pub use rescue::{GrpcStatuses, HedgePolicy, HedgedFleets, Replayed, RescuePolicy, RescueUntil, Statuses};
pub use session::{Session, Sign, unmark_session};
pub use shadow::{Miss, Missed, Shadow};
pub use signals::Signals;
pub use sticky::{Sticky, sticky_side};
pub use table::{
    EndpointRoute, EndpointSlot, FleetRoute, Generation, HalfClose, Leg, Limits, Lookup, RouteTable, Split,
};
pub use underscores::Underscores;
pub use upgrades::{UpgradeError, Upgrades};
pub use variants::{UnknownVariant, VariantDeck, VariantDecks};
