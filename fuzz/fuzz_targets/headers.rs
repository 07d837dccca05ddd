//! Any bytes as a header block: reading never panics, and what was read, written and read again
//! stays what it is. A value can't smuggle in a line.

#![no_main]

use _core::protocol::headers;
use libfuzzer_sys::fuzz_target;

fn encode(block: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    headers::start(&mut out);
    headers::parse(block, |name, value| {
        assert!(!name.contains(['\r', '\n', ':']) && !value.contains("\r\n"));
        let before = out.len();
        match headers::push(&mut out, name, value) {
            Ok(()) => {
                let line = &out[before..];
                assert!(line.is_empty() || line.ends_with(b"\r\n"));
                assert_eq!(memchr::memchr_iter(b'\n', line).count(), usize::from(!line.is_empty()));
            }
            Err(headers::BadHeader(_)) => assert_eq!(out.len(), before),
        }
    });
    headers::finish(&mut out);
    out
}

fuzz_target!(|block: &[u8]| {
    if let Some(status) = headers::inline_status(block) {
        assert!(status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit()));
    }
    let once = encode(block);
    assert_eq!(encode(&once), once);
});
