//! The NATS client protocol without I/O: bytes in, operations out; commands in, bytes out.
//!
//! Nothing here knows sockets, threads or Python, which is what makes it cheap to fuzz.
//! Wire format: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

pub mod encode;
pub mod frame;
pub mod headers;
pub mod parser;
pub mod subject;
pub mod websocket;

pub use frame::Frame;
pub use parser::{Parser, ProtocolError, ServerOp};
