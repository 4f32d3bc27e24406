//! A node with links to others that have proven who they are, of whom one says
//! anything.

use std::{collections::BTreeSet, time::Duration};

use ila_proto::gossip::{
    Change, Delta, Key,
    claim::Claim,
    frame::{Frame, Read, Version},
    mesh::{Event, LinkId, Mesh, Settings, change},
    sim::Dice,
    wire,
};

use super::{
    WORLD,
    memory::held,
    mutate::{below, mutant, pick},
    owner::{forged, made_up},
    run::run,
    wire as frames,
    world::{Agent, Speaker},
};

const LINK: LinkId = LinkId(1);

/// What a frame leaves in memory for each of its bytes at most: it is asked
/// about, or handed on to others.
const KEPT: usize = 16;
/// And for what is answered to it: the digests of all parts are the longest.
const ANSWER: usize = 8 << 10;
/// Those are answered by a frame for each part that differs.
const PARTS_ANSWER: usize = 96 << 10;

struct Case {
    mesh: Mesh<Agent>,
    /// Who is at the other end of the link.
    hostile: Speaker,
    now: Duration,
    /// The bytes that it may have for what was said to it, and those that it has.
    may_keep: usize,
    kept: isize,
}

/// All that cases are made from.
struct Pool {
    frames: Vec<Vec<u8>>,
    deltas: Vec<Delta>,
    claims: Vec<Vec<u8>>,
    me: Speaker,
}

impl Pool {
    fn new() -> Self {
        let claims = WORLD.claims.iter().map(|it| wire::encode(it).expect("it is short"));
        let me = WORLD.node(9);
        let mut deltas = WORLD.deltas();
        deltas.push(me.now().since(None));
        Self { frames: frames::pool(), deltas, claims: claims.collect(), me }
    }

    /// What the hostile node says under its own name: claims to what others
    /// have, and anything else.
    fn lies(&self, dice: &mut Dice, hostile: &Speaker) -> Vec<Change> {
        let mut lie = || {
            let (subject, _) = *pick(dice, &WORLD.held);
            let claim = match dice.below(3) {
                0 => Some(pick(dice, &WORLD.claims).clone()),
                1 => wire::decode::<Claim>(&mutant(dice, &self.claims)).ok(),
                _ => None,
            };
            let claim = claim.map(|claim| redirected(dice, claim, hostile));
            match claim {
                Some(claim) => change(hostile.now().certified(), subject, Some(&claim)),
                None => Some(made_up(dice, &self.deltas)),
            }
        };
        // Its own record it needs, or nobody listens.
        (0..3).filter_map(|_| lie()).filter(|change| change.key != Key::RECORD).collect()
    }

    fn frame(&self, dice: &mut Dice, hostile: &mut Speaker) -> Frame {
        loop {
            return match dice.below(8) {
                0..=3 => {
                    let mut bytes = mutant(dice, &self.frames);
                    frames::fit(dice, &mut bytes);
                    match Frame::read(&bytes, Version::LATEST) {
                        Ok(Read::Frame(frame, _)) => frame,
                        _ => continue,
                    }
                }
                4 => Frame::Delta(forged(dice, &self.deltas)),
                5 => Frame::Delta(forged(dice, &self.deltas)).spoken(Version::LATEST),
                6 => {
                    let lies = self.lies(dice, hostile);
                    hostile.say(&lies);
                    Frame::Delta(hostile.now().since(None))
                }
                _ => Frame::Delta(pick(dice, &self.deltas).clone()),
            };
        }
    }
}

/// A claim that names the hostile node where it named another.
fn redirected(dice: &mut Dice, mut claim: Claim, hostile: &Speaker) -> Claim {
    if let Some(grant) = claim.grant.as_mut().filter(|_| dice.below(2) == 0) {
        grant.to = hostile.id();
        grant.epoch = *pick(dice, &[grant.epoch, 6, u32::MAX]);
    }
    for step in &mut claim.steps {
        match dice.below(3) {
            0 => step.to = hostile.id(),
            1 => step.from = hostile.id(),
            _ => {}
        }
    }
    claim
}

impl Case {
    fn new(me: &Speaker, dice: &mut Dice) -> Self {
        let agent = Agent { dice: Dice::new(dice.any()), ..me.agent.clone() };
        let now = Duration::ZERO;
        let mut mesh = Mesh::new(me.now().clone(), agent, Settings::default(), now);
        let [home, given, hostile] = &WORLD.speakers;
        for owner in [home.now(), given.now(), &hostile.said[0]] {
            mesh.remember(owner.since(None), now).expect("it is true");
        }
        mesh.handle(Event::Passed, now);
        let mut case = Self { mesh, hostile: hostile.clone(), now, may_keep: 0, kept: 0 };
        case.link(LINK);
        case
    }

    fn link(&mut self, link: LinkId) {
        let (node, round_trip) = (self.hostile.id(), Duration::from_millis(1));
        let event = Event::Up { link, node, round_trip, is_ours: false };
        self.mesh.handle(event, self.now);
    }

    fn hear(&mut self, frame: Frame) {
        let answer = if matches!(frame, Frame::Summary(_)) { PARTS_ANSWER } else { ANSWER };
        self.may_keep += answer + frame.write().expect("it is short").len() * KEPT;
        let before = held();
        self.mesh.handle(Event::Received(LINK, frame), self.now);
        self.kept += held() - before;
        let most = isize::try_from(self.may_keep).expect("it is short");
        assert!(self.kept <= most, "{} bytes are kept, where {most} are enough", self.kept);
    }

    /// What is true whatever was heard.
    fn check(&self, me: &Speaker) {
        for owner in self.mesh.owners() {
            let said = |speaker: &Speaker| speaker.has_said(owner.head(), owner.state());
            let [home, given, _] = &WORLD.speakers;
            assert!(
                owner.id() == me.id() || [home, given, &self.hostile].into_iter().any(said),
                "{:?} has not said so",
                owner.id()
            );
        }
        for (subject, by) in WORLD.held {
            let held = self.mesh.held_despite(subject, &BTreeSet::new());
            assert_eq!(held.map(|held| held.by), Some(by), "{subject:?} is taken away");
        }
        let (sizes, nodes) = (self.mesh.sizes(), self.mesh.owners().len());
        assert!(nodes <= 4 && sizes.links <= 2 && sizes.waiting <= 1024, "{sizes:?}");
        assert!(sizes.pending <= nodes && sizes.missing <= nodes, "{sizes:?}");
        let claims: usize = self.mesh.owners().map(|it| it.state().entries().len()).sum();
        assert!(sizes.unjudged <= claims && sizes.moves <= claims + nodes, "{sizes:?}");
        assert!(sizes.timers <= 16 + 8 * nodes + claims, "{sizes:?}");
    }

    /// Others can still be heard, by another link.
    fn goes_on(&mut self) {
        let link = LinkId(2);
        self.link(link);
        for speaker in &WORLD.speakers[..2] {
            let delta = Frame::Delta(speaker.now().since(None));
            self.mesh.handle(Event::Received(link, delta), self.now);
            let known = self.mesh.owner(speaker.id()).map(|it| it.head());
            assert_eq!(known, Some(speaker.now().head()));
        }
    }
}

#[test]
fn a_mesh_hears_anything() {
    let pool = Pool::new();
    let [_, _, hostile] = &WORLD.speakers;
    assert!(hostile.id() != pool.me.id());
    run("-p ila-proto --test decoders a_mesh_hears_anything", 400, |dice| {
        let mut case = Case::new(&pool.me, dice);
        case.check(&pool.me);
        for _ in 0..=below(dice, 30) {
            let frame = pool.frame(dice, &mut case.hostile);
            case.hear(frame);
            case.check(&pool.me);
            case.now += Duration::from_millis(dice.below(300));
            case.mesh.handle(Event::Passed, case.now);
            if let Some(position) = case.mesh.saying().map(|it| it.head().position) {
                case.mesh.handle(Event::Stored(position), case.now);
            }
            // The other side takes what it is told, or does not.
            if dice.below(2) == 0 {
                while case.mesh.transmit(LINK).is_some() {}
            }
        }
        case.goes_on();
    });
}

/// Nobody but their owner can have said these: known nodes grow by what is
/// signed only.
#[test]
fn a_mesh_forgets_what_nobody_has_signed() {
    let pool = Pool::new();
    let mut dice = Dice::new(1);
    let mut case = Case::new(&pool.me, &mut dice);
    let before = held();
    for _ in 0..2000 {
        let mut delta = pool.deltas[0].clone();
        delta.owner.0[..8].copy_from_slice(&dice.any().to_be_bytes());
        case.hear(Frame::Delta(delta));
        case.hear(Frame::Have(vec![(dice.any(), dice.any())]));
        case.mesh.handle(Event::Down(LINK), case.now);
        case.now += Duration::from_secs(1);
        case.mesh.handle(Event::Passed, case.now);
        case.link(LINK);
    }
    case.check(&pool.me);
    assert!(held() - before < 64 << 10, "{} bytes are kept", held() - before);
    assert!(case.mesh.owners().len() <= 4);
}

/// Somebody who asks and asks, and takes no answer.
#[test]
fn a_mesh_keeps_few_answers() {
    let pool = Pool::new();
    let mut case = Case::new(&pool.me, &mut Dice::new(1));
    let before = held();
    for number in 0..3000 {
        let event = Event::Received(LINK, Frame::Compare(number));
        case.mesh.handle(event, case.now);
        case.check(&pool.me);
    }
    assert!(!case.mesh.has(LINK), "it is cut");
    assert!(held() - before < 64 << 10, "{} bytes are kept", held() - before);
    case.goes_on();
}
