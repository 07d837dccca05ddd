//! Incremental parser for what a server sends.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::frame::{Frame, Layout};

/// Read buffers are made in this size; a message larger than it gets a buffer of its own.
const CHUNK: usize = 64 * 1024;
/// Below this much free space a fresh chunk costs less than another small read.
const MIN_READ: usize = 8 * 1024;
/// The longest control line. Only INFO comes near it (a `connect_urls` of a large cluster);
/// the server's own limit for the others is 4 KiB.
const MAX_LINE: usize = 1024 * 1024;
/// The largest message. The server's ceiling for `max_payload` is 64 MiB; what claims more
/// than this is not a message but a broken or hostile peer.
pub const MAX_FRAME: usize = 1024 * 1024 * 1024;
/// Chunks kept for reuse after their messages are gone. A flood that is consumed as fast as it
/// arrives then runs in memory that is warm; a fresh chunk costs a page fault per 4 KiB.
const SPARE_CHUNKS: usize = 8;
/// A buffer grows at most this far ahead of the bytes that have really arrived, so a size
/// in a control line can't make us allocate what never comes.
const MAX_RESERVE: usize = 1024 * 1024;

/// What a server can send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerOp {
    Msg(Frame),
    /// The JSON text.
    Info(Bytes),
    Ping,
    Pong,
    Ok,
    /// The text behind `-ERR`, quotes included.
    Err(Bytes),
}

/// The stream can't be understood any more; the connection has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    UnknownOperation,
    MalformedMessage,
    LineTooLong,
    MessageTooLarge,
    /// The stream is fine, but there is more of it than can be handled.
    TooManyEvents,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownOperation => "unknown operation",
            Self::MalformedMessage => "malformed message",
            Self::LineTooLong => "control line too long",
            Self::MessageTooLarge => "message too large",
            Self::TooManyEvents => "more events than can be handled",
        })
    }
}

impl std::error::Error for ProtocolError {}

/// A message whose control line is read and whose payload is on its way.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    /// Start of the subject in the buffer.
    start: usize,
    /// End of the payload in the buffer, line end excluded.
    end: usize,
    layout: Layout,
}

/// Turns bytes, split anywhere, into [`ServerOp`]s.
#[derive(Debug)]
pub struct Parser {
    /// Initialised to its full length, so that a read can go straight into it.
    buffer: BytesMut,
    /// How much of the buffer has arrived.
    filled: usize,
    /// How much of that is known to hold no line end.
    scanned: usize,
    awaited: Option<Awaited>,
    /// The buffer has the usual size: worth keeping when it is used up.
    is_chunk: bool,
    /// Changes with the buffer.
    buffer_number: u32,
    /// Chunks whose messages may still be in use, the oldest first.
    retired: VecDeque<BytesMut>,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            filled: 0,
            scanned: 0,
            awaited: None,
            is_chunk: false,
            buffer_number: Frame::OWN,
            retired: VecDeque::new(),
        }
    }

    /// Where to read into: room for at least one useful read. Follow with [`Parser::filled`].
    pub fn spare(&mut self) -> &mut [u8] {
        let missing = self.missing();
        if self.buffer.len() - self.filled < missing.clamp(MIN_READ, MAX_RESERVE) {
            self.make_room(self.reserve(missing));
        }
        &mut self.buffer[self.filled..]
    }

    /// How much has yet to come of the message that has begun.
    fn missing(&self) -> usize {
        self.awaited.map_or(0, |awaited| (awaited.end + 2).saturating_sub(self.filled))
    }

    /// How much room to make for what is missing: doubling what is there keeps the copying linear
    /// in the message's size.
    fn reserve(&self, missing: usize) -> usize {
        missing.min(MAX_RESERVE.max(self.filled))
    }

    /// Moves what is unparsed to a buffer with so many free bytes, or more.
    fn make_room(&mut self, free: usize) {
        let needed = self.filled + free.max(MIN_READ);
        let len = if needed <= CHUNK { CHUNK } else { self.filled + free.max(CHUNK) };
        let mut buffer = self.chunk(len);
        buffer[..self.filled].copy_from_slice(&self.buffer[..self.filled]);
        let old = std::mem::replace(&mut self.buffer, buffer);
        if self.is_chunk && self.retired.len() < SPARE_CHUNKS {
            self.retired.push_back(old);
        }
        self.is_chunk = len == CHUNK;
        self.buffer_number = self.buffer_number.wrapping_add(1).max(Frame::OWN + 1);
    }

    /// A buffer of `len` bytes: a retired one that no message needs any more, or a fresh one.
    fn chunk(&mut self, len: usize) -> BytesMut {
        if len == CHUNK
            && let Some(mut chunk) = self.retired.pop_front()
        {
            chunk.clear();
            if chunk.try_reclaim(CHUNK) {
                chunk.resize(CHUNK, 0);
                return chunk;
            }
        }
        BytesMut::zeroed(len)
    }

    /// Takes over so many bytes of [`Parser::spare`].
    pub fn filled(&mut self, len: usize) {
        self.filled = self.buffer.len().min(self.filled + len);
    }

    /// Appends bytes that were read elsewhere.
    pub fn feed(&mut self, data: &[u8]) {
        if self.buffer.len() - self.filled < data.len() {
            self.make_room(self.reserve(self.missing()).max(data.len()));
        }
        self.buffer[self.filled..self.filled + data.len()].copy_from_slice(data);
        self.filled(data.len());
    }

    /// Whether a message has begun but not ended.
    pub fn in_message(&self) -> bool {
        self.awaited.is_some()
    }

    /// The next complete operation, or `None` until more bytes arrive.
    ///
    /// After an error the parser is of no further use.
    pub fn next_op(&mut self) -> Result<Option<ServerOp>, ProtocolError> {
        let awaited = match self.awaited {
            Some(awaited) => awaited,
            None => {
                let Some(at) = memchr(b'\n', &self.buffer[self.scanned..self.filled]) else {
                    self.scanned = self.filled;
                    if self.scanned > MAX_LINE {
                        return Err(ProtocolError::LineTooLong);
                    }
                    return Ok(None);
                };
                let line_end = self.scanned + at + 1;
                self.scanned = 0;
                match parse_line(&self.buffer[..line_end])? {
                    Line::Message(awaited) => {
                        self.awaited = Some(awaited);
                        awaited
                    }
                    Line::Ping => return Ok(Some(self.consume(line_end, ServerOp::Ping))),
                    Line::Pong => return Ok(Some(self.consume(line_end, ServerOp::Pong))),
                    Line::Ok => return Ok(Some(self.consume(line_end, ServerOp::Ok))),
                    Line::Info(start, end) => {
                        let text = Bytes::copy_from_slice(&self.buffer[start..end]);
                        return Ok(Some(self.consume(line_end, ServerOp::Info(text))));
                    }
                    Line::Err(start, end) => {
                        let text = Bytes::copy_from_slice(&self.buffer[start..end]);
                        return Ok(Some(self.consume(line_end, ServerOp::Err(text))));
                    }
                }
            }
        };
        if self.filled < awaited.end + 2 {
            return Ok(None);
        }
        if &self.buffer[awaited.end..awaited.end + 2] != b"\r\n" {
            return Err(ProtocolError::MalformedMessage);
        }
        self.awaited = None;
        self.filled -= awaited.end + 2;
        self.buffer.advance(awaited.start);
        let bytes = self.buffer.split_to(awaited.end - awaited.start).freeze();
        self.buffer.advance(2);
        let number = self.buffer_number;
        if bytes.len() > CHUNK && !self.is_chunk {
            // Its buffer is its own: a small message behind it would keep all of that alive.
            self.make_room(0);
        }
        Ok(Some(ServerOp::Msg(Frame::new(bytes, awaited.layout, number))))
    }

    fn consume(&mut self, len: usize, op: ServerOp) -> ServerOp {
        self.filled -= len;
        self.buffer.advance(len);
        op
    }
}

/// A parsed control line; positions are offsets into the line.
enum Line {
    Message(Awaited),
    Info(usize, usize),
    Err(usize, usize),
    Ping,
    Pong,
    Ok,
}

fn parse_line(line: &[u8]) -> Result<Line, ProtocolError> {
    let mut end = line.len() - 1;
    if end > 0 && line[end - 1] == b'\r' {
        end -= 1;
    }
    let text = &line[..end];
    let op_end = text.iter().position(is_blank).unwrap_or(text.len());
    match &text[..op_end] {
        b"MSG" => parse_message(text, line.len(), op_end, false),
        b"HMSG" => parse_message(text, line.len(), op_end, true),
        b"PING" => Ok(Line::Ping),
        b"PONG" => Ok(Line::Pong),
        b"+OK" => Ok(Line::Ok),
        b"INFO" => match trim(text, op_end) {
            (start, end) if start < end => Ok(Line::Info(start, end)),
            _ => Err(ProtocolError::UnknownOperation),
        },
        // The reference takes an error without a text for a protocol error, too.
        b"-ERR" => match trim(text, op_end) {
            (start, end) if start < end => Ok(Line::Err(start, end)),
            _ => Err(ProtocolError::UnknownOperation),
        },
        _ => Err(ProtocolError::UnknownOperation),
    }
}

/// `MSG <subject> <sid> [reply-to] <#bytes>` and
/// `HMSG <subject> <sid> [reply-to] <#header bytes> <#total bytes>`.
fn parse_message(
    text: &[u8],
    line_len: usize,
    op_end: usize,
    with_headers: bool,
) -> Result<Line, ProtocolError> {
    const MAX_FIELDS: usize = 5;
    let mut fields = [(0, 0); MAX_FIELDS];
    let mut count = 0;
    let mut at = op_end;
    loop {
        while at < text.len() && is_blank(&text[at]) {
            at += 1;
        }
        if at == text.len() {
            break;
        }
        let start = at;
        while at < text.len() && !is_blank(&text[at]) {
            at += 1;
        }
        if count == MAX_FIELDS {
            return Err(ProtocolError::MalformedMessage);
        }
        fields[count] = (start, at);
        count += 1;
    }
    let sizes = if with_headers { 2 } else { 1 };
    let (reply_start, reply_end) = match count.checked_sub(2 + sizes) {
        Some(0) => (fields[0].0, fields[0].0),
        Some(1) => fields[2],
        _ => return Err(ProtocolError::MalformedMessage),
    };
    let number = |(start, end): (usize, usize)| parse_number(&text[start..end]);
    let (subject_start, subject_end) = fields[0];
    let sid = number(fields[1])?;
    let total = number(fields[count - 1])?;
    let header_len = if with_headers { number(fields[count - 2])? } else { 0 };
    if total > MAX_FRAME as u64 {
        return Err(ProtocolError::MessageTooLarge);
    }
    if header_len > total {
        return Err(ProtocolError::MalformedMessage);
    }
    Ok(Line::Message(Awaited {
        start: subject_start,
        end: line_len + total as usize,
        layout: Layout {
            sid,
            subject_len: subject_end - subject_start,
            reply_start: reply_start - subject_start,
            reply_len: reply_end - reply_start,
            header_start: line_len - subject_start,
            payload_start: line_len - subject_start + header_len as usize,
        },
    }))
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The range of `text` from `start` on without blanks at either end.
fn trim(text: &[u8], mut start: usize) -> (usize, usize) {
    let mut end = text.len();
    while start < end && is_blank(&text[start]) {
        start += 1;
    }
    while end > start && is_blank(&text[end - 1]) {
        end -= 1;
    }
    (start, end)
}

fn parse_number(digits: &[u8]) -> Result<u64, ProtocolError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ProtocolError::MalformedMessage);
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit - b'0')))
            .ok_or(ProtocolError::MessageTooLarge)
    })
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
