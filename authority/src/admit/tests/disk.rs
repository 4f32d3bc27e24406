//! Files that are nearly as they were written.

use super::*;

#[path = "../../../../proto/tests/decoders/mutate.rs"]
mod mutate;
#[path = "../../../../proto/tests/decoders/run.rs"]
mod run;

#[test]
fn files_of_the_authority_are_read() {
    let world = World::new(&valid());
    for (seed, node) in [(1, "h1"), (2, "h2")] {
        world.join(seed, node, &[at(seed)]).expect("it is let in");
    }
    for file in [ISSUED, TOKENS] {
        let whole = world.read(file).into_bytes();
        let path = world.dir.path().join(file);
        let pool = [whole.clone()];
        run::mutants(
            "-p ila-authority files_of_the_authority",
            2000,
            &pool,
            |_, _| (),
            |bytes| {
                fs::write(&path, bytes).expect("it can be written");
                let folder = match Folder::open(world.dir.path()) {
                    Ok(folder) => folder,
                    Err(CaError::Line { .. }) => return,
                    Err(other) => panic!("{other}"),
                };
                let nobodys = folder.redeemed(&Secret([2; 16]), key(3).node());
                assert!(
                    matches!(nobodys, Ok(Err(Unfit::Unknown)) | Err(CaError::Line { .. })),
                    "{nobodys:?}"
                );
                // Whoever is on record has a range of its own, whatever the others say.
                if let Ok(home) = folder.issued.home(key(3).node(), &[]) {
                    let of_first = folder.issued.home(key(1).node(), &[]).unwrap_or_default();
                    let is_known = folder.issued.last(key(1).node()).is_some();
                    assert!(!is_known || !of_first.iter().any(|it| it.overlaps(home[0])));
                }
            },
        );
        fs::write(&path, whole).expect("it can be written");
    }
}
