//! Cases, each from a seed of its own.
//!
//! | variable | meaning |
//! |---|---|
//! | `ILA_FUZZ_CASES` | how many cases each target has; without it as many as take it about a second |
//! | `ILA_FUZZ_SEED` | the seed of the first; each further one has the next number |

use std::{
    env,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use ila_proto::gossip::sim::Dice;

use super::mutate::mutant;

/// Runs cases of the target that `cargo test` runs with these words.
pub fn run(target: &str, cases: u64, case: impl Fn(&mut Dice)) {
    let first = number("ILA_FUZZ_SEED").unwrap_or(1);
    for at in 0..number("ILA_FUZZ_CASES").unwrap_or(cases) {
        let seed = first.wrapping_add(at);
        let done = catch_unwind(AssertUnwindSafe(|| case(&mut Dice::new(seed))));
        if let Err(panic) = done {
            eprintln!(
                "to run it alone:\n  ILA_FUZZ_SEED={seed} ILA_FUZZ_CASES=1 cargo test {target}"
            );
            resume_unwind(panic);
        }
    }
}

/// Checks a decoder with each of the inputs and all that they start with, and
/// with mutants of them; `mend` makes those pass what would hide the rest.
pub fn mutants(
    target: &str,
    cases: u64,
    pool: &[Vec<u8>],
    mend: impl Fn(&mut Dice, &mut Vec<u8>),
    check: impl Fn(&[u8]),
) {
    let check = |bytes: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(bytes))) {
            eprintln!("the input, for the corpus:\n{}", hex(bytes));
            resume_unwind(panic);
        }
    };
    for bytes in pool {
        (0..=bytes.len()).for_each(|length| check(&bytes[..length]));
    }
    run(target, cases, |dice| {
        let mut bytes = mutant(dice, pool);
        mend(dice, &mut bytes);
        check(&bytes);
    });
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes it");
        text
    })
}
