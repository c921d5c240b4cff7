//! The way of one answer to one caller, as small as it can be, for thousands may lie in wait.
//!
//! No lock, so that the dbus thread never waits for a caller: the answer is put there, and whoever has left word is
//! told. A channel, which takes more room than all else of a request, is made only for a caller who asks for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Instant;

use crossbeam_channel::Sender;
use crossbeam_utils::atomic::AtomicCell;

/// Who is told that the answer is there.
enum Waiter {
    Thread(Thread),
    /// Boxed, so that a program which asks for no channel has none of its code.
    Channel(Box<dyn FnOnce() + Send>),
}

/// Whether the answer is there, and who waits for it.
#[derive(Default)]
struct Word {
    waiter: AtomicCell<Option<Box<Waiter>>>,
    is_posted: AtomicBool,
}

impl Word {
    fn post(&self) {
        self.is_posted.store(true, Ordering::Release);
        // Either this sees the waiter, or the waiter, who leaves word first and looks then, sees the answer.
        fence(Ordering::SeqCst);
        self.tell();
    }

    fn tell(&self) {
        match self.waiter.take().map(|waiter| *waiter) {
            Some(Waiter::Thread(thread)) => thread.unpark(),
            Some(Waiter::Channel(pass_on)) => pass_on(),
            None => {}
        }
    }

    /// Leaves word with the poster; whether the answer is there already, so that it may not have heard.
    fn leave(&self, waiter: Waiter) -> bool {
        self.waiter.store(Some(Box::new(waiter)));
        fence(Ordering::SeqCst);
        self.is_posted()
    }

    fn is_posted(&self) -> bool {
        self.is_posted.load(Ordering::Acquire)
    }

    fn wait(&self, until: Instant) {
        let mut is_there = self.is_posted() || self.leave(Waiter::Thread(thread::current()));
        while !is_there {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
            is_there = self.is_posted();
        }
    }
}

/// There is no answer, and none will come: it was taken before, or nobody is left to give it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Over;

/// Holds one answer until it is taken.
pub(crate) struct Mailbox<T, N = ()> {
    /// What both ends are to see beside it.
    pub note: N,
    answer: AtomicCell<Option<Box<T>>>,
    word: Word,
}

/// An empty mailbox, and the right to fill it.
pub(crate) fn mailbox<T, N>(note: N) -> (Post<T, N>, Arc<Mailbox<T, N>>) {
    let mailbox = Arc::new(Mailbox { note, answer: AtomicCell::new(None), word: Word::default() });
    (Post(Arc::clone(&mailbox)), mailbox)
}

/// The right to put the one answer there. Where it is dropped without one, the mailbox is told that there is none.
pub(crate) struct Post<T, N = ()>(Arc<Mailbox<T, N>>);

impl<T, N> Post<T, N> {
    pub(crate) fn note(&self) -> &N {
        &self.0.note
    }

    /// Puts the answer there. Does not block.
    pub(crate) fn deliver(self, answer: T) {
        self.0.answer.store(Some(Box::new(answer)));
    }
}

impl<T, N> Drop for Post<T, N> {
    fn drop(&mut self) {
        self.0.word.post();
    }
}

impl<T, N> Mailbox<T, N> {
    fn take(&self) -> Option<T> {
        self.answer.take().map(|answer| *answer)
    }

    /// The answer, or that there is none; `None` where it may yet come.
    pub(crate) fn look(&self) -> Option<Result<T, Over>> {
        // In this order, for it may come in between.
        let was_posted = self.word.is_posted();
        self.take().map(Ok).or(was_posted.then_some(Err(Over)))
    }

    /// Waits until the answer is there, or until the time given here: the only one to wait.
    pub(crate) fn wait(&self, until: Instant) -> Option<Result<T, Over>> {
        self.word.wait(until);
        self.look()
    }
}

impl<T: Send + 'static, N: Send + Sync + 'static> Mailbox<T, N> {
    /// Has the answer go on into a channel of capacity one, which ends then.
    pub(crate) fn pass_on(self: &Arc<Self>, to: Sender<T>) {
        // A post is never kept for ever, and with it goes this.
        let mailbox = Arc::clone(self);
        let pass_on = move || {
            if let Some(answer) = mailbox.take() {
                // A receiver that has gone away takes its answer with it.
                let _ = to.try_send(answer);
            }
        };
        if self.word.leave(Waiter::Channel(Box::new(pass_on))) {
            self.word.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::{TryRecvError, bounded};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn an_answer_is_given_once_whether_it_comes_before_the_wait_or_after() {
        for _ in 0..2_000 {
            let (post, mailbox) = mailbox(());
            let posting = thread::spawn(move || post.deliver(7));
            assert_eq!(mailbox.wait(soon()), Some(Ok(7)));
            assert_eq!((mailbox.look(), mailbox.wait(soon())), (Some(Err(Over)), Some(Err(Over))));
            posting.join().unwrap();
        }
    }

    #[test]
    fn a_channel_has_the_answer_and_then_its_end_whenever_it_is_asked_for() {
        for _ in 0..2_000 {
            let (post, mailbox) = mailbox(());
            let posting = thread::spawn(move || post.deliver(7));
            let (to, answer) = bounded(1);
            mailbox.pass_on(to);
            assert_eq!(answer.recv_deadline(soon()), Ok(7));
            posting.join().unwrap();
            assert_eq!(answer.try_recv(), Err(TryRecvError::Disconnected));
        }
    }

    #[test]
    fn a_wait_ends_in_time_and_the_answer_can_still_be_had() {
        let (post, mailbox) = mailbox(());
        assert_eq!(mailbox.wait(Instant::now() + Duration::from_millis(1)), None);
        post.deliver(7);
        assert_eq!(mailbox.look(), Some(Ok(7)));
    }

    #[test]
    fn who_waits_is_told_that_nobody_is_left_to_answer() {
        let ((one, waited), (other, listened)) = (mailbox::<u8, ()>(()), mailbox::<u8, ()>(()));
        let posts = (one, other);
        let (to, answer) = bounded(1);
        listened.pass_on(to);
        let dropping = thread::spawn(move || drop(posts));
        assert_eq!(waited.wait(soon()), Some(Err(Over)));
        assert!(answer.recv_deadline(soon()).is_err());
        dropping.join().unwrap();
        assert_eq!(listened.look(), Some(Err(Over)));
    }
}
