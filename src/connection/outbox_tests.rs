use super::*;

fn publish(outbox: &Outbox, payload: &[u8]) {
    outbox.append(|out| encode::publish(out, b"s", b"", b"", payload));
}

fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(encode::PING);
}

fn attached() -> (Outbox, u64) {
    let outbox = Outbox::default();
    let epoch = outbox.attach();
    (outbox, epoch)
}

/// A socket that takes `room` bytes and then blocks.
fn socket(room: usize, sink: &mut Vec<u8>) -> impl FnMut(&[u8]) -> io::Result<usize> + '_ {
    let mut left = room;
    move |bytes| {
        if left == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = bytes.len().min(left);
        left -= taken;
        sink.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
}

#[test]
fn holds_commands_until_released_but_not_urgent_ones() {
    let (outbox, epoch) = attached();
    publish(&outbox, b"1");
    outbox.append_urgent(b"CONNECT {}\r\n");
    let mut sink = Vec::new();
    assert_eq!(outbox.write(epoch, socket(1000, &mut sink)).unwrap(), Written::All);
    assert_eq!(sink, b"CONNECT {}\r\n");
    outbox.release(b"");
    outbox.append_urgent(b"SUB a 1\r\n");
    assert_eq!(outbox.write(epoch, socket(1000, &mut sink)).unwrap(), Written::All);
    assert_eq!(sink, b"CONNECT {}\r\nSUB a 1\r\nPUB s 1\r\n1\r\n");
    assert_eq!(outbox.size(), 0);
}

#[test]
fn continues_where_the_socket_blocked() {
    let (outbox, epoch) = attached();
    outbox.release(b"");
    publish(&outbox, b"first");
    let mut sink = Vec::new();
    assert_eq!(outbox.write(epoch, socket(4, &mut sink)).unwrap(), Written::Blocked);
    publish(&outbox, b"second");
    assert_eq!(outbox.size(), 2 * b"PUB s 5\r\nfirst\r\n".len() - 4 + 1);
    assert_eq!(outbox.write(epoch, socket(1000, &mut sink)).unwrap(), Written::All);
    assert_eq!(sink, b"PUB s 5\r\nfirst\r\nPUB s 6\r\nsecond\r\n");
}

#[test]
fn a_blocked_socket_is_left_to_the_writer_task() {
    let (outbox, epoch) = attached();
    outbox.release(b"");
    let attempts = std::cell::Cell::new(0);
    let blocked = |_: &[u8]| {
        attempts.set(attempts.get() + 1);
        Err(io::ErrorKind::WouldBlock.into())
    };
    for _ in 0..1000 {
        publish(&outbox, b"x");
        assert_eq!(outbox.try_write(epoch, blocked).unwrap(), Written::Blocked);
    }
    assert_eq!(attempts.get(), 1, "one attempt shows that the socket is blocked");
    assert_eq!(outbox.write(epoch, blocked).unwrap(), Written::Blocked);
    assert_eq!(outbox.try_write(epoch, blocked).unwrap(), Written::Blocked);
    assert_eq!(attempts.get(), 2, "only the writer task tries again");
    let mut sink = Vec::new();
    assert_eq!(outbox.write(epoch, socket(100_000, &mut sink)).unwrap(), Written::All);
    assert_eq!(sink.len(), 1000 * b"PUB s 1\r\nx\r\n".len());
    publish(&outbox, b"y");
    assert_eq!(outbox.try_write(epoch, socket(1000, &mut sink)).unwrap(), Written::All);
}

#[test]
fn a_new_connection_is_not_blocked_by_the_old_one() {
    let (outbox, epoch) = attached();
    outbox.release(b"");
    publish(&outbox, b"x");
    assert_eq!(outbox.write(epoch, socket(0, &mut Vec::new())).unwrap(), Written::Blocked);
    let next = outbox.attach();
    outbox.release(b"");
    // The old one still comes by.
    assert_eq!(outbox.write(epoch, socket(1000, &mut Vec::new())).unwrap(), Written::Detached);
    let mut sink = Vec::new();
    assert_eq!(outbox.try_write(next, socket(1000, &mut sink)).unwrap(), Written::All);
    assert_eq!(sink, b"PUB s 1\r\nx\r\n");
}

#[test]
fn a_new_connection_gets_what_the_old_one_left() {
    let (outbox, old) = attached();
    outbox.release(b"");
    publish(&outbox, b"cut");
    let mut sink = Vec::new();
    assert_eq!(outbox.write(old, socket(9, &mut sink)).unwrap(), Written::Blocked);
    publish(&outbox, b"next");

    let new = outbox.attach();
    assert_eq!(outbox.write(old, socket(1000, &mut sink)).unwrap(), Written::Detached);
    outbox.release(b"");
    sink.clear();
    assert_eq!(outbox.write(new, socket(1000, &mut sink)).unwrap(), Written::All);
    assert_eq!(sink, b"PUB s 3\r\ncut\r\nPUB s 4\r\nnext\r\n");
}

#[test]
fn gives_notice_of_room_once() {
    let (outbox, epoch) = attached();
    outbox.release(b"");
    publish(&outbox, &[0; 100]);
    outbox.want_room();
    assert!(!outbox.take_room_notice(50));
    let mut sink = Vec::new();
    outbox.write(epoch, socket(1000, &mut sink)).unwrap();
    assert!(outbox.take_room_notice(50));
    assert!(!outbox.take_room_notice(50));
}

#[test]
fn take_hands_over_piece_by_piece() {
    let (outbox, epoch) = attached();
    outbox.release(b"");
    publish(&outbox, b"first");
    publish(&outbox, b"next");
    let all = b"PUB s 5\r\nfirst\r\nPUB s 4\r\nnext\r\n";
    assert_eq!(outbox.take(epoch, 20, <[u8]>::to_vec).unwrap(), all[..20]);
    assert_eq!(outbox.size(), all.len() - 20);

    // What a connection hasn't been given whole is the next one's.
    let next = outbox.attach();
    assert_eq!(outbox.take(epoch, 20, <[u8]>::to_vec), None);
    outbox.release(b"");
    assert_eq!(outbox.take(next, 5, <[u8]>::to_vec).unwrap(), all[16..21]);
    assert_eq!(outbox.take(next, 100, <[u8]>::to_vec).unwrap(), all[21..]);
    assert_eq!(outbox.take(next, 100, <[u8]>::to_vec), None);
    assert_eq!(outbox.size(), 0);
}

#[test]
fn take_hands_everything_over() {
    let (outbox, epoch) = attached();
    assert_eq!(outbox.take(epoch, usize::MAX, <[u8]>::to_vec), None);
    outbox.release(b"");
    publish(&outbox, b"x");
    assert_eq!(outbox.take(epoch, usize::MAX, <[u8]>::to_vec).unwrap(), b"PUB s 1\r\nx\r\n");
    assert_eq!(outbox.take(epoch, usize::MAX, <[u8]>::to_vec), None);
    assert_eq!(outbox.size(), 0);
}

#[test]
fn a_new_connection_gets_publishes_and_what_is_replayed() {
    let (outbox, epoch) = attached();
    assert!(!outbox.append_in_service(ping), "nobody is there to answer");
    outbox.append(|out| encode::subscribe(out, "gone", "", 1));
    publish(&outbox, b"1");
    outbox.append(|out| encode::unsubscribe(out, 1, 0));
    publish(&outbox, b"PING");
    outbox.release(b"SUB a 2\r\n");
    assert!(outbox.append_in_service(ping));
    let expected = b"SUB a 2\r\nPUB s 1\r\n1\r\nPUB s 4\r\nPING\r\nPING\r\n";
    assert_eq!(outbox.size(), expected.len());
    assert_eq!(outbox.take(epoch, usize::MAX, <[u8]>::to_vec).unwrap(), expected);
    assert_eq!(outbox.size(), 0);
}

#[test]
fn what_only_a_connection_in_service_understands_isnt_collected_without_one() {
    let (outbox, epoch) = attached();
    outbox.release(b"");
    assert!(outbox.append_in_service(|out| encode::subscribe(out, "s", "", 1)));
    assert_eq!(outbox.take(epoch, usize::MAX, <[u8]>::to_vec).unwrap(), b"SUB s 1\r\n");
    outbox.hold();
    assert!(!outbox.append_in_service(|out| encode::subscribe(out, "s", "", 2)));
    assert_eq!(outbox.size(), 0);
}

#[test]
fn a_long_replay_keeps_no_memory() {
    let (outbox, epoch) = attached();
    outbox.release(&b"SUB a 2\r\n".repeat(100_000));
    outbox.take(epoch, usize::MAX, <[u8]>::to_vec).unwrap();
    publish(&outbox, b"1");
    outbox.take(epoch, usize::MAX, <[u8]>::to_vec).unwrap();
    let kept = lock(&outbox.pending).urgent.capacity() + lock(&outbox.writer).buffer.capacity();
    assert!(kept <= KEEP_CAPACITY, "{kept} bytes");
}
