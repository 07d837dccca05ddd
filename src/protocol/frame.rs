//! One received message, still in its wire form.

use bytes::Bytes;

/// A `MSG` or `HMSG` as it arrived: a slice of the read buffer plus the offsets of its parts.
///
/// Keeping the slice and not the parts makes a queued message one reference count and no copy.
#[derive(Clone, Debug, Eq)]
pub struct Frame {
    /// Subject up to the last payload byte, control line and line ends included.
    bytes: Bytes,
    sid: u64,
    subject_len: u32,
    reply_start: u32,
    reply_len: u32,
    header_start: u32,
    payload_start: u32,
    /// Number of the read buffer that `bytes` is a slice of, or `Frame::OWN`.
    buffer: u32,
}

/// Below this size a message may leave its read buffer: it would keep much more than itself.
const COMPACT_BELOW: usize = 8 * 1024;
/// The longest subject and reply that a report repeats; no server lets through longer ones
/// by default.
const MAX_REPORTED: usize = 4096;

/// Where the parts of a message lie, relative to the start of its subject.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub sid: u64,
    pub subject_len: usize,
    pub reply_start: usize,
    pub reply_len: usize,
    pub header_start: usize,
    pub payload_start: usize,
}

impl Frame {
    /// In place of the number of a read buffer: memory of its own.
    pub const OWN: u32 = 0;

    /// The parser bounds every offset by `MAX_FRAME`, so the narrowing below can't truncate.
    pub(super) fn new(bytes: Bytes, layout: Layout, buffer: u32) -> Self {
        Self {
            bytes,
            sid: layout.sid,
            subject_len: layout.subject_len as u32,
            reply_start: layout.reply_start as u32,
            reply_len: layout.reply_len as u32,
            header_start: layout.header_start as u32,
            payload_start: layout.payload_start as u32,
            buffer,
        }
    }

    pub fn sid(&self) -> u64 {
        self.sid
    }

    pub fn subject(&self) -> &[u8] {
        &self.bytes[..self.subject_len as usize]
    }

    /// Empty when the message asks for no reply.
    pub fn reply(&self) -> &[u8] {
        let start = self.reply_start as usize;
        &self.bytes[start..start + self.reply_len as usize]
    }

    /// The raw header block, `NATS/1.0` line included; empty for a `MSG`.
    pub fn headers(&self) -> &[u8] {
        &self.bytes[self.header_start as usize..self.payload_start as usize]
    }

    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_start as usize..]
    }

    pub fn payload_len(&self) -> usize {
        self.bytes.len() - self.payload_start as usize
    }

    /// Bytes of all its parts, control line included.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Messages with the same number share a read buffer.
    pub fn buffer(&self) -> u32 {
        self.buffer
    }

    /// Whether it keeps far more than itself alive in a read buffer.
    pub fn is_small(&self) -> bool {
        self.bytes.len() < COMPACT_BELOW
    }

    /// Moves a small message out of its read buffer, into memory of its own.
    pub fn compact(&mut self) {
        if self.is_small() && self.buffer != Self::OWN {
            self.bytes = Bytes::copy_from_slice(&self.bytes);
            self.buffer = Self::OWN;
        }
    }

    /// Subject and reply in memory of their own; nothing if they are far too long.
    pub fn without_body(&self) -> Option<Self> {
        let end = self.subject_len.max(self.reply_start + self.reply_len);
        if end as usize > MAX_REPORTED {
            return None;
        }
        let bytes = Bytes::copy_from_slice(&self.bytes[..end as usize]);
        let buffer = Self::OWN;
        Some(Self { bytes, header_start: end, payload_start: end, buffer, ..self.clone() })
    }
}

/// By content: which buffer it came in is no part of a message.
impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.sid == other.sid
            && self.subject() == other.subject()
            && self.reply() == other.reply()
            && self.headers() == other.headers()
            && self.payload() == other.payload()
    }
}
