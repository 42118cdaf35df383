//! Tests that are longer than their subject: `explain` has every sentence of an explanation word for word, `openapi` holds the
//! description against routes, documents and wire types, `api` asks a whole port over a real control (`world`), `port` a bound one, `seeing` asks what a dashboard asks.

mod api;
mod explain;
mod fixture;
mod openapi;
mod port;
mod seeing;
mod world;
