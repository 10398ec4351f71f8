//! `parr align`: reinforcement learning by a reward that reads principles.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::GlobalArgs;
use super::error::CliError;
use super::open::{ModelArgs, chat_format};
use super::screen::Screen;
use super::training::{Knobs, RunArgs, note_adapter, set};
use parr::adapter::Adapter;
use parr::align::AlignConfig;
use parr::align::{ALGORITHMS, Algorithm, Align, AlignPrompts, Guidelines, Outcome, RewardRole};
use parr::hub;
use parr::principles::Selection;
use parr::reward::{RewardModel, RewardOptions};
use parr::settings::Settings;

const LONG_ABOUT: &str = "\
Aligns a model to written principles by reinforcement learning. Each step
samples replies to prompts. A reward model scores them under principles that are
drawn for each prompt. Then --algorithm trains a LoRA adapter, the policy,
towards higher scores. A KL penalty (--kl) keeps the policy close to the model
that it started from.

Policy, reference, critic and reward model are adapters on one set of quantized
weights. For a reward model on another base, add --reward-base.

Sets with use = \"always\", such as interventions, are in every scoring prompt,
before the drawn principles. A sentence there can stop a habit that the reward
model scores too high, without training the reward model again.

Files in DIR:
  align.toml      the settings
  metrics.jsonl   the metrics, also as event files for TensorBoard
  rollouts/       the sampled replies with their scores
  checkpoints/    states to resume from
  adapter/        the trained adapter, a PEFT directory, at the end

Ctrl-C saves a state and stops. --resume continues from the newest state, also
after a crash. The results are bit-identical to those of an uninterrupted run.";

const EXAMPLES: &str = "\
Examples:
  parr align --reward runs/reward --prompts prompts.jsonl --out runs/a
  parr align --reward runs/reward --prompts prompts.jsonl --out runs/a --resume
  parr align --reward runs/reward --prompts prompts.jsonl --out runs/b \\
      --principles policy interventions --steps 40
  parr align --reward runs/reward --prompts prompts.jsonl --out runs/c \\
      --algorithm grpo --replies 4
  parr align --reward runs/reward --prompts prompts.jsonl --out runs/d \\
      --budget 10m --init-adapter runs/sft
  parr align --print-config > align.toml        every setting, explained
  parr chat --adapter runs/a

Prompts, one JSON object per line; type is general, reasoning or red-team:
  {\"id\": \"p1\", \"type\": \"general\", \"prompt\": \"Name a river.\"}";

/// Align a model to principles with a reward model
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
#[command(mut_arg("evaluate_every", |arg| arg.hide(true)))]
pub(super) struct AlignArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Prompts to reply to, in JSON Lines
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    prompts: Option<PathBuf>,

    /// Reward model: the folder of a `parr reward train` run, or a PEFT directory. Without it, the settings
    /// must give another reward
    #[arg(long, value_name = "DIR")]
    reward: Option<PathBuf>,

    /// Base of the reward model, if it is not --model
    #[arg(long, value_name = "MODEL", requires = "reward")]
    reward_base: Option<String>,

    /// Accept adapters that were trained on other weights, such as an unquantized copy
    #[arg(long)]
    any_base: bool,

    /// Principles for scoring: sets that come with parr, or files, joined. `:ID` chooses principles by id, and `!ID`
    /// asks for the opposite of one
    #[arg(long, value_name = "SET|FILE[:ID,!ID]", num_args = 1.., default_values = ["policy"])]
    principles: Vec<String>,

    /// Adapter to start from, which is then also the reference; its rank and targets stay
    #[arg(long, value_name = "DIR")]
    init_adapter: Option<PathBuf>,

    #[command(flatten)]
    run: RunArgs,

    /// Training algorithm [default: ppo]
    #[arg(long, value_name = "NAME", value_parser = algorithm())]
    algorithm: Option<Algorithm>,

    /// Prompts per step [default: 32]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Replies per prompt and step; algorithms that compare replies need at least 2 [default: 1]
    #[arg(long, value_name = "N")]
    replies: Option<usize>,

    /// Most tokens of a reply; longer replies are cut off [default: 128]
    #[arg(long, value_name = "N")]
    max_reply_tokens: Option<usize>,

    /// Most tokens of a prompt with its chat template; longer prompts are left out [default: 128]
    #[arg(long, value_name = "N")]
    max_prompt_tokens: Option<usize>,

    /// Passes over the replies of a step [default: 4]
    #[arg(long, value_name = "N")]
    update_epochs: Option<usize>,

    /// KL coefficient, in reward units; higher stays closer to the reference [default: 0.05]
    #[arg(long, value_name = "NUMBER")]
    kl: Option<f64>,

    /// Time for the run, such as 90s, 10m or 2h; the first step determines how many steps fit
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with_all = ["steps", "epochs"])]
    budget: Option<Duration>,

    /// Steps between two sampled replies that are shown; 0 for none
    #[arg(long, value_name = "N", default_value_t = 5)]
    show_every: u64,
}

/// Accepts the names in [`ALGORITHMS`], which the help page lists with their descriptions.
fn algorithm() -> impl TypedValueParser<Value = Algorithm> {
    let names = ALGORITHMS.iter().map(|spec| PossibleValue::new(spec.name).help(spec.description));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Algorithm>())
}

/// `90s`, `10m` or `2h`; a number alone is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3600.0),
        _ => (text, 1.0),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * unit);
    seconds
        .filter(|&seconds| seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a time such as 90s, 10m or 2h".to_owned())
}

impl AlignArgs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<(), CliError> {
        if self.run.printed(AlignConfig::SAMPLE)? {
            return Ok(());
        }
        self.run.check_init(self.init_adapter.as_deref())?;
        let config = self.settings()?;
        config.validate()?;
        let out = self.run.out()?;
        let file = self.prompts.as_ref().ok_or_else(|| CliError::Usage("--prompts is needed".to_owned()))?;
        let set = |name: &String| Selection::open(name).map(Selection::into_set);
        let sets = self.principles.iter().map(set).collect::<Result<_, _>>()?;
        let guidelines = Guidelines::new(sets);
        let (device, model) = self.model.open(global)?;
        let prompts = AlignPrompts::read(file, chat_format(&model)?, config.rollout.max_prompt_tokens)?;
        let open = |path: &Path| Adapter::open_on(&model, path, self.any_base);
        let init = self.init_adapter.as_deref().map(open).transpose()?;
        // A reward model on another base has its own weights on the device.
        let reward = match (&self.reward, &self.reward_base) {
            (Some(path), Some(base)) => {
                let base = self.model.load(&hub::resolve(base)?, &device, global)?;
                let options = RewardOptions { any_base: self.any_base, ..RewardOptions::default() };
                Some(RewardRole::Apart(Box::new(RewardModel::open(&base, path, &options)?)))
            }
            (Some(path), None) => Some(RewardRole::open(&model, path, self.any_base)?),
            (None, _) => None,
        };
        let align = Align::new(&model, &prompts, &guidelines, out)
            .config(&config)
            .init(init.as_ref())
            .reward(reward)
            .budget(self.budget)
            .resume(self.run.resume);
        let screen = Screen::new(global).show_every(self.show_every);
        match self.run.watched(screen, |control, on_event| align.run(control, on_event))? {
            Outcome::Done(adapter) => {
                note_adapter(global, &adapter, &self.model.model, out);
                Ok(())
            }
            Outcome::Collapsed { sign, step, adapter } => Err(CliError::Check(format!(
                "stopped at step {step}: {sign}; the adapter so far is in {}; check rollouts/ for replies \
                 with high scores, then start a new run with a higher --kl or a lower --lr",
                adapter.display()
            ))),
        }
    }

    /// The settings of the file, overridden by the flags.
    fn settings(&self) -> Result<AlignConfig, CliError> {
        let mut config = match &self.run.config {
            Some(path) => AlignConfig::read(path)?,
            None => AlignConfig::default(),
        };
        self.run.apply(Knobs {
            seed: &mut config.seed,
            epochs: &mut config.epochs,
            steps: &mut config.steps,
            lora: &mut config.lora,
            optimizer: &mut config.optimizer,
            evaluate_every: None,
            checkpoint: &mut config.checkpoint,
            memory: &mut config.memory,
        });
        set(&mut config.algorithm, &self.algorithm);
        set(&mut config.rollout.prompts, &self.batch);
        set(&mut config.rollout.replies, &self.replies);
        set(&mut config.rollout.max_reply_tokens, &self.max_reply_tokens);
        set(&mut config.rollout.max_prompt_tokens, &self.max_prompt_tokens);
        set(&mut config.update.epochs, &self.update_epochs);
        set(&mut config.kl.coefficient, &self.kl);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "m", "-1s", "10d", "inf", "nan"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
