//! What a run does: the settings of a request, and the training.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::run::Run;
use crate::Error;
use crate::adapter::RUN_FOLDER;
use crate::align::{Align, AlignConfig, AlignPrompts, Guidelines, Outcome, RewardRole};
use crate::chat::ChatError;
use crate::preferences::Prompt;
use crate::principles::PrincipleSet;
use crate::reward::{RewardConfig, RewardData, RewardTraining};
use crate::serve::openai::errors::ApiError;
use crate::serve::openai::fields::Fields;
use crate::serve::state::{Served, ServerState};
use crate::settings::{Auto, Settings};
use crate::train::{Control, Event, Sft, SftConfig};

/// Prompts for runs that bring none.
const PROMPTS: &str = include_str!("../../../examples/prompts.jsonl");
/// Minutes of a run that sets neither minutes nor steps.
const MINUTES: f64 = 10.0;
/// The longest run.
const MOST_MINUTES: f64 = 60.0 * 24.0 * 30.0;
/// The longest name of a run, which is also that of its adapter and its folder.
const LONGEST_NAME: usize = 64;

/// A run before it begins.
pub(super) struct Work {
    served: Arc<Served>,
    any_base: bool,
    /// Ends the run early.
    limit: Option<Duration>,
    task: Task,
}

enum Task {
    Align {
        config: Box<AlignConfig>,
        prompts: Option<PathBuf>,
        set: Box<PrincipleSet>,
        reward: PathBuf,
        /// Whether the number of steps depends on the time.
        by_time: bool,
    },
    Sft {
        config: Box<SftConfig>,
        data: PathBuf,
    },
    Reward {
        config: Box<RewardConfig>,
        data: PathBuf,
        set: Option<Box<PrincipleSet>>,
    },
}

/// The result of a run.
pub(super) struct Done {
    /// Name of the adapter that was loaded.
    pub adapter: Option<String>,
    /// What a person should know.
    pub note: Option<String>,
}

/// `Ok` if `name` can be the name of a folder and of an adapter.
pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let first = name.chars().next().is_some_and(|first| first.is_ascii_alphanumeric());
    if first && name.len() <= LONGEST_NAME && name.chars().all(letter) {
        return Ok(());
    }
    let message = format!(
        "the name of a run has 1 to {LONGEST_NAME} letters, digits, dots, hyphens and underscores, and begins with a \
         letter or a digit"
    );
    Err(ApiError::field("name", message))
}

/// The settings of a request as those of a run.
fn settings<S: Settings>(table: &Map<String, Value>) -> Result<S, ApiError> {
    let named = |error: ApiError| error.param("settings");
    let text = toml::to_string(table).map_err(|error| {
        ApiError::field("settings", format!("`settings` is no table of settings: {error}"))
    })?;
    S::parse(&text, Path::new("settings")).map_err(|error| named(error.into()))
}

/// The settings of an alignment. Values that the request leaves out are those of [`AlignConfig::quick`], but the number
/// of steps, which the time gives.
fn align_settings(mut table: Map<String, Value>, steps: Option<usize>) -> Result<AlignConfig, ApiError> {
    table.entry("preset").or_insert_with(|| "quick".into());
    let by_time = !table.contains_key("steps");
    let mut config: AlignConfig = settings(&table)?;
    if let Some(steps) = steps {
        config.steps = Auto::Fixed(steps);
    } else if by_time {
        config.steps = Auto::Auto;
    }
    Ok(config)
}

fn checked<S: Settings>(config: S) -> Result<S, ApiError> {
    config.validate().map_err(|error| ApiError::from(error).param("settings"))?;
    Ok(config)
}

impl Work {
    /// Reads a request, and returns the kind of the run as well. Everything that can be checked without the GPU is
    /// checked here. In `request`, the principles become the text that they are now: a resumed run uses the same.
    pub fn read(
        state: &ServerState,
        request: &mut Map<String, Value>,
    ) -> Result<(&'static str, Work), ApiError> {
        let fields = &mut Fields::new(Value::Object(request.clone()))?;
        let served = state.served()?;
        let kind: String = fields.need("kind")?;
        let table: Map<String, Value> = fields.take("settings")?.unwrap_or_default();
        let minutes: Option<f64> = fields.take("minutes")?;
        if let Some(minutes) = minutes.filter(|minutes| !(*minutes > 0.0 && *minutes <= MOST_MINUTES)) {
            let message = format!("`minutes` is {minutes}, expected more than 0 and at most {MOST_MINUTES}");
            return Err(ApiError::field("minutes", message));
        }
        let steps = fields.count("steps", 1..=usize::MAX)?;
        let data: Option<PathBuf> = fields.take("data")?;
        let principles: Option<String> = fields.take("principles")?;
        let set = principles.map(|given| state.principles.find(&given)).transpose()?.map(Box::new);
        if let Some(set) = &set {
            request.insert("principles".to_owned(), set.to_toml().into());
        }
        let needed = |data: Option<PathBuf>| {
            let data =
                data.ok_or_else(|| ApiError::field("data", "`data` is missing: a file in JSON Lines"))?;
            if data.is_file() {
                return Ok(data);
            }
            Err(ApiError::field("data", format!("there is no file {}", data.display())))
        };
        let (kind, task) = match kind.as_str() {
            "align" => {
                let config = align_settings(table, steps)?;
                let prompts = data.map(|data| needed(Some(data))).transpose()?;
                let reward: Option<String> = fields.take("reward")?;
                let reward = served.rewards.path(reward.as_deref())?;
                let set = set.ok_or_else(|| ApiError::field("principles", "`principles` is missing"))?;
                let by_time = config.steps == Auto::Auto;
                ("align", Task::Align { config: Box::new(checked(config)?), prompts, set, reward, by_time })
            }
            "sft" => {
                let mut config: SftConfig = settings(&table)?;
                if let Some(steps) = steps {
                    config.steps = Auto::Fixed(steps);
                }
                ("sft", Task::Sft { config: Box::new(checked(config)?), data: needed(data)? })
            }
            "reward" => {
                let mut config: RewardConfig = settings(&table)?;
                if let Some(steps) = steps {
                    config.steps = Auto::Fixed(steps);
                }
                ("reward", Task::Reward { config: Box::new(checked(config)?), data: needed(data)?, set })
            }
            other => {
                let message = format!("`kind` is {other:?}, expected align, sft or reward");
                return Err(ApiError::field("kind", message));
            }
        };
        let needs_time = matches!(task, Task::Align { by_time: true, .. });
        let minutes = minutes.or(needs_time.then_some(MINUTES));
        let limit = minutes.map(|minutes| Duration::from_secs_f64(60.0 * minutes));
        Ok((kind, Work { served, any_base: state.options.any_base, limit, task }))
    }

    /// Trains, and loads the adapter.
    pub fn run(self, run: &Run, on_event: &mut dyn FnMut(Event<'_>)) -> Result<Done, Error> {
        let model = &self.served.model;
        let (out, any_base) = (&run.folder, self.any_base);
        let (control, resume) = (run.control(), run.resumes());
        let timed = self.timed(&control);
        match &self.task {
            Task::Align { config, prompts, set, reward, by_time } => {
                let chat = model.chat_format().ok_or(ChatError::NoTemplate)?;
                let longest = config.rollout.max_prompt_tokens;
                let prompts = match prompts {
                    Some(path) => AlignPrompts::read(path, chat, longest)?,
                    None => AlignPrompts::of_prompts(shipped_prompts(), chat, longest)?,
                };
                let guidelines = Guidelines::new(vec![(**set).clone()]);
                let reward = RewardRole::open(model, reward, any_base)?;
                let budget = self.limit.filter(|_| *by_time);
                let control = if *by_time { &control } else { &timed };
                let align = Align::new(model, &prompts, &guidelines, out)
                    .config(config)
                    .reward(reward)
                    .budget(budget)
                    .resume(resume);
                let note = match align.run(control, on_event)? {
                    Outcome::Done(_) => None,
                    Outcome::Collapsed { sign, step, .. } => Some(format!(
                        "stopped at step {step}: {sign}; the adapter is as it was before. Set a higher KL coefficient, \
                         or a lower learning rate"
                    )),
                };
                Ok(self.load(run, note))
            }
            Task::Sft { config, data } => {
                Sft::new(model, data, out).config(config).resume(resume).run(&timed, on_event)?;
                Ok(self.load(run, None))
            }
            Task::Reward { config, data, set } => {
                let data = match set {
                    Some(set) => RewardData::judged_under(std::slice::from_ref(data), (**set).clone())?,
                    None => RewardData::preferences(data)?,
                };
                let training = RewardTraining::new(model, &data, out).config(config).resume(resume);
                self.served.rewards.add(&training.run(&timed, on_event)?);
                Ok(Done { adapter: None, note: None })
            }
        }
    }

    /// A control that ends the run after its time, as if the last step were done.
    fn timed(&self, control: &Control) -> Control {
        let Some(limit) = self.limit else { return control.clone() };
        let (begun, finishing) = (Instant::now(), control.clone());
        control.clone().with_gate(move |_| {
            if begun.elapsed() >= limit {
                finishing.finish();
            }
        })
    }

    /// Loads the adapter of a finished run under its name.
    fn load(&self, run: &Run, note: Option<String>) -> Done {
        debug_assert!(run.folder.join(RUN_FOLDER).exists());
        match self.served.adapters.load(&run.name, &run.folder) {
            Ok(_) => Done { adapter: Some(run.name.clone()), note },
            Err(error) => {
                let reason = format!("the adapter was not loaded: {}", error.message);
                let note = note.map_or(reason.clone(), |note| format!("{note}; {reason}"));
                Done { adapter: None, note: Some(note) }
            }
        }
    }
}

/// The prompts that come with the program.
fn shipped_prompts() -> Vec<Prompt> {
    let lines = PROMPTS.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).expect("the prompts that come with the program are sound"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_of_a_request_are_those_of_a_file() {
        let table = json!({ "rollout": { "prompts": 4 }, "seed": 7, "algorithm": "grpo" });
        let config: AlignConfig = settings(table.as_object().unwrap()).unwrap();
        assert_eq!((config.rollout.prompts, config.seed), (4, 7));
        let wrong = json!({ "rolout": {} });
        let error = settings::<AlignConfig>(wrong.as_object().unwrap()).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("settings"));
        assert!(error.message.contains("rolout"), "{}", error.message);
        assert_eq!(error.status.as_u16(), 400);
    }

    #[test]
    fn an_alignment_starts_from_the_quick_settings() {
        let read = |table: Value, steps| align_settings(table.as_object().unwrap().clone(), steps).unwrap();
        let quick = AlignConfig { steps: Auto::Auto, ..AlignConfig::quick() };
        assert_eq!(read(json!({}), None), quick);
        assert_eq!(read(json!({}), Some(3)), AlignConfig { steps: Auto::Fixed(3), ..quick.clone() });
        assert_eq!(read(json!({ "steps": 9 }), None), AlignConfig { steps: Auto::Fixed(9), ..quick.clone() });
        assert_eq!(read(json!({ "rollout": { "prompts": 2 } }), None).rollout.replies, 4);
        assert_eq!(
            read(json!({ "preset": "small", "steps": 9 }), None).rollout,
            AlignConfig::default().rollout
        );
    }

    #[test]
    fn names_are_no_paths() {
        for name in ["", "..", ".x", "a/b", "a b", "-x", "é"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("harbour-2.1_b").is_ok());
    }

    #[test]
    fn the_shipped_prompts_are_sound() {
        assert!(shipped_prompts().len() > 50);
    }
}
