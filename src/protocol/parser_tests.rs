use proptest::prelude::*;

use super::*;
use crate::protocol::{encode, headers};

fn ops(input: &[u8]) -> Result<Vec<ServerOp>, ProtocolError> {
    let mut parser = Parser::new();
    parser.feed(input);
    drain(&mut parser)
}

fn drain(parser: &mut Parser) -> Result<Vec<ServerOp>, ProtocolError> {
    let mut found = Vec::new();
    while let Some(op) = parser.next_op()? {
        found.push(op);
    }
    Ok(found)
}

fn message(op: &ServerOp) -> &Frame {
    match op {
        ServerOp::Msg(frame) => frame,
        other => panic!("expected a message, got {other:?}"),
    }
}

#[test]
fn control_operations() {
    let found = ops(b"INFO {\"a\":1} \r\nPING\r\nPONG \r\n+OK\r\n-ERR 'Some Error'\r\n").unwrap();
    assert_eq!(
        found,
        [
            ServerOp::Info(Bytes::from_static(b"{\"a\":1}")),
            ServerOp::Ping,
            ServerOp::Pong,
            ServerOp::Ok,
            ServerOp::Err(Bytes::from_static(b"'Some Error'")),
        ]
    );
}

#[test]
fn plain_message() {
    let found = ops(b"MSG a.b 7 2\r\nhi\r\nMSG a 8 r.x 0\r\n\r\n").unwrap();
    let first = message(&found[0]);
    assert_eq!(
        (first.subject(), first.sid(), first.reply(), first.headers(), first.payload()),
        (&b"a.b"[..], 7, &b""[..], &b""[..], &b"hi"[..])
    );
    let second = message(&found[1]);
    assert_eq!(
        (second.subject(), second.reply(), second.payload_len()),
        (&b"a"[..], &b"r.x"[..], 0)
    );
}

#[test]
fn message_with_headers() {
    let found = ops(b"HMSG a 1 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPING\r\n").unwrap();
    let frame = message(&found[0]);
    assert_eq!(frame.headers(), b"NATS/1.0\r\n\r\n");
    assert_eq!((frame.reply(), frame.payload()), (&b"r"[..], &b"hi"[..]));
    assert_eq!(found[1], ServerOp::Ping);
}

#[test]
fn extra_blanks_are_tolerated() {
    let found = ops(b"MSG  a\t1   2\r\nhi\r\n").unwrap();
    assert_eq!(message(&found[0]).subject(), b"a");
}

#[test]
fn malformed_input_is_an_error() {
    use ProtocolError::*;
    for (input, error) in [
        (&b"WHAT\r\n"[..], UnknownOperation),
        (b"\r\n", UnknownOperation),
        (b"INFO\r\n", UnknownOperation),
        (b"-ERR\r\n", UnknownOperation),
        (b"-ERR \r\n", UnknownOperation),
        (b"MSG a 1\r\n", MalformedMessage),
        (b"MSG a 1 r x 2\r\n", MalformedMessage),
        (b"MSG a 1 2 3 4 5 6\r\n", MalformedMessage),
        (b"MSG a x 2\r\n", MalformedMessage),
        (b"MSG a 1 -2\r\n", MalformedMessage),
        (b"MSG a 1 +2\r\n", MalformedMessage),
        (b"MSG a 1 2\r\nhixx", MalformedMessage),
        (b"HMSG a 1 12\r\n", MalformedMessage),
        (b"HMSG a 1 13 12\r\n", MalformedMessage),
        (b"MSG a 1 99999999999\r\n", MessageTooLarge),
        (b"MSG a 1 99999999999999999999999\r\n", MessageTooLarge),
        (b"MSG a 99999999999999999999999 1\r\n", MessageTooLarge),
    ] {
        assert_eq!(ops(input), Err(error), "{:?}", String::from_utf8_lossy(input));
    }
}

#[test]
fn endless_line_is_an_error() {
    let mut parser = Parser::new();
    let piece = vec![b'x'; 256 * 1024];
    for _ in 0..4 {
        parser.feed(&piece);
        assert_eq!(parser.next_op(), Ok(None));
    }
    parser.feed(&piece);
    assert_eq!(parser.next_op(), Err(ProtocolError::LineTooLong));
}

#[test]
fn announced_size_allocates_nothing_ahead() {
    let mut parser = Parser::new();
    parser.feed(b"MSG a 1 1073741824\r\n");
    assert_eq!(parser.next_op(), Ok(None));
    assert!(parser.spare().len() <= 2 * MAX_RESERVE);
}

#[test]
fn several_megabytes_in_small_reads() {
    let payload: Vec<u8> = (0..5_000_000_u32).map(|n| n as u8).collect();
    let mut parser = Parser::new();
    parser.feed(format!("MSG big 1 {}\r\n", payload.len()).as_bytes());
    for piece in payload.chunks(60_000) {
        assert_eq!(parser.next_op(), Ok(None));
        parser.feed(piece);
    }
    assert_eq!(parser.next_op(), Ok(None));
    parser.feed(b"\r\nPING\r\n");
    let found = drain(&mut parser).unwrap();
    assert_eq!(message(&found[0]).payload(), payload);
    assert_eq!(found[1], ServerOp::Ping);
}

#[test]
fn a_large_message_fed_in_pieces_is_moved_a_few_times_only() {
    const SIZE: usize = 16 * 1024 * 1024;
    let mut parser = Parser::new();
    parser.feed(format!("MSG a 1 {SIZE}\r\n").as_bytes());
    for _ in 0..SIZE / 16_384 {
        assert_eq!(parser.next_op(), Ok(None));
        parser.feed(&[b'x'; 16_384]);
    }
    parser.feed(b"\r\n");
    assert!(matches!(parser.next_op(), Ok(Some(ServerOp::Msg(f))) if f.payload_len() == SIZE));
    assert!(parser.buffer_number < 20, "{} buffers", parser.buffer_number);
}

#[test]
fn thousands_in_one_read() {
    let input: Vec<u8> = (0..5_000)
        .flat_map(|n| format!("MSG s.{n} 3 {}\r\n{n}\r\n", n.to_string().len()).into_bytes())
        .collect();
    let found = ops(&input).unwrap();
    assert_eq!(found.len(), 5_000);
    for (n, op) in found.iter().enumerate() {
        assert_eq!(message(op).payload(), n.to_string().as_bytes());
    }
}

/// A server's stream: what to feed, in wire form.
fn wire_op() -> impl Strategy<Value = Vec<u8>> {
    let subject = "[a-z]{1,8}(\\.[a-z]{1,8}){0,3}";
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        Just(b"PING\r\n".to_vec()),
        Just(b"PONG\r\n".to_vec()),
        Just(b"+OK\r\n".to_vec()),
        Just(b"-ERR 'Permissions Violation for Publish to \"x\"'\r\n".to_vec()),
        Just(b"INFO {\"server_id\":\"x\"}\r\n".to_vec()),
        (subject, 1_u64..1000, payload.clone()).prop_map(|(subject, sid, payload)| {
            let mut out = format!("MSG {subject} {sid} {}\r\n", payload.len()).into_bytes();
            out.extend_from_slice(&payload);
            out.extend_from_slice(b"\r\n");
            out
        }),
        (subject, subject, "[!-9;-~]{0,20}", payload).prop_map(
            |(subject, reply, value, payload)| {
                let mut block = Vec::new();
                headers::start(&mut block);
                headers::push(&mut block, "Key", &value).unwrap();
                headers::finish(&mut block);
                let total = block.len() + payload.len();
                let mut out =
                    format!("HMSG {subject} 9 {reply} {} {total}\r\n", block.len()).into_bytes();
                out.extend_from_slice(&block);
                out.extend_from_slice(&payload);
                out.extend_from_slice(b"\r\n");
                out
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_gives_the_same_operations(wire in prop::collection::vec(wire_op(), 1..6)) {
        let input = wire.concat();
        let whole = ops(&input).unwrap();
        prop_assert_eq!(whole.len(), wire.len());
        for cut in 0..=input.len() {
            let mut parser = Parser::new();
            parser.feed(&input[..cut]);
            let mut found = drain(&mut parser).unwrap();
            parser.feed(&input[cut..]);
            found.extend(drain(&mut parser).unwrap());
            prop_assert_eq!(&found, &whole);
        }
        let mut parser = Parser::new();
        let mut found = Vec::new();
        for byte in &input {
            parser.feed(std::slice::from_ref(byte));
            found.extend(drain(&mut parser).unwrap());
        }
        prop_assert_eq!(&found, &whole);
    }

    #[test]
    fn published_comes_back(
        subject in "[a-z]{1,9}",
        reply in "([a-z]{1,9})?",
        value in "[!-9;-~]{1,20}",
        with_headers: bool,
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut block = Vec::new();
        if with_headers {
            headers::start(&mut block);
            headers::push(&mut block, "Key", &value).unwrap();
            headers::finish(&mut block);
        }
        let mut out = Vec::new();
        encode::publish(&mut out, subject.as_bytes(), reply.as_bytes(), &block, &payload);
        // What a server makes of it: PUB becomes MSG, the sid stands behind the subject.
        let line_end = out.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let line = String::from_utf8(out[..line_end].to_vec()).unwrap();
        let mut fields: Vec<&str> = line.split(' ').collect();
        fields[0] = if with_headers { "HMSG" } else { "MSG" };
        fields.insert(2, "5");
        let mut input = fields.join(" ").into_bytes();
        input.extend_from_slice(&out[line_end..]);

        let found = ops(&input).unwrap();
        prop_assert_eq!(found.len(), 1);
        let frame = message(&found[0]);
        prop_assert_eq!(frame.subject(), subject.as_bytes());
        prop_assert_eq!(frame.reply(), reply.as_bytes());
        prop_assert_eq!(frame.headers(), &block[..]);
        prop_assert_eq!(frame.payload(), &payload[..]);
        prop_assert_eq!(frame.sid(), 5);
    }

    #[test]
    fn junk_never_panics(input in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = ops(&input);
    }
}
