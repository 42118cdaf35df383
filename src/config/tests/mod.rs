//! `messages`: what users are told, word for word. `round_trip`: what is written reads back. `shipped`: the files under `config/`.

mod messages;
mod round_trip;
mod shipped;
