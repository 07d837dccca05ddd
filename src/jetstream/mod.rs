//! JetStream on the data path: what is done per message or per acknowledgement. Management
//! requests, options and dataclasses are Python's business.

pub mod delivery;
pub mod initial;
pub mod pull;
pub mod push;

#[cfg(feature = "python")]
pub mod acks;
#[cfg(feature = "python")]
pub mod entries;
#[cfg(feature = "python")]
pub mod fetch;
#[cfg(feature = "python")]
pub mod objects;
#[cfg(feature = "python")]
mod publish;
#[cfg(feature = "python")]
pub mod window;
