//! Commands a client sends, appended to a buffer of pending output.

use memchr::memchr;

pub const PING: &[u8] = b"PING\r\n";
pub const PONG: &[u8] = b"PONG\r\n";

/// `PUB <subject> [reply-to] <#bytes>`, or `HPUB` when `headers` holds a header block.
pub fn publish(out: &mut Vec<u8>, subject: &[u8], reply: &[u8], headers: &[u8], payload: &[u8]) {
    // Longest fixed parts: "HPUB ", four blanks and line ends, two 20-digit numbers.
    out.reserve(subject.len() + reply.len() + headers.len() + payload.len() + 56);
    out.extend_from_slice(if headers.is_empty() { b"PUB " } else { b"HPUB " });
    out.extend_from_slice(subject);
    out.push(b' ');
    if !reply.is_empty() {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    if !headers.is_empty() {
        push_number(out, headers.len() as u64);
        out.push(b' ');
    }
    push_number(out, (headers.len() + payload.len()) as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// `SUB <subject> [queue group] <sid>`.
pub fn subscribe(out: &mut Vec<u8>, subject: &str, queue: &str, sid: u64) {
    out.extend_from_slice(b"SUB ");
    out.extend_from_slice(subject.as_bytes());
    out.push(b' ');
    if !queue.is_empty() {
        out.extend_from_slice(queue.as_bytes());
        out.push(b' ');
    }
    push_number(out, sid);
    out.extend_from_slice(b"\r\n");
}

/// `UNSUB <sid> [max_msgs]`; zero means at once.
pub fn unsubscribe(out: &mut Vec<u8>, sid: u64, max_msgs: u64) {
    out.extend_from_slice(b"UNSUB ");
    push_number(out, sid);
    if max_msgs > 0 {
        out.push(b' ');
        push_number(out, max_msgs);
    }
    out.extend_from_slice(b"\r\n");
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The publishes of `commands` whose last byte lies at `from` or later.
///
/// After a connection broke while these commands were being written, `from` is how far the
/// writer came. A command cut in half never reached the server as a whole, so it is kept.
/// Other commands are not: subscriptions are replayed and PINGs belong to their connection.
pub fn unwritten_publishes(commands: &[u8], from: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < commands.len() {
        let Some(end) = command_end(&commands[at..]) else { break };
        let command = &commands[at..at + end];
        at += end;
        if at > from && (command.starts_with(b"PUB ") || command.starts_with(b"HPUB ")) {
            kept.extend_from_slice(command);
        }
    }
    kept
}

/// The reply subjects of the publishes of `commands` that have one, in order.
pub fn reply_subjects(commands: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = commands;
    std::iter::from_fn(move || {
        let end = command_end(rest)?;
        let (command, behind) = rest.split_at(end);
        rest = behind;
        Some(command)
    })
    .filter_map(|command| {
        let line = &command[..memchr(b'\r', command)?];
        let mut fields = line.split(|byte| *byte == b' ');
        // Name, subject, reply subject, then one size of a PUB and two of an HPUB.
        let sizes = match fields.next()? {
            b"PUB" => 1,
            b"HPUB" => 2,
            _ => return None,
        };
        let reply = fields.nth(1)?;
        (fields.count() == sizes).then_some(reply)
    })
}

/// Length of the first command, payload and line ends included.
fn command_end(commands: &[u8]) -> Option<usize> {
    let line_end = memchr(b'\n', commands)? + 1;
    let line = &commands[..line_end];
    if !line.starts_with(b"PUB ") && !line.starts_with(b"HPUB ") {
        return Some(line_end);
    }
    let size = line[..line_end - 2].rsplit(|byte| *byte == b' ').next()?;
    let size: usize = std::str::from_utf8(size).ok()?.parse().ok()?;
    let end = line_end + size + 2;
    (end <= commands.len()).then_some(end)
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
