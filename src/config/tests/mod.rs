//! What users are told, word for word: `messages` of endpoints, `file_messages`, `plan_messages` and `alarm_messages` of the rest.
//! `round_trip`: what is written reads back, with every plan that `any_plan` makes. `shipped`: the files under `config/`. `variants`: fleets
//! of several models.

mod alarm_messages;
mod any_plan;
mod file_messages;
mod messages;
mod plan_messages;
mod round_trip;
mod shipped;
mod variants;
