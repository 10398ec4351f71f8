//! Questions to a reward model, each asked once, in an order that shares most of the computation.

use std::collections::{BTreeMap, HashMap};

use crate::generate::CancelToken;
use crate::reward::{RewardError, RewardModel, ScoreRequest};

/// The principles to score a reply under.
type List<'a> = Vec<&'a str>;

/// The questions so far.
#[derive(Debug, Default)]
pub(super) struct Asked<'a> {
    /// The lists of each prompt and reply, with the ticket of each. Questions with the same prompt and reply
    /// are adjacent, so their common start is computed once.
    lists: BTreeMap<(&'a str, &'a str), HashMap<List<'a>, usize>>,
    tickets: usize,
}

/// The index of a question's score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(usize);

/// Scores by ticket.
#[derive(Debug)]
pub(super) struct Answers(Vec<f64>);

impl Answers {
    pub fn score(&self, ticket: Ticket) -> f64 {
        self.0[ticket.0]
    }

    /// Score of the first of two replies minus the score of the second.
    pub fn margin(&self, [first, second]: [Ticket; 2]) -> f64 {
        self.score(first) - self.score(second)
    }
}

impl<'a> Asked<'a> {
    /// Asks for the score of a reply. A repeated question is asked once.
    pub fn ask(&mut self, prompt: &'a str, reply: &'a str, list: &[&'a str]) -> Ticket {
        let lists = self.lists.entry((prompt, reply)).or_default();
        let next = self.tickets;
        let ticket = *lists.entry(list.to_vec()).or_insert(next);
        self.tickets += usize::from(ticket == next);
        Ticket(ticket)
    }

    /// Asks for the scores of both replies to a prompt.
    pub fn both(&mut self, prompt: &'a str, replies: [&'a str; 2], list: &[&'a str]) -> [Ticket; 2] {
        replies.map(|reply| self.ask(prompt, reply, list))
    }

    /// Number of different questions.
    pub fn len(&self) -> usize {
        self.tickets
    }

    /// Asks all questions. `on_done` receives the number of answered questions.
    pub fn answer(
        self,
        model: &mut RewardModel,
        cancel: &CancelToken,
        on_done: &mut dyn FnMut(usize),
    ) -> Result<Answers, RewardError> {
        let mut answers = vec![0.0; self.tickets];
        let mut questions = Vec::with_capacity(self.tickets);
        let mut tickets = Vec::with_capacity(self.tickets);
        for ((prompt, reply), lists) in self.lists {
            let mut lists: Vec<(List<'a>, usize)> = lists.into_iter().collect();
            lists.sort_unstable_by_key(|(_, ticket)| *ticket);
            for (principles, ticket) in lists {
                questions.push(ScoreRequest::new(prompt, reply, principles));
                tickets.push(ticket);
            }
        }
        let scores = model.score(&questions, cancel, on_done)?;
        for (ticket, score) in tickets.into_iter().zip(scores) {
            answers[ticket] = f64::from(score.value);
        }
        Ok(Answers(answers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_is_asked_once() {
        let mut asked = Asked::default();
        let first = asked.ask("p", "a", &["x", "y"]);
        assert_ne!(asked.ask("p", "a", &["y", "x"]), first, "the order of a list is part of it");
        assert_ne!(asked.ask("p", "b", &["x", "y"]), first);
        assert_eq!(asked.ask("p", "a", &["x", "y"]), first);
        assert_eq!(asked.both("p", ["b", "a"], &["x", "y"])[1], first);
        assert_eq!(asked.len(), 3);
    }
}
