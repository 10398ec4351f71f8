//! The scheduler's thread.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use super::{Command, Entry, GeneratorSource, Job, JobEvent, SchedulerCounts};
use crate::generate::error::GenerateError;
use crate::generate::fair_queue::FairQueue;
use crate::generate::generator::Generator;
use crate::generate::request::{Finish, Reply, TokenEvent};
use crate::generate::running::{Pacing, Progress, Ticket};

/// The thread's side.
pub(super) struct Worker {
    source: Box<dyn GeneratorSource>,
    generator: Generator,
    inbox: Receiver<Command>,
    queue: FairQueue<Entry>,
    active: Vec<Active>,
    counts: SchedulerCounts,
}

/// A job in the generator.
struct Active {
    ticket: Ticket,
    entry: Entry,
    /// Number of tokens drawn in this attempt.
    drawn: usize,
    /// Whether it was started again after a loss of the GPU.
    again: bool,
}

impl Worker {
    pub fn new(
        source: Box<dyn GeneratorSource>,
        generator: Generator,
        inbox: Receiver<Command>,
        counts: SchedulerCounts,
    ) -> Worker {
        Worker { source, generator, inbox, queue: FairQueue::default(), active: Vec::new(), counts }
    }

    /// Runs until there are no more senders and no more jobs. `publish` receives counts, and the number of jobs that
    /// no longer wait.
    pub fn run(mut self, publish: &dyn Fn(SchedulerCounts, usize)) {
        loop {
            let idle = self.active.is_empty() && self.queue.is_empty();
            if !self.receive(idle) {
                return;
            }
            let begun = Instant::now();
            let waiting = self.queue.len();
            self.drop_cancelled();
            self.admit();
            // Before the first token of a job is seen, the job no longer counts as waiting.
            self.counts.running = self.active.len();
            publish(self.counts, waiting - self.queue.len());
            let mut progress = Vec::new();
            let stepped = self.generator.step(Pacing::Interleaved, &mut |one| progress.push(one));
            progress.into_iter().for_each(|one| self.report(one));
            if let Err(error) = stepped {
                self.recover(&error);
            }
            self.counts.running = self.active.len();
            self.counts.busy_seconds += begun.elapsed().as_secs_f64();
            publish(self.counts, 0);
        }
    }

    /// Takes what has arrived; waits for it if `idle`. Returns false if no more can arrive and nothing is left.
    fn receive(&mut self, idle: bool) -> bool {
        if idle {
            match self.inbox.recv() {
                Ok(command) => self.enqueue(command),
                Err(_) => return false,
            }
        }
        loop {
            match self.inbox.try_recv() {
                Ok(command) => self.enqueue(command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => {
                    return !(self.active.is_empty() && self.queue.is_empty());
                }
            }
        }
    }

    fn enqueue(&mut self, Command(entries): Command) {
        for entry in entries {
            self.queue.push(&entry.job.client.clone(), entry);
        }
    }

    /// Ends jobs that were cancelled, or whose time is over.
    fn drop_cancelled(&mut self) {
        let over = |job: &Job| {
            job.cancel.is_cancelled() || job.deadline.is_some_and(|deadline| Instant::now() >= deadline)
        };
        for entry in self.queue.take_if(|entry| over(&entry.job)) {
            let mut reply = Reply::never_run(&entry.job.request);
            reply.finish = why(&entry.job);
            entry.tell(JobEvent::Done(reply));
        }
        let ended: Vec<Ticket> =
            self.active.iter().filter(|active| over(&active.entry.job)).map(|active| active.ticket).collect();
        if !ended.is_empty() {
            self.generator.cancel(|ticket| ended.contains(&ticket));
        }
    }

    /// Moves waiting jobs to free slots.
    fn admit(&mut self) {
        while self.generator.free_slots() > 0
            && let Some(entry) = self.queue.pop()
        {
            self.begin(entry, false);
        }
    }

    /// Gives a job to the generator, or reports why not.
    fn begin(&mut self, entry: Entry, again: bool) {
        let mut request = entry.job.request.clone();
        if let Some(name) = &entry.job.adapter {
            request.adapter = self.source.adapter(name);
            if request.adapter.is_none() {
                entry.tell(JobEvent::Failed(GenerateError::NoAdapter { name: name.clone() }));
                return;
            }
        }
        match self.generator.check_request(0, &request) {
            Ok(()) => {
                let ticket = self.generator.submit(0, request);
                self.active.push(Active { ticket, entry, drawn: 0, again });
            }
            Err(error) => entry.tell(JobEvent::Failed(error)),
        }
    }

    /// Reports to a job what happened to it.
    fn report(&mut self, progress: Progress) {
        let (Progress::Token(ticket, _) | Progress::Ended { ticket, .. }) = &progress;
        let Some(place) = self.active.iter().position(|active| active.ticket == *ticket) else { return };
        match progress {
            Progress::Token(_, TokenEvent { token, logprob, top, text, .. }) => {
                let active = &mut self.active[place];
                active.drawn += 1;
                self.counts.reply_tokens += 1;
                // After a loss of the GPU, the same tokens are drawn again.
                if active.drawn > active.entry.told.len() {
                    active.entry.told.push(token);
                    active.entry.tell(JobEvent::Token { token, logprob, top, text });
                }
            }
            Progress::Ended { mut reply, .. } => {
                let Active { entry, .. } = self.active.remove(place);
                if reply.finish == Finish::Cancelled {
                    reply.finish = why(&entry.job);
                }
                self.counts.ended += 1;
                self.counts.prompt_tokens += reply.prompt_tokens as u64;
                self.counts.reused_tokens += reply.reused_tokens as u64;
                // Another kernel family may draw other tokens than were reported.
                let same = reply.tokens.starts_with(&entry.told);
                entry.tell(if same {
                    JobEvent::Done(reply)
                } else {
                    JobEvent::Failed(GenerateError::Replayed)
                });
            }
        }
    }

    /// After an error: fails the job that caused it, and starts the others again.
    fn recover(&mut self, error: &GenerateError) {
        self.generator.reset();
        let active = std::mem::take(&mut self.active);
        if let Some(culprit) = self.generator.failed.take() {
            for Active { ticket, entry, again, .. } in active {
                if ticket == culprit {
                    entry.tell(JobEvent::Failed(error.clone()));
                } else {
                    self.begin(entry, again);
                }
            }
            return;
        }
        let reopened = if self.generator.is_lost() {
            self.counts.losses += 1;
            self.source.open()
        } else {
            Err(error.clone())
        };
        match reopened {
            Ok(generator) => {
                self.generator = generator;
                for Active { entry, again, .. } in active {
                    if again {
                        entry.tell(JobEvent::Failed(error.clone()));
                    } else {
                        self.begin(entry, true);
                    }
                }
            }
            Err(_) => active.iter().for_each(|active| active.entry.tell(JobEvent::Failed(error.clone()))),
        }
    }
}

/// Why a cancelled job ended.
fn why(job: &Job) -> Finish {
    if job.cancel.is_cancelled() { Finish::Cancelled } else { Finish::Deadline }
}
