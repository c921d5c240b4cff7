//! Where the time went: a bar for each stage, each beginning where the one before it ended.

use std::fmt::Write;
use std::time::Duration;

use unitwait::StageTimes;

use crate::output::milliseconds;

/// How many letters stand for all of the time.
const WIDTH: usize = 40;

/// The picture, without a line break at its end. On a terminal the longest bar is bold.
pub fn draw(unit: &str, times: StageTimes, is_terminal: bool) -> String {
    let stages = [
        ("queued   -> sent", times.queued),
        ("sent     -> accepted", times.accepted),
        ("accepted -> done", times.done),
        ("done     -> verified", times.verified),
    ];
    let total: Duration = stages.iter().map(|(_, time)| time).sum();
    let longest = stages.iter().map(|(_, time)| *time).max().unwrap_or_default();
    let mut picture = format!("unitwait: {unit} took {}", milliseconds(total));
    let mut from = Duration::ZERO;
    for (what, time) in stages {
        let (begin, end) = (column(from, total), column(from + time, total));
        let (before, bar, after) = (" ".repeat(begin), "#".repeat(end - begin), " ".repeat(WIDTH - end));
        let (on, off) = if is_terminal && time == longest { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let time_told = milliseconds(time);
        let _ = write!(picture, "\n  {what:20}  |{before}{on}{bar}{off}{after}|  {time_told:>10}");
        from += time;
    }
    picture
}

/// Where in the bar a moment is, to the nearest letter.
fn column(moment: Duration, total: Duration) -> usize {
    if total.is_zero() {
        return 0;
    }
    let share = moment.as_secs_f64() / total.as_secs_f64();
    ((share * WIDTH as f64).round() as usize).min(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: [u64; 4]) -> StageTimes {
        let mut times = StageTimes::default();
        let [queued, accepted, done, verified] = millis.map(Duration::from_millis);
        (times.queued, times.accepted, times.done, times.verified) = (queued, accepted, done, verified);
        times
    }

    /// Where each stage's bar begins, and how long it is.
    fn bars(picture: &str) -> Vec<(usize, usize)> {
        let bars = picture.lines().skip(1).map(|line| line.split('|').nth(1).unwrap());
        bars.inspect(|bar| assert_eq!(bar.len(), WIDTH))
            .map(|bar| (bar.find('#').unwrap_or(0), bar.matches('#').count()))
            .collect()
    }

    #[test]
    fn each_bar_has_its_share_of_a_fixed_width_and_begins_where_the_last_ended() {
        let picture = draw("a.scope", times([10, 20, 10, 0]), false);
        assert_eq!(bars(&picture), [(0, 10), (10, 20), (30, 10), (0, 0)]);
        assert!(picture.starts_with("unitwait: a.scope took 40.0 ms\n"), "{picture}");
        assert!(picture.lines().nth(2).unwrap().ends_with("20.0 ms"), "{picture}");
        let uneven = draw("a.scope", times([1, 1, 1, 10_000]), false);
        assert_eq!(bars(&uneven).iter().map(|(_, length)| length).sum::<usize>(), WIDTH);
        assert_eq!(bars(&draw("a.scope", times([0; 4]), false)), [(0, 0); 4]);
    }

    #[test]
    fn it_is_plain_text_but_on_a_terminal() {
        let times = times([1, 2, 3, 4]);
        assert!(!draw("a.scope", times, false).contains('\x1b'));
        assert!(draw("a.scope", times, true).contains("\x1b[1m####"));
    }
}
