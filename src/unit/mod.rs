//! What callers ask for: unit names, scopes and slices, and the properties they carry.

pub(crate) mod name;
mod property;
mod request;
mod scope;
mod slice;
mod value;

pub use property::Property;
pub use request::{KillWhom, OnExists};
pub use scope::Scope;
pub use slice::Slice;
pub use value::Value;
