//! WebSocket frames from a server (RFC 6455), read as they come.
//!
//! NATS puts a stream of bytes into frames whose bounds mean nothing, so content is passed on
//! without waiting for the rest of its frame or message: nothing but the head of a frame, or a
//! control frame of at most 125 bytes, is ever kept.

/// What a data frame may announce. Four times what a server keeps for a client by default
/// (`max_pending`), which it may send in one frame.
const MAX_CONTENT: u64 = 256 * 1024 * 1024;
const MAX_CONTROL: u8 = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Why nothing more is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The server says good-bye, maybe with a code and a reason.
    Closed(Option<(u16, String)>),
    /// A text frame: no server of NATS sends one.
    Text,
    /// The server breaks the protocol.
    Broken(&'static str),
}

/// What frames have brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Received {
    pub content: Vec<u8>,
    /// The content of the latest PING. Earlier ones need no answer then (RFC 6455, 5.5.3).
    pub ping: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
pub struct FrameReader {
    /// What has come of a data frame's head, or of a control frame.
    begun: Vec<u8>,
    /// What has yet to come of a data frame's content.
    missing: u64,
    /// The message goes on in another frame.
    is_fragmented: bool,
}

impl FrameReader {
    /// Adds to `received` what `data` brings. After an end nothing more may be read.
    ///
    /// A frame that can't be is refused by its first two bytes, or as soon as its size is known.
    pub fn read(&mut self, mut data: &[u8], received: &mut Received) -> Result<(), End> {
        loop {
            let wanted = self.wanted()?;
            if self.begun.len() == wanted {
                self.finish(received)?;
            } else if data.is_empty() {
                return Ok(());
            } else if self.missing > 0 {
                let content = split_off(&mut data, self.missing);
                received.content.extend_from_slice(content);
                self.missing -= content.len() as u64;
            } else {
                let missing = wanted - self.begun.len();
                self.begun.extend_from_slice(split_off(&mut data, missing as u64));
            }
        }
    }

    /// How long the head of a data frame is, or the whole of a control frame, as far as can be
    /// told.
    fn wanted(&self) -> Result<usize, End> {
        let [first, second, ..] = self.begun[..] else { return Ok(2) };
        let (is_final, size) = (first & FIN != 0, second & !MASKED);
        if first & RESERVED != 0 {
            return Err(End::Broken("reserved bits are set"));
        }
        if second & MASKED != 0 {
            return Err(End::Broken("a server's frame is masked"));
        }
        match (first & OPCODE, self.is_fragmented) {
            (CLOSE | PING | PONG, _) if !is_final => {
                Err(End::Broken("a control frame is fragmented"))
            }
            (CLOSE | PING | PONG, _) if size > MAX_CONTROL => {
                Err(End::Broken("a control frame is too long"))
            }
            (CLOSE | PING | PONG, _) => Ok(2 + usize::from(size)),
            (CONTINUATION, false) => Err(End::Broken("there is nothing to continue")),
            (BINARY | TEXT, true) => Err(End::Broken("a message isn't continued")),
            (TEXT, false) => Err(End::Text),
            (CONTINUATION | BINARY, _) => Ok(match size {
                126 => 4,
                127 => 10,
                _ => 2,
            }),
            _ => Err(End::Broken("unknown kind of frame")),
        }
    }

    /// Takes what has begun for complete.
    fn finish(&mut self, received: &mut Received) -> Result<(), End> {
        let (opcode, is_final) = (self.begun[0] & OPCODE, self.begun[0] & FIN != 0);
        match opcode {
            CLOSE => return Err(good_bye(&self.begun[2..])),
            PING => received.ping = Some(self.begun[2..].to_vec()),
            PONG => {}
            _ => {
                self.missing = match &self.begun[1..] {
                    [size] => u64::from(*size),
                    [_, size @ ..] => size.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
                    [] => 0,
                };
                if self.missing > MAX_CONTENT {
                    return Err(End::Broken("a frame is too long"));
                }
                self.is_fragmented = !is_final;
            }
        }
        self.begun.clear();
        Ok(())
    }
}

/// What a close frame with this content means.
fn good_bye(content: &[u8]) -> End {
    match content {
        [] => End::Closed(None),
        [_] => End::Broken("a close frame has half a code"),
        [high, low, reason @ ..] => match std::str::from_utf8(reason) {
            Ok(reason) => End::Closed(Some((u16::from_be_bytes([*high, *low]), reason.to_owned()))),
            Err(_) => End::Broken("the reason in a close frame isn't UTF-8"),
        },
    }
}

/// Up to `count` bytes from the front of `data`.
fn split_off<'a>(data: &mut &'a [u8], count: u64) -> &'a [u8] {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(data.len());
    let (front, rest) = data.split_at(count);
    *data = rest;
    front
}

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
