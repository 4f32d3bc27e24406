//! Sends bytes there and back, where a test's own threads cannot go:
//! `ila-echo serve ADDRESS`, then elsewhere
//! `ila-echo exchange ADDRESS tcp|udp LENGTH…`.

use std::{
    env,
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

const PORT: u16 = 7007;
const LARGEST: usize = 1 << 16;
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ila-echo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<()> {
    match words {
        ["serve", address] => serve(address.parse()?),
        ["exchange", address, protocol, lengths @ ..] => {
            let address = address.parse()?;
            for length in lengths {
                let length: usize =
                    length.parse().with_context(|| format!("`{length}` is no length"))?;
                let sent: Vec<u8> =
                    (0..length).map(|at| (at * 31 + length).to_le_bytes()[0]).collect();
                let received = match *protocol {
                    "tcp" => by_tcp(address, &sent),
                    "udp" => by_udp(address, &sent),
                    _ => bail!("`{protocol}` is neither tcp nor udp"),
                };
                let received = received.with_context(|| format!("{length} bytes by {protocol}"))?;
                ensure!(received == sent, "{length} bytes by {protocol} came back changed");
            }
            Ok(())
        }
        _ => bail!("usage: ila-echo serve ADDRESS | exchange ADDRESS tcp|udp LENGTH…"),
    }
}

/// Says when it can be spoken to, and echoes until it is killed.
fn serve(address: IpAddr) -> Result<()> {
    let datagrams = UdpSocket::bind((address, PORT))?;
    let connections = TcpListener::bind((address, PORT))?;
    println!("ready");
    thread::spawn(move || -> io::Result<()> {
        let mut buffer = vec![0; LARGEST];
        loop {
            let (length, from) = datagrams.recv_from(&mut buffer)?;
            datagrams.send_to(&buffer[..length], from)?;
        }
    });
    for stream in connections.incoming() {
        let mut stream = stream?;
        thread::spawn(move || -> io::Result<()> {
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            stream.write_all(&all)
        });
    }
    Ok(())
}

fn by_tcp(to: IpAddr, sent: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&(to, PORT).into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(sent)?;
    stream.shutdown(Shutdown::Write)?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    Ok(received)
}

fn by_udp(to: IpAddr, sent: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((to, PORT))?;
    socket.send(sent)?;
    let mut received = vec![0; LARGEST];
    let length = socket.recv(&mut received)?;
    received.truncate(length);
    Ok(received)
}
