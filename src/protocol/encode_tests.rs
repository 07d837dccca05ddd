use proptest::prelude::*;

use super::*;

fn encoded(subject: &str, reply: &str, headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    publish(&mut out, subject.as_bytes(), reply.as_bytes(), headers, payload);
    out
}

#[test]
fn finds_reply_subjects() {
    let mut out = Vec::new();
    publish(&mut out, b"a", b"", b"", b"x y z");
    publish(&mut out, b"a", b"r.1", b"", b"");
    subscribe(&mut out, "s", "q", 1);
    publish(&mut out, b"a", b"", b"NATS/1.0\r\n\r\n", b"x");
    publish(&mut out, b"a", b"r.2", b"NATS/1.0\r\n\r\n", b"PUB a r.3 0\r\n\r\n");
    out.extend_from_slice(b"PUB a r.4 5\r\ncut");
    assert_eq!(reply_subjects(&out).collect::<Vec<_>>(), [b"r.1", b"r.2"]);
}

#[test]
fn publish_forms() {
    assert_eq!(encoded("a", "", b"", b"hi"), b"PUB a 2\r\nhi\r\n");
    assert_eq!(encoded("a", "r", b"", b""), b"PUB a r 0\r\n\r\n");
    let block = b"NATS/1.0\r\nA: 1\r\n\r\n";
    assert_eq!(
        encoded("a", "r", block, b"hi"),
        b"HPUB a r 18 20\r\nNATS/1.0\r\nA: 1\r\n\r\nhi\r\n"
    );
}

#[test]
fn subscription_forms() {
    let mut out = Vec::new();
    subscribe(&mut out, "a.*", "", 7);
    subscribe(&mut out, "a.*", "q", 8);
    unsubscribe(&mut out, 7, 0);
    unsubscribe(&mut out, 8, 3);
    assert_eq!(out, b"SUB a.* 7\r\nSUB a.* q 8\r\nUNSUB 7\r\nUNSUB 8 3\r\n");
}

#[test]
fn recovers_whole_publishes_only() {
    let first = encoded("a", "", b"", b"PUB fake 9\r\n");
    let second = encoded("b", "r", b"", b"two");
    let mut buffer = first.clone();
    subscribe(&mut buffer, "s", "", 1);
    buffer.extend_from_slice(PING);
    buffer.extend_from_slice(&second);

    assert_eq!(unwritten_publishes(&buffer, 0), [first.clone(), second.clone()].concat());
    assert_eq!(
        unwritten_publishes(&buffer, first.len() - 1),
        [first.clone(), second.clone()].concat(),
        "a publish cut before its last byte never counted"
    );
    assert_eq!(unwritten_publishes(&buffer, first.len()), second);
    assert_eq!(unwritten_publishes(&buffer, buffer.len()), b"");
}

proptest! {
    #[test]
    fn recovery_keeps_exactly_the_unfinished(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8),
        cut in 0.0..1.0_f64,
    ) {
        let commands: Vec<Vec<u8>> =
            payloads.iter().map(|payload| encoded("s", "", b"", payload)).collect();
        let buffer = commands.concat();
        let from = (buffer.len() as f64 * cut) as usize;
        let mut end = 0;
        let mut expected = Vec::new();
        for command in &commands {
            end += command.len();
            if end > from {
                expected.extend_from_slice(command);
            }
        }
        prop_assert_eq!(unwritten_publishes(&buffer, from), expected);
    }
}
