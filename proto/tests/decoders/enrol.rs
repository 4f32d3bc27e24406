//! What hosts say that want to be let in, and what people type.

use std::fmt::Debug;

use ila_proto::{
    addr::{Identifier, Locator, SirPrefix},
    api::{ContainerName, Domain, InterfaceName, NodeName},
    enrol::{
        Admitted, Answer, Ask, Fingerprint, Greeting, MAX_MESSAGE, Refusal, Refused, Request,
        Secret, Settings, Token,
    },
    gossip::{IdentifierRange, sim::Dice},
    identity::{KeyPair, to_pem},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    WORLD, corpus,
    memory::peak,
    mutate::{mutant, pick},
    run::{mutants, run},
};

const GROWTH: usize = 64;
const ROOM: usize = 64 << 10;
const EXPORTER: [u8; 32] = [3; 32];

fn token() -> Token {
    Token {
        authority: Fingerprint([0xab; 32]),
        secret: Secret([0xcd; 16]),
        addresses: ["[2001:db8::1]:7946", "[2001:db8::2]:1"]
            .map(|it| it.parse().expect("it is an address"))
            .to_vec(),
        sir_prefixes: vec!["fd00:db8:0:1::/64".parse().expect("it is a prefix")],
    }
}

/// Reads a text, which is written as one that reads the same.
fn check_text<T>(text: &str)
where
    T: std::str::FromStr + ToString + PartialEq + Debug,
    T::Err: Debug + ToString,
{
    let (read, took) = peak(|| text.parse::<T>());
    assert!(took <= ROOM + text.len() * GROWTH, "{took} bytes of memory for {}", text.len());
    match read {
        Ok(value) => {
            let again = value.to_string().parse::<T>().expect("what was read can be written");
            assert_eq!(again, value);
        }
        Err(error) => assert!(error.to_string().len() <= 200 + 8 * text.len(), "{error:?}"),
    }
}

fn check_texts(bytes: &[u8]) {
    let text = &String::from_utf8_lossy(bytes);
    check_text::<SirPrefix>(text);
    check_text::<Locator>(text);
    check_text::<Identifier>(text);
    check_text::<Domain>(text);
    check_text::<IdentifierRange>(text);
    check_text::<Token>(text);
    check_text::<NodeName>(text);
    check_text::<ContainerName>(text);
    check_text::<InterfaceName>(text);
}

#[test]
fn texts_are_read() {
    let token = token().to_string();
    let texts = [
        "fd00:db8:0:1::/64",
        "2001:db8:a:1::/64",
        "2000:0:0:1",
        "0x2000000000000001",
        "fd00:db8:0:1::/64@2001:db8:a:1::/64",
        "2000:10:0:0/28",
        "host-1.example",
        "eth0",
        "::ffff:1.2.3.4/96",
        "äöü\u{a0}\u{2028}",
        &token,
    ];
    let pool = texts.map(|text| text.as_bytes().to_vec());
    let target = "-p ila-proto --test decoders texts_are_read";
    mutants(target, 20_000, &pool, |_, _| (), check_texts);
}

/// A token's digits, of whatever bytes.
fn digits(bytes: &[u8]) -> String {
    let bits: Vec<_> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |bits: &[u8]| {
        let value = (0..5).fold(0, |value, at| value << 1 | bits.get(at).copied().unwrap_or(0));
        char::from(b"0123456789abcdefghjkmnpqrstvwxyz"[usize::from(value)])
    };
    bits.chunks(5).map(digit).collect()
}

/// Tokens whose check is right, for whoever makes one up can do that.
#[test]
fn tokens_are_read() {
    // Fingerprint, secret, counts, two addresses, a SIR prefix.
    let address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x1f, 0x0a];
    let sir_prefix = [0xfd, 0, 0xd, 0xb8, 0, 0, 0, 1];
    let said = [&[0xab; 32][..], &[0xcd; 16], &[0x21], &address, &address, &sir_prefix].concat();
    let pool = [said.clone(), [&said[..], &sir_prefix, &sir_prefix].concat()];
    let with_check = |said: &[u8]| {
        let check = blake3::derive_key("ila 2026 join token", said);
        format!("ila1{}", digits(&[said, &check[..4]].concat()))
    };
    assert!(with_check(&said).parse::<Token>().is_ok());
    run("-p ila-proto --test decoders tokens_are_read", 20_000, |dice| {
        let mut said = mutant(dice, &pool);
        if dice.below(2) == 0 && said.len() > 48 {
            said[48] = *pick(dice, &[0, 0x11, 0x14, 0x21, 0x22, 0x31, 0x15, 0xff]);
        }
        let text = with_check(&said);
        check_text::<Token>(&text);
        // A token can be written in one way only.
        if let Ok(token) = text.parse::<Token>() {
            assert_eq!(token.to_string(), text);
        }
    });
}

fn check_message<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let (read, took) = peak(|| serde_json::from_slice::<T>(bytes));
    assert!(took <= ROOM + bytes.len() * GROWTH, "{took} bytes of memory for {}", bytes.len());
    let value = read.ok()?;
    let again = serde_json::to_vec(&value).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&again).expect("it was written"), value);
    Some(value)
}

fn messages() -> Vec<Vec<u8>> {
    let (key, _, der) = &WORLD.authority;
    let node = KeyPair::from_seed(&[8; 32]);
    let join = Ask::Join {
        secret: Secret([1; 16]),
        node: "h1".parse().expect("it is a name"),
        locators: vec!["fd00::1:0:0:0:0/64@2001:db8::/64".parse().expect("it is a domain")],
    };
    let settings = Settings {
        locator_spaces: vec!["2001:db8::/32".parse().expect("it is a prefix")],
        ..Settings::default()
    };
    let certificate = to_pem(&WORLD.speakers[0].record.certificate);
    let seeds = vec!["[2001:db8::1]:7946".parse().expect("it is an address")];
    let admitted = Admitted { certificate, authority: to_pem(der), seeds, settings };
    let refused = Refused { why: Refusal::Taken, message: "a\u{1b}[2J".to_owned() };
    let json = [
        serde_json::to_vec(&Greeting::new(key, &EXPORTER)),
        serde_json::to_vec(&Request::new(&node, &EXPORTER, join)),
        serde_json::to_vec(&Request::new(&node, &EXPORTER, Ask::Renew)),
        serde_json::to_vec(&Answer::Admitted(admitted)),
        serde_json::to_vec(&Answer::Refused(refused)),
    ];
    json.into_iter()
        .map(|it| it.expect("it can be written"))
        .chain(corpus::all("message"))
        .collect()
}

#[test]
fn messages_are_read() {
    let pool = messages();
    let authority = WORLD.authority.1.key();
    let greeting: Greeting = serde_json::from_slice(&pool[0]).expect("it was written");
    let requests: Vec<Request> =
        pool[1..3].iter().map(|it| serde_json::from_slice(it).expect("it was written")).collect();
    let short = |_: &mut Dice, bytes: &mut Vec<u8>| bytes.truncate(MAX_MESSAGE);
    mutants("-p ila-proto --test decoders messages_are_read", 20_000, &pool, short, |bytes| {
        if let Some(read) = check_message::<Greeting>(bytes) {
            assert!(read == greeting || !read.is_of(&authority, &EXPORTER));
        }
        if let Some(read) = check_message::<Request>(bytes) {
            // The signature is over key and connection, not over what is asked.
            let known = requests.iter().any(|it| it.key == read.key);
            assert!(known || !read.is_proven(&EXPORTER));
        }
        if let Some(Answer::Refused(refused)) = check_message(bytes) {
            let shown = refused.to_string();
            assert!(shown.chars().count() <= 500 && !shown.contains(char::is_control));
        }
    });
}
