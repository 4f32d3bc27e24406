use super::*;

#[test]
fn stolen_time_is_a_share_of_all() {
    let earlier = CpuTime::parse("cpu  100 0 50 800 5 0 5 10 3 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
    let earlier = earlier.expect("it is as the kernel writes it");
    assert_eq!(earlier, CpuTime { all: 970, stolen: 10 });
    let later = CpuTime::parse("cpu  150 0 50 845 5 0 5 15 3 0\n").expect("so is this");
    assert!((later.stolen_since(&earlier) - 5.0).abs() < 1e-9, "{later:?}");
    assert!(earlier.stolen_since(&earlier).abs() < 1e-9);
}

#[test]
fn what_is_no_such_file_is_refused() {
    for text in ["", "cpu", "cpu 1 2 3", "cpu  1 2 3 x 5 6 7 8 9 10", "intr 1 2 3 4 5 6 7 8"] {
        assert_eq!(CpuTime::parse(text), None, "{text}");
    }
}

#[test]
fn this_machine_has_both() {
    assert!(CpuTime::now().expect("there is /proc/stat").all > 0);
    assert!(load_average().expect("there is /proc/loadavg") >= 0.0);
}
