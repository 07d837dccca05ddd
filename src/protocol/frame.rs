//! One received message, still in its wire form.

use bytes::Bytes;

/// A `MSG` or `HMSG` as it arrived: a slice of the read buffer plus the offsets of its parts.
///
/// Keeping the slice and not the parts makes a queued message one reference count and no copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Subject up to the last payload byte, control line and line ends included.
    bytes: Bytes,
    sid: u64,
    subject_len: u32,
    reply_start: u32,
    reply_len: u32,
    header_start: u32,
    payload_start: u32,
}

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
    /// The parser bounds every offset by `MAX_FRAME`, so the narrowing below can't truncate.
    pub(super) fn new(bytes: Bytes, layout: Layout) -> Self {
        Self {
            bytes,
            sid: layout.sid,
            subject_len: layout.subject_len as u32,
            reply_start: layout.reply_start as u32,
            reply_len: layout.reply_len as u32,
            header_start: layout.header_start as u32,
            payload_start: layout.payload_start as u32,
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
}
