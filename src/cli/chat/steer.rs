//! Principles in a chat: read again when their file changes, shown, exchanged.

use super::Chat;
use crate::cli::error::CliError;
use crate::steer::{Search, SteerError, Steering, WatchedSet};

impl Chat<'_> {
    /// Looks at the principles' file again. One with mistakes changes nothing but what is said.
    pub(super) fn reload_principles(&mut self) {
        let Some(watched) = &mut self.watched else { return };
        match watched.poll() {
            Ok(true) => {
                self.steering.principles = watched.set().clone();
                let used = self.steering.used().len();
                self.global.note(format!("{} has changed; principles in use: {used}", watched.name()));
            }
            Ok(false) => {}
            Err(error) => {
                CliError::from(error).report();
                self.global.note("the principles stay what they were");
            }
        }
    }

    /// `/principles`: shows those in use, or takes other ones.
    pub(super) fn take_principles(&mut self, name: Option<&str>) {
        match name.map(WatchedSet::open) {
            Some(Ok(watched)) => {
                self.steering.principles = watched.set().clone();
                self.watched = Some(watched);
            }
            Some(Err(error)) => {
                CliError::from(error).report();
                return;
            }
            None => self.reload_principles(),
        }
        eprintln!("{}", shown(&self.steering));
    }

    /// `/scores` and `/best-of`: what the search does from now on, if there is somebody to do it.
    pub(super) fn search(&mut self, change: impl FnOnce(&mut Steering)) {
        let mut steering = self.steering.clone();
        change(&mut steering);
        match steering.check(self.steered.reward().is_some()) {
            Ok(()) => self.steering = steering,
            Err(error @ SteerError::NoReward { .. }) => eprintln!("{error}: start with --reward DIR"),
            Err(error) => eprintln!("{error}"),
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

/// The principles in use, in their order.
fn shown(steering: &Steering) -> String {
    let set = &steering.principles;
    if set.principles.is_empty() {
        return "no principles: /principles SET or /principles FILE takes some".to_owned();
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
        text.push_str(&format!("\n({left_out} lighter ones are left out: see --most-principles)"));
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
