//! The C API, whose header is made from what is documented here. `unsafe` is in `pass` alone, where texts, arrays and
//! places for results come from C; everything else of the program's is a key of the table in `handle`.
//!
//! These functions take what C gives by types that look at it before it is believed, and so are not `unsafe` themselves:
//! nothing but C calls them.

#![allow(unsafe_code, reason = "the boundary to C is made of exported names and raw pointers")]
#![allow(non_camel_case_types, reason = "these are C's names")]

mod active;
mod ended;
mod error;
mod handle;
mod list;
mod log;
mod manager;
mod pass;
mod request;
mod resource;
mod spawn;
mod ticket;
mod units;
mod value;
mod watch;
