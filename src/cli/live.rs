//! What a person sees, and can do, while something takes its time: a line on the terminal that tells how far it is, and
//! Ctrl-C, which ends the program at once and leaves the terminal clean.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, select};
use log::LevelFilter;
use nix::sys::signal::Signal;
use unitwait::{Deadline, Error, Manager, Stage, Ticket};

use crate::failure::Failure;
use crate::interrupt::HeldSignals;
use crate::output;
use crate::session::Session;

/// What is done sooner needs no line.
const SHORT: Duration = Duration::from_millis(500);

/// What is done sooner needs no thread that listens to signals; one that comes meanwhile is heard after that.
const SOON: Duration = Duration::from_millis(20);

/// How often the line is looked at, where there is one.
const TICK: Duration = Duration::from_millis(100);

/// Further off than any deadline.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// One command's wait, with its line and the signals that it holds back.
pub struct Live<'a> {
    session: &'a Session,
    /// Before the signals, which take effect when they are let go.
    line: Line,
    signals: HeldSignals,
    /// From when on they are listened to.
    soon: Instant,
}

enum Heard<T> {
    Answer(T),
    Signal(Signal),
    Nothing,
}

impl<'a> Live<'a> {
    /// Opens the session's manager, and follows what is done with it. `units` are those that the line is to name.
    pub fn open(session: &'a Session, units: &[String]) -> Result<(Live<'a>, Manager), Failure> {
        Live::open_by(session, units, Session::open)
    }

    /// The same, with a manager that is seen to answer by what is asked of it first. Where there is a line, a person is to
    /// see that none answers, and nothing is asked of it until then.
    pub fn open_lazily(session: &'a Session, units: &[String]) -> Result<(Live<'a>, Manager), Failure> {
        Live::open_by(session, units, Session::open_lazily)
    }

    fn open_by(
        session: &'a Session,
        units: &[String],
        open: fn(&Session) -> Result<Manager, Failure>,
    ) -> Result<(Live<'a>, Manager), Failure> {
        let line = Line::new(session.output.is_for_programs(), session.until(), units);
        if line.is_wanted() {
            let mut live = Live::begin(session, line)?;
            let manager = live.work(words(Stage::Connect), || session.open())??;
            return Ok((live, manager));
        }
        // Nothing is asked for yet, and no line is to be left clean: a signal may end the program as it does.
        let manager = open(session)?;
        Ok((Live::begin(session, line)?, manager))
    }

    fn begin(session: &'a Session, line: Line) -> Result<Live<'a>, Failure> {
        Ok(Live { session, line, signals: HeldSignals::hold()?, soon: Instant::now() + SOON })
    }

    /// Does what blocks, by a deadline of its own, in a thread beside. A signal ends the program in the midst of it.
    pub fn work<T: Send>(&mut self, doing: &str, work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
        self.follow(|| doing, work)
    }

    /// As [`work`](Live::work), and tells how far it is.
    pub fn follow<T: Send, S: AsRef<str>>(
        &mut self,
        doing: impl Fn() -> S,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, Failure> {
        let (to, from) = bounded(1);
        thread::scope(|threads| {
            let work = move || drop(to.send(work()));
            thread::Builder::new().spawn_scoped(threads, work).map_err(no_thread)?;
            match self.hear(&from, Instant::now() + NEVER, doing) {
                Heard::Answer(answer) => Ok(answer),
                Heard::Signal(signal) => self.obey(signal),
                Heard::Nothing => Err(no_thread(io::ErrorKind::Other.into())),
            }
        })
    }

    /// The line tells of no end where none was asked for.
    pub fn until_given_end(&mut self) {
        self.line.until = self.session.given_end();
    }

    /// The channel's next message; `None` where there will be none. A signal ends the program in the midst of it.
    pub fn next<T>(&mut self, from: &Receiver<T>, doing: &str) -> Option<T> {
        match self.hear(from, Instant::now() + NEVER, || doing) {
            Heard::Answer(answer) => Some(answer),
            Heard::Signal(signal) => self.obey(signal),
            Heard::Nothing => None,
        }
    }

    /// The ticket's answer; or the signal that came before it, which is to be [obeyed](Live::obey) when what has to be
    /// done about the ticket is done.
    pub fn answer<T: Send + 'static>(
        &mut self,
        ticket: Ticket<T>,
    ) -> Result<Result<T, Error>, (Signal, Ticket<T>)> {
        match self.hear(ticket.receiver(), self.session.until(), || words(ticket.stage())) {
            Heard::Answer(answer) => Ok(answer),
            Heard::Signal(signal) => Err((signal, ticket)),
            Heard::Nothing => Ok(ticket.wait(Deadline::Default)),
        }
    }

    /// Ends the program by the signal.
    pub fn obey(&mut self, signal: Signal) -> ! {
        self.line.clear();
        self.signals.obey(signal)
    }

    /// Whom the line is to name from now on.
    pub fn name(&mut self, units: &[String]) {
        self.line.subject = subject(units);
    }

    /// Takes the line away, for something else is to be written.
    pub fn clear(&mut self) {
        self.line.clear();
    }

    fn hear<T, S: AsRef<str>>(
        &mut self,
        from: &Receiver<T>,
        until: Instant,
        stage: impl Fn() -> S,
    ) -> Heard<T> {
        if !self.signals.are_listened_to() {
            match from.recv_deadline(until.min(self.soon)) {
                Ok(answer) => return Heard::Answer(answer),
                Err(RecvTimeoutError::Disconnected) => return Heard::Nothing,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        loop {
            // Where no thread can be had, the signals are looked for at each tick.
            let is_listened_to = self.signals.listen();
            if let Some(signal) = self.signals.take() {
                return Heard::Signal(signal);
            }
            let now = Instant::now();
            if now >= until {
                return from.try_recv().map_or(Heard::Nothing, Heard::Answer);
            }
            let next = self.line.next_look(now).map_or(until, |look| look.min(until));
            let next = if is_listened_to { next } else { next.min(now + TICK) };
            select! {
                recv(from) -> answer => return answer.map_or(Heard::Nothing, Heard::Answer),
                recv(self.signals.heard()) -> _ => {}
                default(next - now) => self.line.show(stage().as_ref()),
            }
        }
    }
}

pub fn no_thread(source: io::Error) -> Failure {
    Failure::System { doing: "start a thread".into(), source }
}

/// A stage by its name, and in words.
fn words(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "connect, no manager yet",
        Stage::Queued => "queued, in line",
        Stage::Call => "call, no answer yet",
        Stage::Job => "job, systemd is at work",
        Stage::Verify => "verify, reading the kernel's files",
        Stage::Wait => "wait, still there",
        Stage::HalfWay => "half-way, the next step is in line",
        _ => "under way",
    }
}

fn subject(units: &[String]) -> String {
    match units {
        [] => "unitwait".into(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

/// One line of the terminal, drawn over in place.
struct Line {
    /// `None` where nobody would see it, or where it would get between other lines.
    from: Option<Instant>,
    until: Option<Instant>,
    subject: String,
    shown: String,
}

impl Line {
    fn new(for_programs: bool, until: Instant, units: &[String]) -> Line {
        // `-v` is a log too.
        let is_logged = log::max_level() != LevelFilter::Off;
        let wanted = !for_programs && !is_logged && output::stderr_is_terminal();
        let from = wanted.then(|| Instant::now() + SHORT);
        Line { from, until: Some(until), subject: subject(units), shown: String::new() }
    }

    fn is_wanted(&self) -> bool {
        self.from.is_some()
    }

    fn next_look(&self, now: Instant) -> Option<Instant> {
        self.from.map(|from| from.max(now + TICK))
    }

    fn show(&mut self, stage: &str) {
        let now = Instant::now();
        if self.from.is_none_or(|from| now < from) {
            return;
        }
        let mut text = format!("{}: {stage}", self.subject);
        if let Some(until) = self.until {
            let _ = write!(text, ", {} left", left(until, now));
        }
        if text != self.shown {
            // Without wrapping: what is longer than the terminal is wide could not be drawn over.
            draw(&format!("\r\x1b[?7l{text}\x1b[K\x1b[?7h"));
            self.shown = text;
        }
    }

    fn clear(&mut self) {
        if !self.shown.is_empty() {
            draw("\r\x1b[K");
            self.shown.clear();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.clear();
    }
}

/// In whole seconds, of which the last is told until it is over.
fn left(until: Instant, now: Instant) -> humantime::FormattedDuration {
    let left = until.saturating_duration_since(now);
    humantime::format_duration(Duration::from_secs(left.as_millis().div_ceil(1000) as u64))
}

/// At one stroke, so that nothing gets between.
fn draw(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_in_seconds_begun() {
        let now = Instant::now();
        let told = |millis| left(now + Duration::from_millis(millis), now).to_string();
        assert_eq!((told(29_001), told(1), told(200_000)), ("30s".into(), "1s".into(), "3m 20s".into()));
        assert_eq!(left(now, now + Duration::from_secs(1)).to_string(), "0s");
    }

    #[test]
    fn of_several_units_the_first_is_named() {
        let units = ["a.scope", "b.scope", "c.scope"].map(String::from);
        assert_eq!(subject(&units[..1]), "a.scope");
        assert_eq!(subject(&units), "a.scope and 2 more");
    }
}
