//! Any bytes as WebSocket frames: reading never panics, gives no more than came, and the same
//! however the bytes are cut.

#![no_main]

use _core::protocol::websocket::{End, FrameReader, Received};
use libfuzzer_sys::fuzz_target;

fn read(pieces: &[&[u8]]) -> (Received, Result<(), End>) {
    let mut reader = FrameReader::default();
    let mut received = Received::default();
    for piece in pieces {
        if let Err(end) = reader.read(piece, &mut received) {
            return (received, Err(end));
        }
    }
    (received, Ok(()))
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, stream)) = input.split_first() else { return };
    let whole = read(&[stream]);
    assert!(whole.0.content.len() <= stream.len());
    let (head, tail) = stream.split_at(usize::from(cut).min(stream.len()));
    assert_eq!(read(&[head, tail]), whole);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read(&bytes), whole);
});
