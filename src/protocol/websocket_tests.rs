use proptest::prelude::*;

use super::*;

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        size @ 0..126 => out.push(size as u8),
        size @ 126..65_536 => {
            out.push(126);
            out.extend((size as u16).to_be_bytes());
        }
        size => {
            out.push(127);
            out.extend((size as u64).to_be_bytes());
        }
    }
    out.extend(payload);
    out
}

/// What a stream gives if it comes in pieces of `size` bytes, and how it ends.
fn read(stream: &[u8], size: usize) -> (Received, Result<(), End>) {
    let mut reader = FrameReader::default();
    let mut received = Received::default();
    for piece in stream.chunks(size) {
        if let Err(end) = reader.read(piece, &mut received) {
            return (received, Err(end));
        }
    }
    (received, Ok(()))
}

fn end_of(stream: &[u8]) -> End {
    read(stream, stream.len()).1.unwrap_err()
}

#[test]
fn content_of_every_length_and_cut() {
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
        let payload: Vec<u8> = (0..size).map(|n| n as u8).collect();
        let stream = [frame(0x82, &payload), frame(0x82, b"next")].concat();
        for cut in [1, 2, 3, 1000, stream.len()] {
            let (received, outcome) = read(&stream, cut);
            assert_eq!(outcome, Ok(()));
            assert_eq!(received.content, [&payload[..], b"next"].concat());
        }
    }
}

#[test]
fn content_does_not_wait_for_the_rest_of_its_frame() {
    let mut reader = FrameReader::default();
    let mut received = Received::default();
    reader.read(&[0x02, 127, 0, 0, 0, 0, 0x10, 0, 0, 0, b'a', b'b'], &mut received).unwrap();
    assert_eq!(received.content, b"ab");
}

#[test]
fn fragments_with_control_frames_in_between() {
    let stream = [
        frame(0x02, b"a"),
        frame(0x89, b"one"),
        frame(0x00, b""),
        frame(0x8a, b"unasked"),
        frame(0x80, b"b"),
        frame(0x82, b"c"),
    ]
    .concat();
    for cut in 1..=stream.len() {
        let (received, outcome) = read(&stream, cut);
        assert_eq!(outcome, Ok(()));
        assert_eq!(received, Received { content: b"abc".to_vec(), ping: Some(b"one".to_vec()) });
    }
}

#[test]
fn the_latest_ping_is_the_one_to_answer() {
    let stream = [frame(0x89, b"first"), frame(0x89, b""), frame(0x89, &[7; 125])].concat();
    assert_eq!(read(&stream, stream.len()).0.ping, Some(vec![7; 125]));
}

#[test]
fn good_byes() {
    assert_eq!(end_of(&frame(0x88, b"")), End::Closed(None));
    let with_reason = frame(0x88, b"\x03\xe9going");
    assert_eq!(end_of(&with_reason), End::Closed(Some((1001, "going".to_owned()))));
    let reason = "ü".repeat(61);
    let longest = frame(0x88, format!("\x03{}{reason}", '\x50').as_bytes());
    assert_eq!(end_of(&longest), End::Closed(Some((0x350, reason))));
    assert!(matches!(end_of(&frame(0x88, b"\x03")), End::Broken(_)));
    assert!(matches!(end_of(&frame(0x88, b"\x03\xe9\xff")), End::Broken(_)));
}

#[test]
fn two_bytes_are_enough_to_refuse() {
    let mut kinds = vec![
        // Reserved bits, masks, and control frames that are fragmented or too long.
        [0xc2, 0],
        [0xa2, 0],
        [0x92, 0],
        [0xf2, 0],
        [0x82, 0x80],
        [0x89, 0x85],
        [0x09, 0],
        [0x08, 0],
        [0x0a, 0],
        [0x89, 126],
        [0x88, 127],
        [0x8a, 126],
        // Nothing to continue.
        [0x80, 1],
        [0x00, 1],
    ];
    kinds.extend([3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(|opcode| [0x80 | opcode, 0]));
    for bytes in kinds {
        assert!(matches!(end_of(&bytes), End::Broken(_)), "{bytes:?}");
    }
    assert_eq!(end_of(&[0x81, 127]), End::Text);
    assert_eq!(end_of(&[0x01, 1]), End::Text);
    for first in [0x02, 0x82, 0x01, 0x81] {
        let stream = [frame(0x02, b"a"), vec![first, 0]].concat();
        assert!(matches!(end_of(&stream), End::Broken(_)));
    }
}

#[test]
fn sizes_are_refused_as_soon_as_they_are_known() {
    for size in [MAX_CONTENT + 1, 1 << 62, 1 << 63, u64::MAX] {
        let head = [&[0x82, 127][..], &size.to_be_bytes()].concat();
        assert_eq!(end_of(&head), End::Broken("a frame is too long"));
    }
    let largest = [&[0x82, 127][..], &MAX_CONTENT.to_be_bytes()].concat();
    assert_eq!(read(&largest, 1).1, Ok(()));
}

#[test]
fn what_came_before_the_end_counts() {
    let stream = [frame(0x82, b"a"), frame(0x89, b"p"), frame(0x88, b"")].concat();
    let (received, outcome) = read(&stream, stream.len());
    assert_eq!(received, Received { content: b"a".to_vec(), ping: Some(b"p".to_vec()) });
    assert_eq!(outcome, Err(End::Closed(None)));
}

#[test]
fn nothing_is_kept_of_endless_streams() {
    let mut reader = FrameReader::default();
    let mut received = Received::default();
    reader.read(&frame(0x02, b""), &mut received).unwrap();
    let many = [frame(0x00, &[b'x'; 10_000]), frame(0x00, b""), frame(0x89, &[1; 125])].concat();
    for _ in 0..10_000 {
        reader.read(&many, &mut received).unwrap();
        assert_eq!(received.content.len(), 10_000);
        received.content.clear();
    }
    assert!(reader.begun.capacity() <= 256);
}

proptest! {
    #[test]
    fn any_bytes_mean_the_same_however_they_are_cut(
        stream in prop::collection::vec(any::<u8>(), 0..200), cut in 1usize..20
    ) {
        let whole = read(&stream, stream.len().max(1));
        prop_assert_eq!(&whole, &read(&stream, cut));
        prop_assert!(whole.0.content.len() <= stream.len());
    }

    #[test]
    fn frames_mean_the_same_however_they_are_cut(
        frames in prop::collection::vec(
            (0usize..6, prop::collection::vec(any::<u8>(), 0..140)), 0..8
        ),
        cut in 1usize..20
    ) {
        let firsts = [0x82, 0x02, 0x00, 0x80, 0x89, 0x8a];
        let stream: Vec<u8> =
            frames.iter().flat_map(|(kind, payload)| frame(firsts[*kind], payload)).collect();
        prop_assert_eq!(read(&stream, stream.len().max(1)), read(&stream, cut));
    }
}
