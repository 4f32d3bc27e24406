use serde_json::json;

use super::*;

fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

#[test]
fn a_proof_holds_for_one_key_one_connection_and_one_side() {
    let (exporter, another) = ([1; 32], [2; 32]);
    let greeting = Greeting::new(&key(1), &exporter);
    assert!(greeting.is_of(&key(1).public(), &exporter));
    assert!(!greeting.is_of(&key(2).public(), &exporter));
    assert!(!greeting.is_of(&key(1).public(), &another));
    let request = Request::new(&key(1), &exporter, Ask::Renew);
    assert!(request.is_proven(&exporter));
    assert!(!request.is_proven(&another));
    assert!(!Request { key: key(2).public(), ..request.clone() }.is_proven(&exporter));
    // What one side has signed is nothing that the other one would.
    assert!(!Greeting { proof: request.proof }.is_of(&key(1).public(), &exporter));
    assert!(!Request { proof: greeting.proof, ..request }.is_proven(&exporter));
}

#[test]
fn what_later_versions_add_is_skipped() {
    let refused: Answer = serde_json::from_value(
        json!({"refused": {"why": "moon-phase", "message": "no", "more": 1}}),
    )
    .expect("it is understood");
    let expected = Refused { why: Refusal::Other, message: "no".to_owned() };
    assert_eq!(refused, Answer::Refused(expected));
    let settings: Settings =
        serde_json::from_value(json!({"another": true})).expect("it is understood");
    assert_eq!(settings, Settings::default());
}

#[test]
fn what_a_stranger_says_moves_no_terminal_and_ends() {
    let message = format!("a\u{1b}[2Jb{}", "x".repeat(1000));
    let shown = Refused { why: Refusal::Busy, message }.to_string();
    assert!(shown.starts_with("a[2Jbx") && shown.len() == 500, "{shown}");
}
