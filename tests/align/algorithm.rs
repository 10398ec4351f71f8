//! Algorithms: those in the table, and one that a program brings along.

use parr::align::estimate::Trace;
use parr::align::{
    ALGORITHMS, Algorithm, AlgorithmSpec, AlignConfig, Outcome, RolloutObjective, RolloutPart,
};
use parr::gpu::{Device, DeviceOptions, KernelFamily};
use parr::settings::Settings;
use parr::train::objective::{Evaluated, TokenStats};

use super::{Toy, settings, tiny};
use crate::support::gpu;

/// Plain REINFORCE: no ratio, no clipping, no groups and no critic. The baseline is the rollout's mean reward.
static REINFORCE: AlgorithmSpec = AlgorithmSpec {
    name: "reinforce",
    description: "REINFORCE with the mean reward of the rollout as baseline",
    needs_groups: false,
    needs_critic: false,
    objective: reinforce,
};

fn reinforce(config: &AlignConfig, traces: &[Trace], kl_coefficient: f64) -> Box<dyn RolloutObjective> {
    let reward = |trace: &Trace| trace.penalised(config.kl.estimator, kl_coefficient);
    let rewards: Vec<f64> = traces.iter().map(reward).collect();
    let baseline = rewards.iter().sum::<f64>() / rewards.len() as f64;
    Box::new(Reinforce { advantages: rewards.iter().map(|reward| reward - baseline).collect() })
}

struct Reinforce {
    advantages: Vec<f64>,
}

impl RolloutObjective for Reinforce {
    /// `loss = -sum_replies A sum_t logprob_t / B`.
    fn evaluate(&self, part: &RolloutPart<'_>, stats: &TokenStats) -> Evaluated {
        let mut evaluated = stats.zeros();
        for place in &part.replies {
            let weight = -self.advantages[place.index] / part.n_replies;
            let tokens = place.policy..place.policy + part.traces[place.index].n_real();
            for token in tokens {
                evaluated.loss += weight * f64::from(stats.logprob[token]);
                evaluated.d_logprob[token] = weight as f32;
            }
        }
        evaluated.metrics = vec![("loss/policy_avg", evaluated.loss)];
        evaluated
    }
}

/// The steps of `src/guide/adding.md`, but without a line in the table: a spec and an objective are enough.
#[test]
fn an_algorithm_of_a_program_learns_the_toy_task() {
    assert!(ALGORITHMS.iter().all(|spec| spec.name != REINFORCE.name));
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    let mut config = settings(Algorithm::new(&REINFORCE), 0, 24);
    // Without a ratio, a second update on the same replies would be off-policy.
    config.update.epochs = 1;
    config.validate().expect("sound settings");
    let out = folder.path().join("run");
    let toy = Toy { model: &model, config: &config, out: &out, init: None, budget: None };
    let (outcome, steps) = toy.run();
    assert_eq!(outcome, Outcome::Done(out.join("adapter")));
    let scores: Vec<f64> = steps.iter().map(|step| step.rollout.scores).collect();
    println!("scores {scores:.2?}");
    assert!(scores[0] < 0.2, "it starts with the score of random tokens, not with {}", scores[0]);
    let last = scores[scores.len() - 3..].iter().sum::<f64>() / 3.0;
    assert!(last > 0.85, "{last} of 1");
    assert!(steps.iter().all(|step| step.value_error.is_none() && step.n_updates == 1));
    let card = std::fs::read_to_string(out.join("adapter/parr.json")).expect("the card");
    assert!(card.contains("\"algorithm\": \"reinforce\""), "{card}");
}

/// On a device that computes nothing: each algorithm gets the critic and the groups that it needs.
#[test]
fn every_algorithm_in_the_table_runs() {
    for spec in ALGORITHMS {
        let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
        let folder = tempfile::tempdir().expect("a scratch directory");
        let model = tiny(&device, folder.path());
        let algorithm: Algorithm = spec.name.parse().expect("it is in the table");
        let config = settings(algorithm, 0, 2);
        let out = folder.path().join("run");
        let toy = Toy { model: &model, config: &config, out: &out, init: None, budget: None };
        let (outcome, steps) = toy.run();
        assert_eq!((outcome, steps.len()), (Outcome::Done(out.join("adapter")), 2), "{algorithm}");
        assert!(steps.iter().all(|step| step.value_error.is_some() == spec.needs_critic), "{algorithm}");
        let single = AlignConfig { algorithm, ..AlignConfig::default() };
        assert_eq!(single.rollout.replies, 1);
        assert_eq!(single.validate().is_err(), spec.needs_groups, "{algorithm}");
    }
}
