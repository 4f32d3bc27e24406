//! Makes up what an agent has heard of a large mesh, for measuring what it costs
//! to know one: every node certified by a lab's authority, every state signed.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use clap::Parser;
use ila_agent::mesh::{own, snapshot};
use ila_authority::{CA_KEY, CA_PEM};
use ila_proto::{
    addr::{Identifier, Locator, SirPrefix},
    gossip::{
        Certified, Change, IdentifierRange, Incarnation, Key, NodeRecord, Owner, Position,
        PublicKey, Signature, State, Surroundings,
        claim::{Claim, Subject},
        mesh::change,
    },
    identity::{self, Authority, KeyPair, is_signed},
};

/// Writes what an agent has heard of a mesh that there is not
#[derive(Parser)]
struct Args {
    /// The folder of the authority that certifies the nodes
    #[arg(long)]
    authority: PathBuf,
    /// The SIR prefix of all of them
    #[arg(long)]
    sir_prefix: SirPrefix,
    /// How many nodes
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: u32,
    /// How many identifiers in all
    #[arg(long)]
    identifiers: u32,
    /// The file to write
    #[arg(long)]
    out: PathBuf,
}

/// Bits of an identifier behind the range of its home.
const HOME: u32 = 36;

/// What a node needs to say something.
struct Speaker {
    authority: Authority,
    key: KeyPair,
}

impl Surroundings for Speaker {
    fn certified(&mut self, certificate: &[u8]) -> Option<Certified> {
        self.authority.certified(certificate, None).ok()
    }

    fn is_signed(&mut self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        is_signed(key, message, signature)
    }

    fn is_granted(&mut self, _: &[u8], _: &Signature) -> bool {
        false
    }

    fn sign(&mut self, message: &[u8]) -> Signature {
        self.key.sign(message)
    }

    fn random(&mut self) -> u64 {
        0
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let ca_key = ila_authority::read_key(&args.authority.join(CA_KEY))?;
    let pem = fs::read_to_string(args.authority.join(CA_PEM)).context("no authority")?;
    let authority = Authority::read(&identity::from_pem(&pem)?)?;
    let owners = (0..args.nodes).map(|node| {
        let share = args.identifiers / args.nodes + u32::from(node < args.identifiers % args.nodes);
        speak(&args, (&authority, &ca_key), node, share).map(Arc::new)
    });
    let owners = owners.collect::<Result<Vec<_>>>()?;
    snapshot::save(&args.out, &owners)?;
    Ok(())
}

/// A node that holds so many identifiers of the range that it is the home of.
fn speak(
    args: &Args,
    (authority, ca_key): (&Authority, &KeyPair),
    node: u32,
    identifiers: u32,
) -> Result<Owner> {
    let mut seed = [0xc0; 32];
    seed[..4].copy_from_slice(&node.to_be_bytes());
    let key = KeyPair::from_seed(&seed);
    let home = 1 << 61 | u64::from(node + 1) << HOME;
    let certified = Certified {
        key: key.public(),
        name: format!("n{node}").parse()?,
        locators: vec![(
            args.sir_prefix,
            Locator::from_bits(0x2001_0db8_c000_0000 | u64::from(node)),
        )],
        home: vec![IdentifierRange { bits: home, length: 28 }],
    };
    let serial = u128::from(node).to_be_bytes();
    let certificate = authority.issue(ca_key, &certified, serial, authority.validity())?;
    let record = NodeRecord {
        certificate,
        addresses: vec!["[2001:db8:ffff::1]:7741".parse()?],
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let record = Change { key: Key::RECORD, value: Some(own::value(&record)?) };
    let claims = (0..identifiers).filter_map(|number| {
        let identifier = Identifier::from_bits(home | u64::from(number) << 16 | 1);
        change(&certified, Subject::new(args.sir_prefix, identifier), Some(&Claim::default()))
    });
    let entries = claims.chain([record]).filter_map(|it| Some((it.key, it.value?)));
    let position =
        Position { incarnation: Incarnation { boot: 1, nonce: u64::from(node) }, sequence: 1 };
    let mut speaker = Speaker { authority: authority.clone(), key };
    Ok(Owner::new(State::of(entries), position, &mut speaker)?)
}
