//! Waiting for what cannot be waited for by any better means.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::Error;

/// Pauses double from the first to the longest: what is there at once is seen
/// at once, and what takes long is not asked for a thousand times.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Asks until `condition` has an answer, and fails if it has none when
/// `deadline` has passed. `what` says what is waited for, in the words of the
/// error.
pub fn wait_until<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<T, Error> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(answer) = condition() {
            return Ok(answer);
        }
        let left = deadline.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(Error::Deadline { what: what.to_owned(), after: deadline });
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_is_taken() {
        let mut asked = 0;
        let answer = wait_until(Duration::from_secs(60), "three", || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(answer.expect("it is three in the end"), 3);
    }

    #[test]
    fn the_error_says_what_never_came() {
        let error = wait_until::<()>(Duration::from_millis(5), "godot", || None)
            .expect_err("nothing ever comes");
        assert_eq!(error.to_string(), "waited 5ms for godot, in vain");
    }
}
