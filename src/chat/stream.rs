//! A reply as an iterator. It is generated on its own thread.

use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::ChatError;
use super::engine::Engine;
use super::session::{ChatReply, ChatSession, Turn, choice_is_void};
use crate::Error;
use crate::generate::CancelToken;
use crate::steer::{Answer, SteerError, SteerEvent};

/// A reply while it is generated: an iterator over its parts. [`ChatSession::say`] starts one.
///
/// Dropping it stops the reply. Question and text so far stay in the conversation.
///
/// ```no_run
/// # let model = parr::Model::open("smollm2")?;
/// # let mut chat = model.chat().start()?;
/// let mut reply = chat.say("Count to ten.")?;
/// let stop = reply.cancel_token();
/// while let Some(part) = reply.next() {
///     let part = part?;
///     print!("{part}");
///     if part.contains('5') {
///         stop.cancel();
///     }
/// }
/// # Ok::<(), parr::Error>(())
/// ```
#[derive(Debug)]
pub struct ReplyStream<'a> {
    session: &'a mut ChatSession,
    parts: Receiver<String>,
    cancel: CancelToken,
    worker: Option<Worker>,
    reply: Option<ChatReply>,
}

/// What the thread gives back: the engine, the answer, and when the first token came.
type Done = (Engine, Result<Vec<Answer>, SteerError>, Option<Duration>);

struct Worker {
    turn: Turn,
    thread: JoinHandle<Done>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl<'a> ReplyStream<'a> {
    pub(super) fn start(
        session: &'a mut ChatSession,
        mut engine: Engine,
        turn: Turn,
    ) -> Result<ReplyStream<'a>, ChatError> {
        let (sender, parts) = channel();
        let cancel = CancelToken::new();
        let (ask, steering, token, start) =
            (turn.ask.clone(), turn.steering.clone(), cancel.clone(), turn.start);
        let mut separator = turn.separator.clone();
        let work = move || {
            let mut first = None;
            let mut send = |event: SteerEvent<'_>| {
                if let SteerEvent::Text { text, .. } = event
                    && !text.is_empty()
                {
                    // The receiver is gone only after a cancel.
                    let _ = sender.send(text.to_owned());
                }
            };
            let answers = engine.answer(&steering, &ask, &token, &mut |event| {
                first.get_or_insert_with(|| start.elapsed());
                if !choice_is_void(&steering, &token) {
                    separator.pass(event, &mut send);
                }
            });
            separator.end(&mut send);
            (engine, answers, first)
        };
        let thread = thread::Builder::new()
            .name("parr-reply".to_owned())
            .spawn(work)
            .map_err(|error| ChatError::Thread { reason: format!("could not be started: {error}") })?;
        Ok(ReplyStream { session, parts, cancel, worker: Some(Worker { turn, thread }), reply: None })
    }

    /// A token that stops the reply, from any thread. The iterator then ends after the text so far.
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// Waits for the end and returns the whole reply.
    ///
    /// # Errors
    ///
    /// [`Error::Chat`] if it could not be completed.
    pub fn into_reply(mut self) -> Result<ChatReply, Error> {
        for part in self.by_ref() {
            part?;
        }
        // The iterator has ended without an error, so there is a reply.
        self.reply.take().ok_or_else(|| ChatError::Cancelled.into())
    }

    /// Waits for the thread, and takes its reply into the conversation. Does nothing the second time.
    fn join(&mut self) -> Result<(), ChatError> {
        let Some(Worker { turn, thread }) = self.worker.take() else { return Ok(()) };
        // A panic was printed by the thread. Its engine is gone, and the next reply makes another.
        let (engine, answers, first) = thread.join().map_err(|_| ChatError::Thread {
            reason: "ended by a bug in Parr, please report it".to_owned(),
        })?;
        self.reply = Some(self.session.finish(engine, turn, answers, first)?);
        Ok(())
    }
}

impl Iterator for ReplyStream<'_> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.parts.recv() {
            Ok(part) => Some(Ok(part)),
            // The thread is done.
            Err(_) => self.join().err().map(|error| Err(error.into())),
        }
    }
}

impl Drop for ReplyStream<'_> {
    fn drop(&mut self) {
        self.cancel.cancel();
        // An error cannot be returned here. The conversation is unchanged then.
        let _ = self.join();
    }
}
