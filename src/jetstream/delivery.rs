//! Where a delivered message stands: the tokens of its reply subject (ADR-15).

use memchr::memchr_iter;

/// `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`,
/// or the same with `<domain>.<account hash>` in front of the stream and perhaps a random
/// token at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub stream_seq: u64,
    pub consumer_seq: u64,
    /// When the message was stored: nanoseconds since 1970.
    pub timestamp: i64,
    /// Messages that the consumer has still to deliver behind this one.
    pub pending: u64,
}

const PREFIX: &[u8] = b"$JS.ACK.";
const SHORT: usize = 9;
const LONG: usize = 11;
/// Places of the stream's sequence number in the two forms; what is wanted follows it.
const SHORT_AT: usize = 5;
const LONG_AT: usize = 7;

impl Position {
    /// `None` where the subject isn't one of a JetStream delivery.
    pub fn parse(reply: &[u8]) -> Option<Self> {
        if !reply.starts_with(PREFIX) {
            return None;
        }
        // Token n lies between the dots n - 1 and n.
        let mut dots = [0; LONG + 1];
        let mut count = 0;
        for at in memchr_iter(b'.', reply) {
            if count == dots.len() {
                break;
            }
            dots[count] = at;
            count += 1;
        }
        let first = match count + 1 {
            SHORT => SHORT_AT,
            tokens if tokens >= LONG => LONG_AT,
            _ => return None,
        };
        let number = |token: usize| {
            let end = if token < count { dots[token] } else { reply.len() };
            std::str::from_utf8(&reply[dots[token - 1] + 1..end]).ok()
        };
        Some(Self {
            stream_seq: number(first)?.parse().ok()?,
            consumer_seq: number(first + 1)?.parse().ok()?,
            timestamp: number(first + 2)?.parse().ok()?,
            pending: number(first + 3)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Position = Position {
        stream_seq: 7,
        consumer_seq: 3,
        timestamp: 1_700_000_000_000_000_001,
        pending: 5,
    };

    fn parse(reply: &str) -> Option<Position> {
        Position::parse(reply.as_bytes())
    }

    #[test]
    fn both_forms() {
        assert_eq!(parse("$JS.ACK.S.C.1.7.3.1700000000000000001.5"), Some(EXPECTED));
        assert_eq!(parse("$JS.ACK._.hash.S.C.1.7.3.1700000000000000001.5"), Some(EXPECTED));
        assert_eq!(parse("$JS.ACK.hub.hash.S.C.1.7.3.1700000000000000001.5.xyz"), Some(EXPECTED));
        assert_eq!(parse("$JS.ACK.hub.hash.S.C.1.7.3.1700000000000000001.5.x.y"), Some(EXPECTED));
    }

    #[test]
    fn other_subjects() {
        for reply in [
            "",
            "_INBOX.x",
            "$JS.ACK.",
            "$JS.ACK.S.C.1.7.3.1700000000000000001",
            "$JS.ACK.S.C.1.7.3.1700000000000000001.5.x",
            "$JS.ACK.S.C.1.seven.3.1700000000000000001.5",
            "$JS.FC.S.C.1.7.3.1700000000000000001.5",
        ] {
            assert_eq!(parse(reply), None, "{reply}");
        }
    }
}
