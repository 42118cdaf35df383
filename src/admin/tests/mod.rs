//! Tests that are longer than their subject: `explain` has every sentence of an explanation word for word, `openapi` holds the
//! description against routes and wire types.

mod explain;
mod fixture;
mod openapi;
