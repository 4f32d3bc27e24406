//! What a TLS library that knows nothing of us makes of our certificates.

use std::{sync::Arc, time::Duration};

use rustls::{
    Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::WebPkiClientVerifier,
};

use super::*;

/// Whether the certificate is good for a server of this name, and for a client.
fn verify(ca: Vec<u8>, der: Vec<u8>, name: &'static str, now: u64) -> [Result<(), Error>; 2] {
    let mut roots = RootCertStore::empty();
    roots.add(ca.into()).expect("the authority's certificate can be read");
    let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
    let server =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    let client = WebPkiClientVerifier::builder_with_provider(roots, provider);
    let (server, client) =
        (server.build().expect("it verifies"), client.build().expect("it verifies"));
    let der = CertificateDer::from(der);
    let name = ServerName::try_from(name).expect("a name");
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    [
        server.verify_server_cert(&der, &[], &name, &[], now).map(|_| ()),
        client.verify_client_cert(&der, &[], now).map(|_| ()),
    ]
}

#[test]
fn it_takes_a_node_for_the_server_and_for_a_client() {
    let ((_, ca, _), (_, _, der)) = (authority(1), issued());
    for now in [VALIDITY.from, IN_TIME, VALIDITY.until] {
        for verified in verify(ca.clone(), der.clone(), SERVER_NAME, now) {
            verified.expect("it is good");
        }
    }
}

#[test]
fn it_refuses_what_we_refuse() {
    let ((_, ca, _), (_, _, der)) = (authority(1), issued());
    let (_, foreign, _) = authority(3);
    for (case, ca, der, now) in [
        ("of another authority", foreign, der.clone(), IN_TIME),
        ("too early", ca.clone(), der.clone(), VALIDITY.from - 1),
        ("too late", ca.clone(), der.clone(), VALIDITY.until + 1),
        ("the authority's own", ca.clone(), ca.clone(), IN_TIME),
    ] {
        for verified in verify(ca, der, SERVER_NAME, now) {
            verified.expect_err(case);
        }
    }
    let [server, _] = verify(ca, der, "elsewhere.ila", IN_TIME);
    server.expect_err("another name");
}
