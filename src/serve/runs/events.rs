//! What happens in a run, for clients that come at any time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::run::Status;
use crate::train::{RolloutSample, Step};

/// The kinds of events.
pub(super) const KINDS: [&str; 4] = ["status", "step", "sample", "note"];

/// Replies of a step that are shown.
const SAMPLES: usize = 4;

/// The events of a run. The first has the id 1.
pub(super) struct Events {
    all: Mutex<Vec<(&'static str, Value)>>,
    count: watch::Sender<usize>,
}

impl Events {
    /// The events of a run so far.
    pub fn new(all: Vec<(&'static str, Value)>) -> Events {
        let count = all.len();
        Events { all: Mutex::new(all), count: watch::channel(count).0 }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(&'static str, Value)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event and wakes those that wait.
    pub fn add(&self, name: &'static str, value: Value) {
        let count = {
            let mut all = self.lock();
            all.push((name, value));
            all.len()
        };
        self.count.send_replace(count);
    }

    /// Turns earlier ends into notes, because a run that resumes has not ended. Their ids stay.
    pub fn reopen(&self) {
        for (name, value) in self.lock().iter_mut() {
            let ended = Status::of(value).filter(|status| *name == "status" && status.is_final());
            if let Some(status) = ended {
                let message = format!("{} at step {}, and resumed", status.name(), value["step"]);
                (*name, *value) = ("note", json!({ "message": message }));
            }
        }
    }

    /// Changes whenever there is another event.
    pub fn changes(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Id, name and value of the events after the one with this id; all for 0.
    pub fn after(&self, id: usize) -> Vec<(usize, &'static str, Value)> {
        let all = self.lock();
        let new = all.iter().enumerate().skip(id);
        new.map(|(place, (name, value))| (place + 1, *name, value.clone())).collect()
    }

    /// The values of all events with this name.
    pub fn named(&self, wanted: &str) -> Vec<Value> {
        let all = self.lock();
        all.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| value.clone()).collect()
    }
}

/// A number as JSON has it; null for NaN and infinity.
fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// The event of a step.
pub(super) fn step(step: &Step<'_>, steps: Option<u64>) -> Value {
    let all: Map<String, Value> =
        step.metrics().tags().into_iter().map(|(name, value)| (name.to_owned(), number(value))).collect();
    let mut value = json!({
        "step": step.number(), "steps": steps, "reward": null, "kl": null, "entropy": null, "length": null,
        "loss": null, "learning_rate": null, "seconds": number(step.seconds()),
    });
    match step {
        Step::Aligned(metrics) => {
            value["reward"] = number(metrics.rollout.scores);
            value["kl"] = number(metrics.rollout.kl);
            value["entropy"] = number(metrics.entropy);
            value["length"] = number(metrics.rollout.mean_length);
            value["learning_rate"] = number(metrics.learning_rate);
        }
        Step::Trained(metrics) => {
            value["loss"] = number(metrics.loss);
            value["learning_rate"] = number(metrics.learning_rate);
        }
    }
    value["metrics"] = all.into();
    value
}

/// The events of some replies of a step, spread over its prompts.
pub(super) fn samples(step: u64, samples: &[RolloutSample]) -> Vec<Value> {
    let each = samples.len().div_ceil(SAMPLES).max(1);
    let some = samples.iter().step_by(each);
    some.map(|sample| {
        json!({
            "step": step,
            "prompt": sample.prompt,
            "reply": sample.reply,
            "reward": number(sample.reward),
            "by_principle": sample.parts,
            "principles": sample.principles,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_continue_where_they_stopped() {
        let events = Events::new(Vec::new());
        let changes = events.changes();
        for number in 0..3 {
            events.add(if number == 1 { "step" } else { "status" }, json!(number));
        }
        assert!(changes.has_changed().unwrap());
        assert_eq!(events.after(0).len(), 3);
        assert_eq!(events.after(1), [(2, "step", json!(1)), (3, "status", json!(2))]);
        assert_eq!((events.after(3), events.after(99)), (vec![], vec![]));
        assert_eq!(events.named("step"), [json!(1)]);
    }

    #[test]
    fn a_run_that_resumes_has_not_ended() {
        let status = |status: &str| ("status", json!({ "status": status, "step": 2 }));
        let events = Events::new(vec![status("running"), status("cancelled")]);
        events.reopen();
        let note = ("note", json!({ "message": "cancelled at step 2, and resumed" }));
        let (first, second) = (status("running"), note);
        assert_eq!(events.after(0), [(1, first.0, first.1), (2, second.0, second.1)]);
    }

    #[test]
    fn numbers_that_json_lacks_are_null() {
        assert_eq!(number(f64::NAN), Value::Null);
        assert_eq!(number(0.5), json!(0.5));
    }
}
