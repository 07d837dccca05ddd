//! Message headers (ADR-4): `NATS/1.0`, an optional inline status, then `Name: value` lines.

/// First line of every header block.
pub const VERSION: &[u8] = b"NATS/1.0";
/// Key under which an inline status such as `503` is presented.
pub const STATUS: &str = "Status";
/// Key under which the text behind an inline status is presented.
pub const DESCRIPTION: &str = "Description";

/// Digits of an inline status; one blank stands between it and its text.
const STATUS_LEN: usize = 3;

/// A header name that is no RFC 7230 token; holds the offending name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHeader(pub String);

/// Starts a header block; follow with [`push`] and [`finish`].
pub fn start(out: &mut Vec<u8>) {
    out.extend_from_slice(VERSION);
    out.extend_from_slice(b"\r\n");
}

/// Adds one header. Names and values are trimmed, an empty name is skipped, and line ends
/// within a value become spaces so that it can't end its line.
pub fn push(out: &mut Vec<u8>, name: &str, value: &str) -> Result<(), BadHeader> {
    let name = strip(name);
    if name.is_empty() {
        return Ok(());
    }
    if !name.bytes().all(is_token_byte) {
        return Err(BadHeader(name.to_owned()));
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend(strip(value).bytes().map(|byte| match byte {
        b'\r' | b'\n' => b' ',
        other => other,
    }));
    out.extend_from_slice(b"\r\n");
    Ok(())
}

pub fn finish(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// As Python's `str.strip`, which counts the information separators as blanks.
fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || is_separator(c))
}

fn is_separator(c: char) -> bool {
    ('\u{1c}'..='\u{1f}').contains(&c)
}

/// As Python's `bytes.strip`.
fn strip_bytes(mut bytes: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    while let [first, rest @ ..] = bytes
        && is_blank(first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(last)
    {
        bytes = rest;
    }
    bytes
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The inline status of a header block, e.g. `503`: what a server says instead of a message.
pub fn inline_status(block: &[u8]) -> Option<&str> {
    let inline = block.strip_prefix(VERSION)?.strip_prefix(b" ")?;
    let status = inline.get(..STATUS_LEN)?;
    let is_status = status.iter().all(u8::is_ascii_digit);
    if is_status { std::str::from_utf8(status).ok() } else { None }
}

/// Reads a header block, passing name and value of each header to `emit` in order.
///
/// Lenient as the reference is: a line without a colon, or whose name isn't ASCII or holds
/// blanks, is skipped; invalid UTF-8 in a value becomes U+FFFD. A repeated name is emitted
/// each time.
pub fn parse(block: &[u8], mut emit: impl FnMut(&str, &str)) {
    let mut lines = split_lines(block);
    let Some(first) = lines.next() else { return };
    if let Some(inline) = first.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(b" ")) {
        let status = strip_bytes(&inline[..inline.len().min(STATUS_LEN)]);
        if !status.is_empty() && status.iter().all(u8::is_ascii_digit) {
            emit(STATUS, &String::from_utf8_lossy(status));
        }
        if let Some(description) = inline.get(STATUS_LEN + 1..)
            && !description.is_empty()
        {
            emit(DESCRIPTION, &String::from_utf8_lossy(description));
        }
    }
    for line in lines {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let Ok(name) = std::str::from_utf8(strip_bytes(&line[..colon])) else { continue };
        if !name.is_ascii() || name.contains(|c: char| c.is_whitespace() || is_separator(c)) {
            continue;
        }
        emit(name, &String::from_utf8_lossy(strip_bytes(&line[colon + 1..])));
    }
}

fn split_lines(mut block: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if block.is_empty() {
            return None;
        }
        match memchr::memmem::find(block, b"\r\n") {
            Some(at) => {
                let line = &block[..at];
                block = &block[at + 2..];
                Some(line)
            }
            None => Some(std::mem::take(&mut block)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(block: &[u8]) -> Vec<(String, String)> {
        let mut out = Vec::new();
        parse(block, |name, value| out.push((name.to_owned(), value.to_owned())));
        out
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn encodes_trimmed_and_without_injection() {
        let mut out = Vec::new();
        start(&mut out);
        push(&mut out, " Key ", " v\r\nPUB x 0\r\n ").unwrap();
        push(&mut out, "  ", "skipped").unwrap();
        finish(&mut out);
        push(&mut out, "\u{1c}Key", "\u{1d}v\u{1f}").unwrap();
        assert_eq!(out, b"NATS/1.0\r\nKey: v  PUB x 0\r\n\r\nKey: v\r\n");
    }

    #[test]
    fn rejects_names_that_are_no_tokens() {
        for bad in ["a b", "a:b", "a\r\nb", "é", "a\0"] {
            assert_eq!(push(&mut Vec::new(), bad, ""), Err(BadHeader(bad.to_owned())));
        }
    }

    #[test]
    fn reads_plain_headers() {
        let block = b"NATS/1.0\r\nA: 1\r\nB:2\r\nC:\t 3 \r\nA: 4\r\n\r\n";
        assert_eq!(parsed(block), pairs(&[("A", "1"), ("B", "2"), ("C", "3"), ("A", "4")]));
    }

    #[test]
    fn reads_inline_status() {
        assert_eq!(parsed(b"NATS/1.0 503\r\n\r\n"), pairs(&[("Status", "503")]));
        assert_eq!(
            parsed(b"NATS/1.0 404 No Messages\r\n\r\n"),
            pairs(&[("Status", "404"), ("Description", "No Messages")])
        );
        assert_eq!(
            parsed(b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Stream: 7\r\n\r\n"),
            pairs(&[
                ("Status", "100"),
                ("Description", "Idle Heartbeat"),
                ("Nats-Last-Stream", "7")
            ])
        );
    }

    #[test]
    fn finds_the_inline_status_only() {
        assert_eq!(inline_status(b"NATS/1.0 503\r\n\r\n"), Some("503"));
        assert_eq!(inline_status(b"NATS/1.0 100 Idle Heartbeat\r\n\r\n"), Some("100"));
        assert_eq!(inline_status(b"NATS/1.0\r\nStatus: 503\r\n\r\n"), None);
        assert_eq!(inline_status(b"NATS/1.0 5"), None);
        assert_eq!(inline_status(b""), None);
    }

    #[test]
    fn skips_what_it_cannot_read() {
        let block = b"NATS/1.0\r\nno colon\r\nb d: x\r\n\xff: x\r\nOk: \xff\r\n\r\n";
        assert_eq!(parsed(block), pairs(&[("Ok", "\u{fffd}")]));
        assert_eq!(parsed(b""), pairs(&[]));
        assert_eq!(parsed(b"NATS/1.0 "), pairs(&[]));
        assert_eq!(parsed(b"junk"), pairs(&[]));
    }
}
