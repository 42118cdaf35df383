//! `messages`: what users are told, word for word. `round_trip`: what is written reads back. `shipped`: the files under `config/`.
//! `variants`: fleets of several models.

mod messages;
mod round_trip;
mod shipped;
mod variants;
