use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use super::*;
use crate::connection::bell::Ring;
use crate::connection::{Bell, Mail, runtime};

const PATIENCE: Duration = Duration::from_secs(10);

/// Panics in the midst of the first delivery.
#[derive(Default)]
struct FaultyRing(AtomicBool);

impl Ring for FaultyRing {
    fn ring(&self) {
        assert!(self.0.swap(true, Ordering::SeqCst), "a fault of our own");
    }
    fn silence(&self) {}
}

/// A link whose first delivery panics, and the server's end of it.
fn faulty_link() -> (Link, Arc<Shared>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new(Shared::new(Bell::new(Box::new(FaultyRing::default()))));
    let (give, take) = std::sync::mpsc::channel();
    let dialled = Arc::clone(&shared);
    runtime::handle().unwrap().spawn(async move {
        give.send(Link::dial(address, dialled).await.unwrap()).ok();
    });
    let (socket, _) = listener.accept().unwrap();
    (take.recv_timeout(PATIENCE).unwrap(), shared, socket)
}

/// Waits for the report of the end of the connection.
fn end_of(shared: &Shared) -> LinkEnd {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut mail = Mail::default();
        shared.collect(&mut mail);
        for event in mail.events {
            if let Event::Ended(_, end) = event {
                return end;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the end was never reported");
}

fn assert_internal(end: &LinkEnd) {
    assert!(matches!(end, LinkEnd::Internal(text) if text == "a fault of our own"), "{end:?}");
}

#[test]
fn a_panic_of_the_io_thread_ends_the_connection() {
    let (link, shared, mut server) = faulty_link();
    link.read_on_thread();
    server.write_all(b"PONG\r\n").unwrap();
    assert_internal(&end_of(&shared));
    assert_eq!(link.read_on_loop(), Reading::Stop);
    drop(link);
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap(), 0, "the socket is closed");
}

#[test]
fn a_panic_on_the_loops_thread_ends_the_connection() {
    let (link, shared, mut server) = faulty_link();
    server.write_all(b"PONG\r\n").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while link.read_on_loop() == Reading::Continue {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_internal(&end_of(&shared));
    assert_eq!(link.read_on_loop(), Reading::Stop);
}

#[test]
fn the_next_connection_works_after_a_panic() {
    let (link, shared, mut server) = faulty_link();
    link.read_on_thread();
    server.write_all(b"PONG\r\n").unwrap();
    end_of(&shared);
    drop(link);
    let epoch = shared.attach();
    shared.outbox.append_urgent(b"CONNECT {}\r\n");
    assert_eq!(shared.outbox.take(epoch, usize::MAX, <[u8]>::to_vec).unwrap(), b"CONNECT {}\r\n");
}
