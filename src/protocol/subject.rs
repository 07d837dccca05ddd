//! What may stand where a subject or a queue group is expected.

/// A subject or queue group that would break the protocol or that no server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSubject;

fn has_blank(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Checks a subject to publish to. Its tokens are left to the server; blanks and line ends
/// are not, as they would let a caller write protocol lines of his own.
pub fn check_publish(subject: &str) -> Result<(), BadSubject> {
    if subject.is_empty() || has_blank(subject) {
        return Err(BadSubject);
    }
    Ok(())
}

/// Checks a subject to subscribe to: no empty tokens, `*` alone in its token, `>` alone and last.
pub fn check_subscribe(subject: &str) -> Result<(), BadSubject> {
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
            return Err(BadSubject);
        }
    }
    Ok(())
}

/// Checks a queue group name; empty means none.
pub fn check_queue(queue: &str) -> Result<(), BadSubject> {
    if has_blank(queue) { Err(BadSubject) } else { Ok(()) }
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
            assert_eq!(check_publish(bad), Err(BadSubject), "{bad:?}");
        }
    }

    #[test]
    fn subscribe_subjects() {
        for good in ["a", "*", ">", "a.*", "a.>", "*.b.*"] {
            assert_eq!(check_subscribe(good), Ok(()), "{good:?}");
        }
        for bad in ["", "a..b", ".a", "a.", ">.a", "a>", "a.b*", "**", "a b"] {
            assert_eq!(check_subscribe(bad), Err(BadSubject), "{bad:?}");
        }
    }

    #[test]
    fn queue_names() {
        assert_eq!(check_queue(""), Ok(()));
        assert_eq!(check_queue("workers.*"), Ok(()));
        assert_eq!(check_queue("a b"), Err(BadSubject));
        assert_eq!(check_queue("a\r\n"), Err(BadSubject));
    }
}
