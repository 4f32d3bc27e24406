use std::os::unix::net::UnixDatagram;

use super::*;

/// Of three requests the first is answered when the second was sent, the second
/// never, and the third at once.
#[test]
fn a_late_answer_is_not_taken_for_that_of_another_request() {
    let (client, server) = UnixDatagram::pair().unwrap();
    client.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    // If the client takes one for the other, the third request never comes.
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut client, mut server) =
        (File::from(OwnedFd::from(client)), File::from(OwnedFd::from(server)));
    let (times, lost) = thread::scope(|scope| {
        scope.spawn(move || {
            let [mut first, mut second, mut third] = [[0; 8]; 3];
            server.read_exact(&mut first).unwrap();
            server.read_exact(&mut second).unwrap();
            server.write_all(&first).unwrap();
            server.read_exact(&mut third).unwrap();
            server.write_all(&third).unwrap();
        });
        ask(&mut client, 8, Duration::ZERO).unwrap()
    });
    assert_eq!((times.len(), lost), (1, 2));
}

#[test]
fn who_answers_ends_with_the_requests() {
    let (client, server) = UnixDatagram::pair().unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut server = File::from(OwnedFd::from(server));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let answering = scope.spawn(|| answer(&mut server, &stop));
        let mut answered = [0; 8];
        for request in [&b"one"[..], b"another"] {
            client.send(request).unwrap();
            let length = client.recv(&mut answered).unwrap();
            assert_eq!(&answered[..length], request);
        }
        stop.store(true, Ordering::Relaxed);
        client.send(b"last").unwrap();
        answering.join().unwrap().unwrap();
    });
    client.set_nonblocking(true).unwrap();
    let error = client.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "the last is not answered");
}
