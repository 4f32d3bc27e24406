use super::*;

mod egress;
mod ingress;
mod pair;
mod properties;
mod quoted;

use crate::testing::{Host, address, header, host};

const SOURCE_MODES: [SourceMode; 2] = [SourceMode::Sir, SourceMode::Locator];

fn rewrite(source: &str, destination: &str, neutral: bool) -> Rewrite {
    Rewrite { source: address(source), destination: address(destination), neutral }
}

#[test]
fn each_source_mode_and_path_has_its_number_and_its_name() {
    fn json(name: &str) -> String {
        format!("\"{name}\"")
    }
    for (mode, number, name) in [(SourceMode::Sir, 0, "sir"), (SourceMode::Locator, 1, "locator")] {
        assert_eq!((mode.number(), mode.name()), (number, name));
        assert_eq!(serde_json::to_string(&mode).expect("it is a string"), json(name));
        assert_eq!(serde_json::from_str::<SourceMode>(&json(name)).expect("it is valid"), mode);
    }
    for (path, number, name) in [(Path::Fast, 0, "fast"), (Path::Slow, 1, "slow")] {
        assert_eq!((path.number(), path.name()), (number, name));
        assert_eq!(serde_json::to_string(&path).expect("it is a string"), json(name));
        assert_eq!(serde_json::from_str::<Path>(&json(name)).expect("it is valid"), path);
    }
    // A host's configuration of zeroes is that of the defaults.
    assert_eq!((SourceMode::default().number(), Path::default().number()), (0, 0));
}
