//! Where a delivered message stands: the tokens of its reply subject (ADR-15).

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
        // One pass over it: this runs for every delivered message, for some of them twice.
        let mut tokens = [None; LONG];
        let mut count = 0;
        for token in reply.split(|&byte| byte == b'.').take(LONG + 1) {
            if let Some(slot) = tokens.get_mut(count) {
                *slot = decimal(token);
            }
            count += 1;
        }
        let first = match count {
            SHORT => SHORT_AT,
            LONG.. => LONG_AT,
            _ => return None,
        };
        Some(Self {
            stream_seq: tokens[first]?,
            consumer_seq: tokens[first + 1]?,
            timestamp: tokens[first + 2]?.try_into().ok()?,
            pending: tokens[first + 3]?,
        })
    }
}

/// The number that consists of these digits.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(digit.into()) }
    })
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
            "$JS.ACK.S.C.1.7.3.1700000000000000001.",
            "$JS.ACK.S.C.1.7.3.9223372036854775808.5",
            "$JS.ACK.S.C.1.18446744073709551616.3.1700000000000000001.5",
            "$JS.FC.S.C.1.7.3.1700000000000000001.5",
        ] {
            assert_eq!(parse(reply), None, "{reply}");
        }
    }
}
