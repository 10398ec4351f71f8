//! What a request changes in the logits before a token is drawn, and what it reads from them.

use std::fmt;
use std::sync::Arc;

use crate::tokenizer::TokenId;

/// A logit that is never drawn. Minus infinity would count as a fault of the model.
const NEVER: f32 = -1e30;

/// Changes to a request's logits, and reports about them. With the default, nothing is changed or reported.
///
/// Each needs the logits on the CPU, one row a token, so such a request decodes more slowly, and the others in its batch
/// with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogitOptions {
    /// Values that are added to the logits of single tokens. The last value of a token counts.
    pub bias: Vec<(TokenId, f32)>,
    /// Subtracted from the logit of every token that the reply contains.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit, times how often the reply contains it.
    pub frequency_penalty: f32,
    /// Number of most probable tokens to report with each token.
    pub top_logprobs: usize,
    /// Which tokens may follow, such as by a grammar.
    pub constraint: Option<Constraint>,
}

impl LogitOptions {
    /// Whether a draw needs the logits on the CPU.
    pub(super) fn is_used(&self) -> bool {
        *self != LogitOptions::default()
    }

    /// The first setting that is outside its range, its value, and what is allowed.
    pub(super) fn fault(&self) -> Option<(&'static str, f32, &'static str)> {
        let penalty = |value: f32| (-100.0..=100.0).contains(&value);
        if !penalty(self.presence_penalty) {
            return Some(("presence_penalty", self.presence_penalty, "-100 to 100"));
        }
        if !penalty(self.frequency_penalty) {
            return Some(("frequency_penalty", self.frequency_penalty, "-100 to 100"));
        }
        let odd = self.bias.iter().find(|(_, value)| !(-1000.0..=1000.0).contains(value));
        odd.map(|&(_, value)| ("bias", value, "-1000 to 1000"))
    }
}

/// Decides which tokens may follow, for one reply.
pub trait TokenConstraint: Send {
    /// The tokens that may be drawn next: bit `t % 32` of word `t / 32` for token `t`. Tokens beyond the last word
    /// may not. The tokens that end a reply are among them where it may end.
    ///
    /// # Errors
    ///
    /// Why nothing may follow.
    fn allowed(&mut self) -> Result<Vec<u32>, String>;

    /// Takes the token that was drawn.
    ///
    /// # Errors
    ///
    /// Why the token does not fit.
    fn accept(&mut self, token: TokenId) -> Result<(), String>;
}

/// Makes a [`TokenConstraint`] for each reply. Clones are equal.
#[derive(Clone)]
pub struct Constraint(Arc<dyn Fn() -> Box<dyn TokenConstraint> + Send + Sync>);

impl Constraint {
    /// A constraint whose replies start from what `start` returns.
    pub fn new(start: impl Fn() -> Box<dyn TokenConstraint> + Send + Sync + 'static) -> Constraint {
        Constraint(Arc::new(start))
    }
}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Constraint")
    }
}

impl PartialEq for Constraint {
    fn eq(&self, other: &Constraint) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The logits of one reply: the state of its [`LogitOptions`].
pub(super) struct LogitState {
    options: LogitOptions,
    constraint: Option<Box<dyn TokenConstraint>>,
    /// How often the reply contains each token.
    counts: Vec<(TokenId, u32)>,
    /// The row of the next draw, before changes.
    row: Vec<f32>,
}

impl fmt::Debug for LogitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogitState").field("options", &self.options).finish_non_exhaustive()
    }
}

impl LogitState {
    /// `None` for options that change and report nothing.
    pub fn new(options: &LogitOptions) -> Option<LogitState> {
        options.is_used().then(|| LogitState {
            constraint: options.constraint.as_ref().map(|constraint| (constraint.0)()),
            options: options.clone(),
            counts: Vec::new(),
            row: Vec::new(),
        })
    }

    /// Takes a row of logits, and returns the row to draw from, or `None` if it is the same.
    pub fn change(&mut self, row: Vec<f32>) -> Result<Option<Vec<f32>>, String> {
        let LogitOptions { bias, presence_penalty, frequency_penalty, .. } = &self.options;
        let penalised = (*presence_penalty, *frequency_penalty) != (0.0, 0.0) && !self.counts.is_empty();
        if bias.is_empty() && !penalised && self.constraint.is_none() {
            self.row = row;
            return Ok(None);
        }
        let mut changed = row.clone();
        self.row = row;
        if penalised {
            for &(token, count) in &self.counts {
                changed[token as usize] -= presence_penalty + frequency_penalty * count as f32;
            }
        }
        for (place, &(token, value)) in bias.iter().enumerate() {
            let again = bias[place + 1..].iter().any(|&(later, _)| later == token);
            if let Some(logit) = changed.get_mut(token as usize).filter(|_| !again) {
                *logit += value;
            }
        }
        if let Some(constraint) = &mut self.constraint {
            let allowed = constraint.allowed()?;
            let mut any = false;
            for (token, logit) in changed.iter_mut().enumerate() {
                let may = allowed.get(token / 32).is_some_and(|word| word >> (token % 32) & 1 == 1);
                any |= may;
                if !may {
                    *logit = NEVER;
                }
            }
            if !any {
                return Err("no token may follow".to_owned());
            }
        }
        Ok(Some(changed))
    }

    /// Takes the token that was drawn. Returns its log-probability under the plain softmax of the unchanged row, and
    /// the most probable tokens with theirs.
    pub fn accept(&mut self, token: TokenId) -> Result<(f32, Vec<(TokenId, f32)>), String> {
        match self.counts.iter_mut().find(|(known, _)| *known == token) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((token, 1)),
        }
        let row = std::mem::take(&mut self.row);
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
        let logprob = |logit: f32| (f64::from(logit - largest) - sum.ln()) as f32;
        let mut order: Vec<TokenId> = (0..row.len() as u32).collect();
        let most = self.options.top_logprobs.min(order.len());
        let by_logit =
            |a: &TokenId, b: &TokenId| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
        if (1..order.len()).contains(&most) {
            order.select_nth_unstable_by(most - 1, by_logit);
        }
        order.truncate(most);
        order.sort_unstable_by(by_logit);
        let top = order.into_iter().map(|token| (token, logprob(row[token as usize]))).collect();
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(token)?;
        }
        Ok((logprob(row[token as usize]), top))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allows token 1, then token 3.
    struct OneThenThree(usize);

    impl TokenConstraint for OneThenThree {
        fn allowed(&mut self) -> Result<Vec<u32>, String> {
            match self.0 {
                0 => Ok(vec![0b10]),
                1 => Ok(vec![0b1000]),
                _ => Err("the end".to_owned()),
            }
        }

        fn accept(&mut self, token: TokenId) -> Result<(), String> {
            let expected = [1, 3][self.0];
            self.0 += 1;
            if token == expected { Ok(()) } else { Err(format!("{token} does not follow")) }
        }
    }

    fn state(options: LogitOptions) -> LogitState {
        LogitState::new(&options).expect("options that do something")
    }

    #[test]
    fn without_options_there_is_no_state() {
        assert!(LogitState::new(&LogitOptions::default()).is_none());
    }

    #[test]
    fn biases_and_penalties_add_up() {
        let mut state = state(LogitOptions {
            bias: vec![(0, 5.0), (0, 1.0), (9, 1.0)],
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            ..LogitOptions::default()
        });
        let row = vec![0.0, 1.0, 2.0];
        assert_eq!(
            state.change(row.clone()),
            Ok(Some(vec![1.0, 1.0, 2.0])),
            "the last value of token 0 counts"
        );
        state.accept(2).unwrap();
        state.change(row.clone()).unwrap();
        state.accept(2).unwrap();
        assert_eq!(state.change(row), Ok(Some(vec![1.0, 1.0, 2.0 - 0.5 - 2.0 * 0.25])));
    }

    #[test]
    fn the_most_probable_tokens_are_those_of_the_unchanged_row() {
        let mut state =
            state(LogitOptions { bias: vec![(0, 50.0)], top_logprobs: 2, ..LogitOptions::default() });
        state.change(vec![0.0, 1.0, 3.0, 1.0]).unwrap();
        let (logprob, top) = state.accept(0).unwrap();
        let sum = (1.0 + 2.0 * 1f32.exp() + 3f32.exp()).ln();
        assert!((logprob + sum).abs() < 1e-6);
        assert_eq!(top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [2, 1]);
        assert!((top[0].1 - (3.0 - sum)).abs() < 1e-6);
    }

    #[test]
    fn a_constraint_rules_out_all_other_tokens() {
        let constraint = Some(Constraint::new(|| Box::new(OneThenThree(0))));
        let options = LogitOptions { constraint, ..LogitOptions::default() };
        let mut state = state(options.clone());
        let row = vec![9.0, 1.0, 3.0, 1.0];
        let allowed = |row: &[f32]| (0..4).filter(|&token| row[token] > NEVER).collect::<Vec<_>>();
        assert_eq!(allowed(&state.change(row.clone()).unwrap().unwrap()), [1]);
        state.accept(1).unwrap();
        assert_eq!(allowed(&state.change(row.clone()).unwrap().unwrap()), [3]);
        state.accept(3).unwrap();
        assert_eq!(state.change(row.clone()), Err("the end".to_owned()));
        let mut again = self::state(options);
        again.change(row).unwrap();
        assert!(again.accept(0).is_err(), "each reply starts from the beginning");
    }

    #[test]
    fn settings_have_ranges() {
        let options = LogitOptions { presence_penalty: f32::NAN, ..LogitOptions::default() };
        assert_eq!(options.fault().map(|(setting, ..)| setting), Some("presence_penalty"));
        let options = LogitOptions { bias: vec![(3, 1e9)], ..LogitOptions::default() };
        assert_eq!(options.fault().map(|(setting, ..)| setting), Some("bias"));
        assert_eq!(LogitOptions::default().fault(), None);
    }
}
