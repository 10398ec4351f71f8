//! The smallest policy there is, a table of logits, brought to a known optimum by every objective: signs,
//! baselines and weights are right together. Runs on the CPU alone.

use parr::align::AlignConfig;
use parr::align::estimate::Trace;
use parr::random::{Philox, Purpose};
use parr::train::objective::KlEstimator;
use parr::train::objective::{
    Dpo, DpoBatch, DpoPair, Evaluated, GroupBatch, GroupScale, Objective, PpoBatch, ReplyTokens, TokenStats,
    group_advantages, leave_one_out,
};

const POSITIONS: usize = 4;
const VOCAB: usize = 6;
/// The tokens with a reward of 1; all others have a reward of 0.
const WANTED: [usize; POSITIONS] = [3, 0, 5, 3];

/// Logits of each position, and a critic's value of each.
#[derive(Clone)]
struct Table {
    logits: [[f64; VOCAB]; POSITIONS],
    values: [f64; POSITIONS],
}

impl Table {
    fn uniform() -> Table {
        Table { logits: [[0.0; VOCAB]; POSITIONS], values: [0.0; POSITIONS] }
    }

    fn probabilities(&self, position: usize) -> [f64; VOCAB] {
        let weights = self.logits[position].map(f64::exp);
        weights.map(|weight| weight / weights.iter().sum::<f64>())
    }

    fn entropy(&self, position: usize) -> f64 {
        self.probabilities(position).iter().map(|p| -p * p.ln()).sum()
    }

    fn sample(&self, random: Philox, step: u32, index: u32) -> [usize; POSITIONS] {
        std::array::from_fn(|position| {
            let mut left: f64 = random.uniform(Purpose::Sample, step, index, position as u32).into();
            let probabilities = self.probabilities(position);
            let chosen = probabilities.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            chosen.unwrap_or(VOCAB - 1)
        })
    }

    /// What a pass would read off `replies`, one behind another.
    fn read(&self, replies: &[[usize; POSITIONS]]) -> TokenStats {
        let mut stats = TokenStats::default();
        for reply in replies {
            for (position, &token) in reply.iter().enumerate() {
                stats.logprob.push(self.probabilities(position)[token].ln() as f32);
                stats.entropy.push(self.entropy(position) as f32);
                stats.value.push(self.values[position] as f32);
            }
        }
        stats
    }

    /// One step against the gradients, through the softmax.
    fn step(&mut self, replies: &[[usize; POSITIONS]], gradients: &Evaluated, rate: f64) {
        let before = self.clone();
        for (at, &token) in replies.as_flattened().iter().enumerate() {
            let position = at % POSITIONS;
            let (p, entropy) = (before.probabilities(position), before.entropy(position));
            let (d_logprob, d_entropy) =
                (f64::from(gradients.d_logprob[at]), f64::from(gradients.d_entropy[at]));
            for (k, p) in p.into_iter().enumerate() {
                let hit = f64::from(u8::from(k == token));
                let d_logit = d_logprob * (hit - p) - d_entropy * p * (p.ln() + entropy);
                self.logits[position][k] -= rate * d_logit;
            }
            self.values[position] -= 2.0 * rate * f64::from(gradients.d_value[at]);
        }
    }

    /// Mean reward of a reply, exactly: at most 4.
    fn mean_reward(&self) -> f64 {
        WANTED.iter().enumerate().map(|(position, &token)| self.probabilities(position)[token]).sum()
    }
}

fn reward(reply: &[usize; POSITIONS]) -> f64 {
    reply.iter().zip(WANTED).filter(|(token, wanted)| **token == *wanted).count() as f64
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// Learns from rollouts of 32 replies by `update`, and checks where that leads.
fn solves(name: &str, mut update: impl FnMut(&mut Table, &Table, &[[usize; POSITIONS]], &[Trace])) {
    for seed in 0..3 {
        let (mut table, reference) = (Table::uniform(), Table::uniform());
        assert!((table.mean_reward() - 4.0 / 6.0).abs() < 1e-12);
        for step in 0..60 {
            let replies: Vec<_> = (0..32).map(|index| table.sample(Philox::new(seed), step, index)).collect();
            let (now, then) = (table.read(&replies), reference.read(&replies));
            let trace = |(at, reply): (usize, &[usize; POSITIONS])| {
                let tokens = at * POSITIONS..(at + 1) * POSITIONS;
                Trace {
                    real: vec![true; POSITIONS],
                    logprob: double(&now.logprob[tokens.clone()]),
                    ref_logprob: double(&then.logprob[tokens.clone()]),
                    value: double(&now.value[tokens]),
                    score: reward(reply),
                }
            };
            let traces: Vec<Trace> = replies.iter().enumerate().map(trace).collect();
            update(&mut table, &reference, &replies, &traces);
        }
        assert!(table.mean_reward() > 3.8, "{name}, seed {seed}: {} of 4", table.mean_reward());
    }
}

fn group_batch(traces: &[Trace], advantages: &[f64]) -> GroupBatch {
    let reply = |((at, trace), &advantage): ((usize, &Trace), &f64)| ReplyTokens {
        first: at * POSITIONS,
        old_logprobs: trace.logprob.clone(),
        ref_logprobs: trace.ref_logprob.clone(),
        advantage,
    };
    let replies = traces.iter().enumerate().zip(advantages).map(reply).collect();
    let n = traces.len() as f64;
    GroupBatch { replies, n_replies: n, n_tokens: n * POSITIONS as f64 }
}

#[test]
fn ppo_finds_the_optimum_of_a_table() {
    let config = AlignConfig::default();
    solves("ppo", |table, _, replies, traces| {
        let estimates = config.estimator(0.01).estimate(traces);
        let objective = config.ppo(estimates.value_error);
        let tokens = estimates.replies.iter().zip(traces).enumerate();
        let tokens: Vec<_> = tokens
            .flat_map(|(at, (reply, trace))| reply.tokens(trace, at * POSITIONS, at * POSITIONS))
            .collect();
        let batch = PpoBatch { normalizer: tokens.len() as f64, tokens };
        for _ in 0..config.update.epochs {
            let gradients = objective.evaluate(&table.read(replies), &batch);
            table.step(replies, &gradients, 4.0);
        }
    });
}

#[test]
fn grpo_finds_the_optimum_of_a_table() {
    let mut config = AlignConfig::default();
    config.rollout.max_reply_tokens = POSITIONS;
    for scale in [GroupScale::Group, GroupScale::None] {
        solves("grpo", |table, _, replies, traces| {
            let scores: Vec<f64> = traces.iter().map(|trace| trace.score).collect();
            let batch = group_batch(traces, &group_advantages(&scores, 8, scale));
            for _ in 0..2 {
                let gradients = config.grpo(0.01).evaluate(&table.read(replies), &batch);
                table.step(replies, &gradients, 4.0);
            }
        });
    }
}

#[test]
fn rloo_finds_the_optimum_of_a_table() {
    let config = AlignConfig::default();
    solves("rloo", |table, _, replies, traces| {
        let rewards: Vec<f64> = traces.iter().map(|trace| trace.penalised(KlEstimator::K1, 0.01)).collect();
        let batch = group_batch(traces, &leave_one_out(&rewards, 8));
        let gradients = config.rloo().evaluate(&table.read(replies), &batch);
        table.step(replies, &gradients, 1.0);
    });
}

/// From pairs in which the reply of larger reward is the chosen one.
#[test]
fn dpo_learns_what_pairs_prefer() {
    solves("dpo", |table, reference, replies, traces| {
        let then = double(&reference.read(replies).logprob);
        let tokens = |at: usize| at * POSITIONS..(at + 1) * POSITIONS;
        let pairs: Vec<DpoPair> = (0..traces.len())
            .step_by(2)
            .filter(|&at| traces[at].score != traces[at + 1].score)
            .map(|at| if traces[at].score > traces[at + 1].score { (at, at + 1) } else { (at + 1, at) })
            .map(|(chosen, rejected)| DpoPair {
                chosen: tokens(chosen),
                rejected: tokens(rejected),
                ref_chosen: then[tokens(chosen)].iter().sum(),
                ref_rejected: then[tokens(rejected)].iter().sum(),
            })
            .collect();
        let normalizer = pairs.len().max(1) as f64;
        let objective = Dpo { beta: 0.1, label_smoothing: 0.0 };
        let gradients = objective.evaluate(&table.read(replies), &DpoBatch { pairs, normalizer });
        table.step(replies, &gradients, 20.0);
    });
}
