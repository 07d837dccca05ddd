//! Pull consumers: requests for messages and what the server answers them with (ADR-13, ADR-37).
//!
//! Messages of a consumer don't tell which request has brought them; the server's words about a
//! request do, by its reply subject. So messages go to whoever waits, oldest first, and statuses
//! to the request that they are about.

mod desk;
mod fetch;
mod request;
mod status;

pub use desk::Desk;
pub use fetch::{Action, Fetch};
pub use request::{PullRequest, Terms};
