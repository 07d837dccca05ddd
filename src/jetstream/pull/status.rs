//! What a server says about a pull request instead of sending a message.

use crate::protocol::{Frame, headers};

/// What a status means for the request that it answers. All but a heartbeat end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The request is alive, and there is nothing to send.
    Heartbeat,
    /// There is nothing now, for a request that doesn't wait.
    NoMessages,
    /// It has had its time or its messages, or others wait before it.
    Over,
    /// Who was to serve it does so no more; asked anew, somebody else will.
    Lost,
    /// Too many requests wait.
    Busy,
    /// Nobody serves requests of this consumer.
    Unavailable,
    /// It may not wait that long.
    ExpiryRefused,
    /// It will never be served, and asking again won't help.
    Refused,
}

const BATCH_COMPLETED: &str = "Batch Completed";
const LEADERSHIP_CHANGE: &str = "Leadership Change";
const SERVER_SHUTDOWN: &str = "Server Shutdown";
const EXCEEDED_MAX_WAITING: &str = "Exceeded MaxWaiting";
const EXCEEDED_MAX_EXPIRES: &str = "Exceeded MaxRequestExpires";

impl Status {
    /// `None` for a message of the stream: it has a reply subject for its acknowledgement,
    /// whatever its headers say.
    pub fn of(frame: &Frame) -> Option<Self> {
        if !frame.reply().is_empty() {
            return None;
        }
        let block = frame.headers();
        Some(match headers::inline_status(block)? {
            "100" => Self::Heartbeat,
            "404" => Self::NoMessages,
            "408" => Self::Over,
            "409" => Self::of_conflict(block),
            "503" => Self::Unavailable,
            _ => Self::Refused,
        })
    }

    fn of_conflict(block: &[u8]) -> Self {
        let mut status = Self::Refused;
        headers::parse(block, |name, description| {
            if name == headers::DESCRIPTION {
                status = match description {
                    BATCH_COMPLETED => Self::Over,
                    LEADERSHIP_CHANGE | SERVER_SHUTDOWN => Self::Lost,
                    EXCEEDED_MAX_WAITING => Self::Busy,
                    limit if limit.starts_with(EXCEEDED_MAX_EXPIRES) => Self::ExpiryRefused,
                    _ => Self::Refused,
                };
            }
        });
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jetstream::pull::desk::tests::{message, status};

    #[test]
    fn what_servers_say() {
        for (text, expected) in [
            ("100 Idle Heartbeat", Status::Heartbeat),
            ("404 No Messages", Status::NoMessages),
            ("408 Request Timeout", Status::Over),
            ("408 Requests Pending", Status::Over),
            ("408 Interest Expired", Status::Over),
            ("409 Batch Completed", Status::Over),
            ("409 Leadership Change", Status::Lost),
            ("409 Server Shutdown", Status::Lost),
            ("409 Exceeded MaxWaiting", Status::Busy),
            ("409 Exceeded MaxRequestExpires of 200ms", Status::ExpiryRefused),
            ("409 Exceeded MaxRequestBatch of 2", Status::Refused),
            ("409 Exceeded MaxRequestMaxBytes of 10", Status::Refused),
            ("409 Message Size Exceeds MaxBytes", Status::Refused),
            ("409 Consumer Deleted", Status::Refused),
            ("409 Consumer is push based", Status::Refused),
            ("400 Bad Request - heartbeat value too large", Status::Refused),
            ("412 Required Api Level", Status::Refused),
            ("423 Nats-Wrong-Pin-Id", Status::Refused),
            ("503", Status::Unavailable),
        ] {
            assert_eq!(Status::of(&status(1, text)), Some(expected), "{text}");
        }
    }

    #[test]
    fn messages_have_none() {
        assert_eq!(Status::of(&message("x")), None);
    }
}
