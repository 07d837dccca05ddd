//! What may stand where a subject or a queue group is expected.

use std::fmt;

/// A subject or queue group that would break the protocol or that no server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSubject<'a>(pub &'a str);

/// Quoted, and not all of it if it is long.
impl fmt::Display for BadSubject<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        match self.0.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(formatter, "{:?}...", &self.0[..end]),
            None => write!(formatter, "{:?}", self.0),
        }
    }
}

fn has_blank(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Checks a subject to publish to. Its tokens are left to the server; blanks and line ends
/// are not, as they would let a caller write protocol lines of his own.
pub fn check_publish(subject: &str) -> Result<(), BadSubject<'_>> {
    if subject.is_empty() || has_blank(subject) {
        return Err(BadSubject(subject));
    }
    Ok(())
}

/// Checks a subject to subscribe to: no empty tokens, `*` alone in its token, `>` alone and last.
pub fn check_subscribe(subject: &str) -> Result<(), BadSubject<'_>> {
    check_publish(subject)?;
    let mut tokens = subject.split('.').peekable();
    while let Some(token) = tokens.next() {
        let valid = match token {
            "" => false,
            ">" => tokens.peek().is_none(),
            "*" => true,
            _ => !token.contains(['*', '>']),
        };
        if !valid {
            return Err(BadSubject(subject));
        }
    }
    Ok(())
}

/// Checks a queue group name; empty means none.
pub fn check_queue(queue: &str) -> Result<(), BadSubject<'_>> {
    if has_blank(queue) { Err(BadSubject(queue)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publish_subjects() {
        for good in ["a", "a.b", "a..b", "*", "a.>", ".a", "é"] {
            assert_eq!(check_publish(good), Ok(()), "{good:?}");
        }
        for bad in ["", " ", "a b", "a\tb", "a\rb", "a\nPUB b 0\r\n"] {
            assert_eq!(check_publish(bad), Err(BadSubject(bad)), "{bad:?}");
        }
    }

    #[test]
    fn subscribe_subjects() {
        for good in ["a", "*", ">", "a.*", "a.>", "*.b.*"] {
            assert_eq!(check_subscribe(good), Ok(()), "{good:?}");
        }
        for bad in ["", "a..b", ".a", "a.", ">.a", "a>", "a.b*", "**", "a b"] {
            assert_eq!(check_subscribe(bad), Err(BadSubject(bad)), "{bad:?}");
        }
    }

    #[test]
    fn queue_names() {
        assert_eq!(check_queue(""), Ok(()));
        assert_eq!(check_queue("workers.*"), Ok(()));
        assert_eq!(check_queue("a b"), Err(BadSubject("a b")));
        assert_eq!(check_queue("a\r\n"), Err(BadSubject("a\r\n")));
    }

    #[test]
    fn texts() {
        assert_eq!(BadSubject("a\r\nb").to_string(), r#""a\r\nb""#);
        assert_eq!(BadSubject(&"é".repeat(200)).to_string(), format!("{:?}", "é".repeat(200)));
        let long = BadSubject(&"é".repeat(1_000_000)).to_string();
        assert_eq!(long, format!("{:?}...", "é".repeat(200)));
    }
}
