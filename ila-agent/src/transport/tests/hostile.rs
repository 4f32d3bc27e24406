//! Peers that mean harm: what they try is counted by its reason, and others do
//! not notice.

use ila_proto::gossip::wire;
use quinn::{ClientConfig, Connecting, IdleTimeout, SendDatagramError};

use super::*;
use crate::transport::testing::{Distances, NOW, Net, address};

const NEAR: Distances = Distances { delay: (1, 2), loss: 0 };

/// Somebody who speaks QUIC, and shows what it likes.
struct Hostile {
    endpoint: Endpoint,
    config: ClientConfig,
}

/// A certificate with its key, in DER.
type Shown = (Vec<u8>, Vec<u8>);

fn shown(authority: u8, validity: Validity) -> Shown {
    let (identity, _) = identity(authority, 66, validity);
    (identity.certificate, identity.key)
}

impl Hostile {
    fn new(net: &Net, at: u16, shown: Option<Shown>, alpn: &[u8]) -> Self {
        let underlay = net.underlay(address(at), at.into());
        let Underlay { socket, runtime, endpoint, .. } = underlay;
        let endpoint = Endpoint::new_with_abstract_socket(endpoint, None, socket, runtime);
        let provider = Arc::new(ring::default_provider());
        let (good, _) = identity(1, 67, VALIDITY);
        let authority = Authority::read(&good.authority).expect("it was made so");
        let shared = (Arc::default(), Arc::default());
        let verifier = Verifier::new(authority, &good.authority, VALIDITY, &provider, shared);
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("there is a cipher")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier.expect("it is good")));
        let mut tls = match shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key).into();
                let chain = vec![CertificateDer::from(certificate)];
                builder.with_client_auth_cert(chain, key).expect("they go together")
            }
        };
        tls.alpn_protocols = vec![alpn.to_vec()];
        let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("it has a cipher");
        let mut config = ClientConfig::new(Arc::new(tls));
        let mut transport = quinn::TransportConfig::default();
        transport.max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(600_000))));
        config.transport_config(Arc::new(transport));
        Self { endpoint: endpoint.expect("the socket is good"), config }
    }

    fn good(net: &Net, at: u16) -> Self {
        Self::new(net, at, Some(shown(1, VALIDITY)), b"ila-mesh/1")
    }

    fn connect(&self) -> Connecting {
        let connecting = self.endpoint.connect_with(self.config.clone(), address(0), SERVER_NAME);
        connecting.expect("it can be tried")
    }
}

/// The node that is harmed if it can be.
fn victim(net: &Net) -> Transport {
    let (identity, _) = identity(1, 1, VALIDITY);
    Transport::over(net.underlay(address(0), 0), &identity).expect("it is good")
}

fn count(transport: &Transport, reason: Reason) -> u64 {
    transport.counts().all().get(&reason).copied().unwrap_or_default()
}

/// Whether somebody good comes in.
async fn is_well(net: &Net, victim: &Transport) -> bool {
    let (identity, _) = identity(1, 2, VALIDITY);
    let good = Transport::over(net.underlay(address(1000), 9), &identity).expect("it is good");
    let (calls, called) = tokio::join!(good.connect(address(0)), accept(victim));
    calls.is_ok() && called.is_ok()
}

#[test]
fn names_are_unlike_and_in_kebab_case() {
    let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|it| it.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
    let is_kebab = |name: &&str| name.bytes().all(|it| it.is_ascii_lowercase() || it == b'-');
    assert!(names.iter().all(is_kebab));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_show_what_it_takes_is_not_let_in_for_that_reason() {
    let (authority, _) = identity(1, 66, VALIDITY);
    let authority_key = KeyPair::from_seed(&[1; 32]).to_der();
    let past = Validity { from: 0, until: NOW - 1 };
    let future = Validity { from: NOW + 1, until: VALIDITY.until };
    let ours = b"ila-mesh/1";
    let bad = [
        (Some(shown(2, VALIDITY)), &ours[..], Reason::OtherAuthority),
        (Some(shown(1, past)), ours, Reason::Expired),
        (Some(shown(1, future)), ours, Reason::NotYetValid),
        (Some((authority.authority, authority_key)), ours, Reason::NotANode),
        (None, ours, Reason::NoCertificate),
        (Some(shown(1, VALIDITY)), b"ila-mesh/3", Reason::OtherProtocol),
    ];
    let net = Net::new(1, NEAR);
    let victim = victim(&net);
    for (at, (shown, alpn, reason)) in (1..).zip(bad) {
        let hostile = Hostile::new(&net, at, shown, alpn);
        let (calls, called) = tokio::join!(hostile.connect(), accept(&victim));
        called.expect_err(reason.name());
        if let Ok(connection) = calls {
            connection.closed().await;
        }
        assert_eq!(count(&victim, reason), 1, "{reason}");
        assert_eq!(victim.counts().all().len(), usize::from(at), "{:?}", victim.counts().all());
    }
    assert!(is_well(&net, &victim).await);
}

/// A version that is known here is not spoken where that was configured.
#[tokio::test(start_paused = true)]
async fn who_speaks_later_versions_only_is_not_let_in_where_they_are_held_back() {
    let net = Net::new(1, NEAR);
    let (identity, _) = identity(1, 1, VALIDITY);
    let speaks = Speaks { latest: Version::One, admits: false };
    let held = Transport::speaking(net.underlay(address(0), 0), &identity, speaks);
    let held = held.expect("it is good");
    let later = Hostile::new(&net, 1, Some(shown(1, VALIDITY)), Version::Two.alpn());
    let (calls, called) = tokio::join!(later.connect(), accept(&held));
    calls.expect_err("it is not let in");
    called.expect_err("it speaks something else");
    assert_eq!(held.counts().all(), [(Reason::OtherProtocol, 1)].into());
    assert!(is_well(&net, &held).await);
}

#[tokio::test(start_paused = true)]
async fn a_flood_from_stolen_addresses_keeps_nobody_out() {
    const FLOOD: u16 = 100;
    let net = Net::new(1, NEAR);
    let victim = victim(&net);
    let accepting = victim.clone();
    tokio::spawn(async move {
        while let Some(handshake) = accepting.accept().await {
            tokio::spawn(handshake);
        }
    });
    let mut flood = Vec::new();
    for at in 1..=FLOOD {
        let hostile = Hostile::good(&net, at);
        flood.push(hostile.connect());
        net.forget(address(at));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let unproven = count(&victim, Reason::AddressUnproven);
    assert_eq!(unproven, u64::from(FLOOD) - 64);
    // Somebody good has to prove its address, and is in at once.
    let (identity, _) = identity(1, 2, VALIDITY);
    let good = Transport::over(net.underlay(address(1000), 9), &identity).expect("it is good");
    let start = tokio::time::Instant::now();
    good.connect(address(0)).await.expect("it is let in");
    assert!(start.elapsed() < Duration::from_millis(50), "{:?}", start.elapsed());
    assert_eq!(count(&victim, Reason::AddressUnproven), unproven + 1);
    // And none of the others is waited for for long.
    tokio::time::sleep(HANDSHAKE).await;
    assert!(count(&victim, Reason::HandshakeTimeout) >= 64);
}

/// What a good node has been let in to say.
async fn said(bytes: &[u8], ends: bool) -> (Transport, Result<Frame, TransportError>) {
    let net = Net::new(1, NEAR);
    let victim = victim(&net);
    let hostile = Hostile::good(&net, 1);
    let (calls, called) = tokio::join!(hostile.connect(), accept(&victim));
    let (connection, peer) = (calls.expect("it is let in"), called.expect("it is good"));
    let mut stream = connection.open_uni().await.expect("there is one");
    stream.write_all(bytes).await.expect("it is taken");
    if ends {
        stream.finish().expect("it is open");
    }
    let mut reader = peer.reader().await.expect("it says something");
    let read = reader.read().await;
    peer.close(0);
    assert!(is_well(&net, &victim).await);
    (victim, read)
}

#[tokio::test(start_paused = true)]
async fn what_is_no_frame_ends_a_connection_and_what_is_none_yet_is_skipped() {
    let long = u32::try_from(wire::MAX_BYTES + 1).expect("it is small").to_be_bytes();
    let bomb = [2, 0, 0, 0, 9, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let bad: [(&[u8], bool, Reason); 7] = [
        (&[&[1], &long[..]].concat(), false, Reason::FrameTooLong),
        // Of a kind that is not known, but that does not make it shorter.
        (&[&[77], &long[..]].concat(), false, Reason::FrameTooLong),
        (&bomb, false, Reason::FrameMalformed),
        (&[6, 0, 0, 0, 1, 0], false, Reason::FrameMalformed),
        (&[1, 0, 0, 1, 0, 5, 5], true, Reason::FrameTruncated),
        (&[1, 0], true, Reason::FrameTruncated),
        // The rest never comes.
        (&[1, 0, 0, 1, 0, 5, 5], false, Reason::FrameTimeout),
    ];
    for (bytes, ends, reason) in bad {
        let (victim, read) = said(bytes, ends).await;
        read.expect_err(reason.name());
        assert_eq!(victim.counts().all(), [(reason, 1)].into(), "{reason}");
    }
    let (victim, read) = said(&[77, 0, 0, 0, 2, 1, 2, 6, 0, 0, 0, 0], false).await;
    assert_eq!(read.expect("it is one"), Frame::Same);
    assert_eq!(victim.counts().all(), [(Reason::FrameUnknown, 1)].into());
}

#[tokio::test(start_paused = true)]
async fn nobody_has_more_than_one_stream_and_no_datagrams() {
    let net = Net::new(1, NEAR);
    let victim = victim(&net);
    let hostile = Hostile::good(&net, 1);
    let (calls, called) = tokio::join!(hostile.connect(), accept(&victim));
    let (connection, _peer) = (calls.expect("it is let in"), called.expect("it is good"));
    let _first = connection.open_uni().await.expect("there is one");
    let minute = Duration::from_secs(60);
    timeout(minute, connection.open_uni()).await.expect_err("there is one only");
    timeout(minute, connection.open_bi()).await.expect_err("there are none");
    let sent = connection.send_datagram(vec![0; 9].into());
    assert!(matches!(sent, Err(SendDatagramError::UnsupportedByPeer)), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_banned_comes_back_when_it_may() {
    let net = Net::new(1, NEAR);
    let victim = victim(&net);
    let hostile = Hostile::good(&net, 1);
    let (_, called) = tokio::join!(hostile.connect(), accept(&victim));
    let liar = called.expect("it is good").node.key.node();
    victim.ban(liar);
    let (calls, called) = tokio::join!(hostile.connect(), accept(&victim));
    called.expect_err("it has lied");
    drop(calls);
    assert_eq!(victim.counts().all(), [(Reason::Banned, 1)].into());
    assert!(is_well(&net, &victim).await);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (_, called) = tokio::join!(hostile.connect(), accept(&victim));
    called.expect("it has waited");
}
