//! Principles in a chat: reloads, shows and changes them.

use super::Chat;
use crate::cli::error::CliError;
use crate::cli::screen::unclear;
use crate::cli::terminal;
use parr::chat::ChatError;
use parr::generate::CancelToken;
use parr::steer::{Search, SteerError, Steering};

impl Chat<'_> {
    /// Names the principles and how to change them, at the start.
    pub(super) fn introduce_principles(&mut self) {
        let Some(name) = self.session.principles_source() else { return };
        let used = self.session.steering().used().len();
        let file = std::path::Path::new(name.split(':').next().unwrap_or(name)).is_file();
        let edit = if file { "; edit the file, and the next reply follows it" } else { "" };
        self.global.note(format!("principles in use: {used}, from {name}{edit}"));
        if self.session.steering().search != Search::Sample {
            self.global.note("/why shows the replies to choose from, with their scores");
        }
        self.warn_unclear();
    }

    /// Names the principles that the reward model hardly reads.
    fn warn_unclear(&mut self) {
        // An error shows at the next reply, too.
        for principle in self.session.unclear_principles(&CancelToken::new()).unwrap_or_default() {
            self.global.note(unclear(&principle));
        }
    }

    /// Reads the file of principles again if it has changed. A mistake in it is reported once, and changes
    /// nothing.
    pub(super) fn reload_principles(&mut self) {
        match self.session.reload_principles() {
            Ok(true) => {
                let used = self.session.steering().used().len();
                let name = self.session.principles_source().unwrap_or_default();
                self.global.note(format!("{name} has changed; principles in use: {used}"));
                self.warn_unclear();
            }
            Ok(false) => {}
            Err(error) => {
                CliError::from(error).report();
                self.global.note("the principles stay as they were");
            }
        }
    }

    /// `/principles`: shows those in use, or changes to others.
    pub(super) fn take_principles(&mut self, name: Option<&str>) {
        match name.map(|name| self.session.set_principles(name)) {
            Some(Err(error)) => {
                CliError::from(error).report();
                return;
            }
            Some(Ok(())) => self.warn_unclear(),
            None => self.reload_principles(),
        }
        terminal::say(shown(self.session.steering()));
    }

    /// `/scores` and `/best-of`: changes the search, if there is a reward model for it.
    pub(super) fn search(&mut self, change: impl FnOnce(&mut Steering)) {
        let mut steering = self.session.steering().clone();
        change(&mut steering);
        match self.session.set_steering(steering) {
            Ok(()) => {}
            Err(error @ ChatError::Steer(SteerError::NoReward { .. })) => {
                terminal::say(format_args!("{error}: start with --reward DIR"));
            }
            Err(error) => terminal::say(error),
        }
    }
}

/// The search with another number of candidates.
pub(super) fn with_candidates(search: Search, n: usize) -> Search {
    match search {
        Search::Guided { block, .. } => Search::Guided { n, block },
        Search::Sample | Search::BestOf { .. } if n == 1 => Search::Sample,
        Search::Sample | Search::BestOf { .. } => Search::BestOf { n },
    }
}

/// The principles in use, in order.
fn shown(steering: &Steering) -> String {
    let set = &steering.principles;
    if set.principles.is_empty() {
        return "no principles: use /principles SET or /principles FILE".to_owned();
    }
    let used = steering.used();
    let mut text = format!("{}: {}", set.id, set.title);
    for principle in &used {
        text.push_str(&format!(
            "\n- {} [{}, weight {}]",
            principle.definition, principle.id, principle.weight
        ));
    }
    let left_out = set.principles.len() - used.len();
    if left_out > 0 {
        text.push_str(&format!(
            "\n({left_out} principles of less weight are left out: see --most-principles)"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_candidate_is_a_sample_and_blocks_stay_blocks() {
        assert_eq!(with_candidates(Search::Sample, 4), Search::BestOf { n: 4 });
        assert_eq!(with_candidates(Search::BestOf { n: 4 }, 1), Search::Sample);
        let guided = Search::Guided { n: 2, block: 8 };
        assert_eq!(with_candidates(guided, 1), Search::Guided { n: 1, block: 8 });
    }
}
