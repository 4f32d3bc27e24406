//! A mesh of which all that was ever said is known: nodes with certificates,
//! and each state that they have signed.

use ila_proto::{
    addr::{Identifier, Locator, SirPrefix},
    gossip::{
        Certified, Change, Delta, Head, IdentifierRange, Incarnation, Key, NodeId, NodeRecord,
        Owner, Position, PublicKey, Signature, State, Surroundings, Value,
        claim::{Claim, Grant, HandOver, Subject},
        mesh::change,
        sim::Dice,
        wire,
    },
    identity::{Authority, KeyPair, Validity, is_signed},
};

pub const VALIDITY: Validity = Validity { from: 1_700_000_000, until: 2_000_000_000 };
const SIR: SirPrefix = SirPrefix::from_bits(0xfd00_0db8_0000_0001);

/// What a node has around it: real keys, real certificates.
#[derive(Clone)]
pub struct Agent {
    pub key: KeyPair,
    pub authority: Authority,
    pub dice: Dice,
}

impl Surroundings for Agent {
    fn certified(&mut self, certificate: &[u8]) -> Option<Certified> {
        self.authority.certified(certificate, None).ok()
    }

    fn is_signed(&mut self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        is_signed(key, message, signature)
    }

    fn is_granted(&mut self, message: &[u8], signature: &Signature) -> bool {
        is_signed(&self.authority.key(), message, signature)
    }

    fn sign(&mut self, message: &[u8]) -> Signature {
        self.key.sign(message)
    }

    fn random(&mut self) -> u64 {
        self.dice.any()
    }
}

/// A node, and all that it has said.
#[derive(Clone)]
pub struct Speaker {
    pub agent: Agent,
    pub record: NodeRecord,
    pub said: Vec<Owner>,
}

impl Speaker {
    pub fn id(&self) -> NodeId {
        self.now().id()
    }

    pub fn now(&self) -> &Owner {
        self.said.last().expect("it starts with something")
    }

    pub fn say(&mut self, changes: &[Change]) {
        let mut owner = self.now().clone();
        owner.say(changes, &mut self.agent).expect("there is room");
        self.said.push(owner);
    }

    fn claim(&mut self, subject: Subject, claim: &Claim) {
        let change = change(self.now().certified(), subject, Some(claim));
        self.say(&Vec::from_iter(change));
    }

    /// What leads from anywhere to anywhere.
    pub fn deltas(&self) -> Vec<Delta> {
        let from = self.said.iter().map(|owner| Some(owner.head().position)).chain([None]);
        let from: Vec<_> = from.collect();
        let all = self.said.iter();
        all.flat_map(|owner| from.iter().map(|from| owner.since(*from))).collect()
    }

    /// Whether it has said that, and nothing else.
    pub fn has_said(&self, head: &Head, state: &State) -> bool {
        self.said.iter().any(|owner| (owner.head(), owner.state()) == (head, state))
    }
}

/// Who there is.
pub struct World {
    pub authority: (KeyPair, Authority, Vec<u8>),
    /// The home of all identifiers, one that was given some, and one that means
    /// harm.
    pub speakers: [Speaker; 3],
    /// Who holds what.
    pub held: [(Subject, NodeId); 3],
    /// Claims that hold for their owner.
    pub claims: Vec<Claim>,
}

pub fn identifier(number: u64) -> Identifier {
    Identifier::from_bits(1 << 61 | 1 << 36 | number)
}

pub fn certified(key: &KeyPair, number: u8) -> Certified {
    let locator = |sir: u64| Locator::from_bits((0x2001_0db8 + sir) << 32 | u64::from(number));
    let second = SirPrefix::from_bits(SIR.bits() + 1);
    Certified {
        key: key.public(),
        name: format!("n{number}").parse().expect("it is a name"),
        locators: vec![(SIR, locator(0)), (second, locator(1))],
        home: vec![IdentifierRange::around(
            Identifier::from_bits(1 << 61 | u64::from(number) << 36),
            28,
        )],
    }
}

impl World {
    pub fn new() -> Self {
        let key = KeyPair::from_seed(&[1; 32]);
        let der = Authority::create(&key, [1; 16], VALIDITY).expect("it can be made");
        let authority = Authority::read(&der).expect("it was made so");
        let mut speakers = [1, 2, 3].map(|number| start(&key, &authority, number));
        let [home, given, _] = &mut speakers;
        let ids = [home.id(), given.id()];
        let [kept, handed, granted] = [1, 2, 3].map(|it| Subject::new(SIR, identifier(it)));
        let mut claims = vec![Claim::default()];
        for subject in [kept, handed] {
            home.claim(subject, &claims[0]);
        }
        let signature = home.agent.key.sign(&HandOver::statement(handed, 1, ids[0], ids[1]));
        let step = HandOver { from: ids[0], to: ids[1], signature };
        claims.push(Claim { grant: None, steps: vec![step] });
        let signature = key.sign(&Grant::statement(granted, ids[1], 5));
        let grant = Grant { to: ids[1], epoch: 5, signature };
        claims.push(Claim { grant: Some(grant), steps: vec![] });
        for (subject, claim) in [handed, granted].into_iter().zip(&claims[1..]) {
            given.claim(subject, claim);
        }
        let gone = change(home.now().certified(), handed, None);
        home.say(&Vec::from_iter(gone));
        let held = [(kept, ids[0]), (handed, ids[1]), (granted, ids[1])];
        Self { authority: (key, authority, der), speakers, held, claims }
    }

    /// A further node, that has said nothing but who it is.
    pub fn node(&self, number: u8) -> Speaker {
        start(&self.authority.0, &self.authority.1, number)
    }

    pub fn deltas(&self) -> Vec<Delta> {
        self.speakers.iter().flat_map(Speaker::deltas).collect()
    }
}

fn start(authority_key: &KeyPair, authority: &Authority, number: u8) -> Speaker {
    let key = KeyPair::from_seed(&[number + 10; 32]);
    let node = certified(&key, number);
    let certificate = authority.issue(authority_key, &node, [number; 16], VALIDITY);
    let record = NodeRecord {
        certificate: certificate.expect("it can be issued"),
        addresses: vec!["[2001:db8::1]:7946".parse().expect("it is an address")],
        version: "0.1.0".to_owned(),
    };
    let dice = Dice::new(number.into());
    let mut agent = Agent { key, authority: authority.clone(), dice };
    let value = Value::new(&wire::encode(&record).expect("it is short")).expect("it is short");
    let incarnation = Incarnation { boot: 1, nonce: number.into() };
    let position = Position { incarnation, sequence: 0 };
    let owner = Owner::new(State::of([(Key::RECORD, value)]), position, &mut agent);
    Speaker { agent, record, said: vec![owner.expect("it is certified")] }
}
