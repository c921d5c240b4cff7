//! What callers ask for: unit names, scopes and slices, and the properties they carry.

mod list;
pub(crate) mod name;
mod properties;
mod property;
mod range;
mod request;
mod resource;
mod scope;
mod slice;
pub(crate) mod spread;
mod update;
mod value;

pub(crate) use list::merge;
pub(crate) use properties::Properties;
pub use property::Property;
pub use request::{KillWhom, OnExists};
pub use resource::DevicePolicy;
pub use scope::Scope;
pub(crate) use scope::check_pid;
pub use slice::Slice;
pub use spread::Spread;
pub use update::Update;
pub use value::Value;
