//! Any bytes, split anywhere: the parser never panics, and a split changes nothing.

#![no_main]

use _core::protocol::{Parser, ProtocolError, ServerOp, headers};
use libfuzzer_sys::fuzz_target;

fn parse(pieces: &[&[u8]]) -> Result<Vec<ServerOp>, ProtocolError> {
    let mut parser = Parser::new();
    let mut found = Vec::new();
    for piece in pieces {
        parser.feed(piece);
        while let Some(op) = parser.next_op()? {
            found.push(op);
        }
    }
    Ok(found)
}

fuzz_target!(|input: (&[u8], u16)| {
    let (data, cut) = input;
    let cut = usize::from(cut) % (data.len() + 1);
    let whole = parse(&[data]);
    let split = parse(&[&data[..cut], &data[cut..]]);
    assert_eq!(whole, split);
    for op in whole.into_iter().flatten() {
        if let ServerOp::Msg(frame) = op {
            assert!(frame.subject().len() + frame.payload_len() <= data.len());
            headers::parse(frame.headers(), |name, value| {
                assert!(name.is_ascii() && !value.contains("\r\n"));
            });
        }
    }
});
