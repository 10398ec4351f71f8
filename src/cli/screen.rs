//! Progress of a training run: a bar, or one line per step if standard error is not a terminal.

use std::io::{IsTerminal, stderr};

use indicatif::ProgressBar;

use super::GlobalArgs;
use super::error::CliError;
use super::interrupt::interruptible;
use parr::train::{
    AlignMetrics, Control, DataSummary, Event, Plan, RolloutSample, RunPlan, Step, StepMetrics,
};

/// Runs `work` under a screen that receives its events, until it ends or ctrl-C.
pub(super) fn watched<T, E: Into<CliError>>(
    mut screen: Screen<'_>,
    work: impl FnOnce(&Control, &mut dyn FnMut(Event<'_>)) -> Result<T, E>,
) -> Result<T, CliError> {
    let done = interruptible(|token| work(&Control::new(token), &mut |event| screen.show(event)));
    screen.clear();
    let done = done.map_err(Into::into);
    if matches!(done, Err(CliError::Interrupted)) {
        screen.global.note("stopped; the state is saved, and --resume continues the run");
    }
    done
}

/// The screen of a training run.
pub(super) struct Screen<'a> {
    global: &'a GlobalArgs,
    bar: Option<ProgressBar>,
    /// Total number of steps; 0 if it is not known.
    steps: u64,
    /// Steps between two sampled replies that are shown; 0 for none.
    show_every: u64,
}

impl<'a> Screen<'a> {
    /// A screen that shows no sampled replies.
    pub fn new(global: &'a GlobalArgs) -> Self {
        Screen { global, bar: None, steps: 0, show_every: 0 }
    }

    /// The same with a sampled reply of the first step, and of each step that `every` divides.
    pub fn show_every(self, every: u64) -> Self {
        Screen { show_every: every, ..self }
    }

    /// Removes the bar.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Shows an event of a run that trains, or the plan of one that does not.
    pub fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Planned(plan) => self.plan(plan),
            Event::Resumed { step } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(step);
                    // The remaining time is estimated from the steps of this process.
                    bar.reset_eta();
                }
                self.say(format!("resumed after step {step}"));
            }
            Event::Reopened { reason } => {
                self.say(format!("{reason} (done: the run resumes from its last saved state)"));
            }
            Event::Unclear { principles } => {
                for principle in principles {
                    self.say(unclear(principle));
                }
            }
            Event::Measured(metrics) => {
                let figures = figures(&metrics.objective);
                self.say(format!("before the first step: held-out loss {:.4}{figures}", metrics.loss));
            }
            Event::Scheduled { steps, seconds } => {
                self.say(format!("a step takes {seconds:.1} s, so {steps} steps fit the budget"));
                self.expect(steps);
            }
            Event::Rollout { step, samples } => {
                let due = self.show_every > 0 && (step == 1 || step.is_multiple_of(self.show_every));
                if let Some(sample) = samples.first().filter(|_| due) {
                    self.say(reply_text(step, sample));
                }
            }
            Event::Step(Step::Trained(metrics)) => self.step(metrics),
            Event::Step(Step::Aligned(metrics)) => {
                self.advance(metrics.step, aligned_text(metrics), metrics.step_seconds);
            }
            Event::Saved(_) | Event::Counted(_) => {}
            // Events of a newer library.
            _ => {}
        }
    }

    fn plan(&mut self, plan: &RunPlan) {
        for damage in &plan.damaged {
            self.global.note(format!("passed over: {damage}"));
        }
        if let Some(text) = data_text(plan) {
            self.global.note(text);
        }
        if let Some(memory) = &plan.memory {
            self.begin(plan, memory);
        }
    }

    fn begin(&mut self, plan: &RunPlan, memory: &Plan) {
        let steps = plan.steps.map_or("steps within --budget".to_owned(), |steps| format!("{steps} steps"));
        self.global.note(format!(
            "{} trainable values, {steps}; passes of up to {} tokens, {:.0} MB of device memory",
            plan.parameters,
            memory.shape.rows,
            memory.peak_bytes() as f64 / 1e6
        ));
        if stderr().is_terminal() {
            self.bar = Some(self.global.bar(None, "{bar:30} step {pos}/{len}, {msg}, {eta} left"));
        }
        self.expect(plan.steps.unwrap_or(0));
    }

    fn expect(&mut self, steps: u64) {
        self.steps = steps;
        if let Some(bar) = self.bar.as_ref().filter(|_| steps > 0) {
            bar.set_length(steps);
        }
    }

    fn step(&mut self, metrics: &StepMetrics) {
        let StepMetrics { step, loss, grad_norm, tokens_per_second, step_seconds, .. } = metrics;
        let mut text = format!("loss {loss:.4}, {tokens_per_second:.1} tok/s");
        if self.bar.is_none() {
            text.push_str(&format!(", gradient norm {grad_norm:.3}"));
        }
        self.advance(*step, text, *step_seconds);
        if let Some(loss) = metrics.eval_loss {
            let apart =
                metrics.logprob_distance.map(|apart| format!("; generation {apart:.1e} from training"));
            let (figures, apart) = (figures(&metrics.held_out), apart.unwrap_or_default());
            self.say(format!("after step {step}: held-out loss {loss:.4}{figures}{apart}"));
        }
    }

    fn advance(&self, step: u64, text: String, seconds: f64) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            bar.set_position(step);
            return;
        }
        let left = self.steps.saturating_sub(step) as f64 * seconds;
        let steps = if self.steps > 0 { format!("/{}", self.steps) } else { String::new() };
        self.say(format!("step {step}{steps}: {text}, {left:.0} s left"));
    }

    fn say(&self, text: String) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.global.note(text)),
            None => self.global.note(text),
        }
    }
}

/// The data of a run as text. None for runs whose result has these figures.
fn data_text(plan: &RunPlan) -> Option<String> {
    let RunPlan { count, held_out, left_out, adapters, .. } = plan;
    match &plan.data {
        DataSummary::Rows(report) => Some(format!("{report}; {count} to train on, {held_out} held out")),
        DataSummary::Pairs(report) => {
            let long = if *left_out > 0 { format!(", {left_out} too long") } else { String::new() };
            Some(format!("first pass: {report}; {held_out} held-out pairs{long}"))
        }
        DataSummary::Labelled { replies, labels } => {
            Some(format!("{replies} replies with {labels} labels; {held_out} replies held out"))
        }
        DataSummary::Prompts { replies } => {
            let long =
                if *left_out > 0 { format!(" ({left_out} too long, left out)") } else { String::new() };
            let adapters =
                if *adapters == 1 { "1 adapter".to_owned() } else { format!("{adapters} adapters") };
            Some(format!("{count} prompts{long}, {replies} replies a step; {adapters} on one base"))
        }
        DataSummary::InContext { answered, rules, exemplars, tokens, left_out_rules, left_out_exemplars } => {
            let mut text =
                format!("{count} prompts; {rules} rules and {exemplars} exemplars in {tokens} tokens");
            if left_out_rules + left_out_exemplars > 0 {
                text.push_str(&format!(
                    "; {left_out_rules} rules and {left_out_exemplars} exemplars left out"
                ));
            }
            if *answered > 0 {
                text.push_str(&format!("; resumed after {answered} prompts"));
            }
            Some(text)
        }
        _ => None,
    }
}

/// Accuracy on held-out pairs or labels, if the objective has any.
fn figures(held_out: &[(String, f64)]) -> String {
    let accuracy =
        held_out.iter().find(|(name, _)| name == "eval/accuracy" || name == "eval/rewards/accuracies");
    accuracy.map(|(_, part)| format!(", {:.1}% right", 100.0 * part)).unwrap_or_default()
}

/// A step of reinforcement learning in a line: its figures, and the duration of its parts.
fn aligned_text(metrics: &AlignMetrics) -> String {
    let AlignMetrics { rollout, entropy, sample_seconds, reward_seconds, .. } = metrics;
    let AlignMetrics { read_seconds, update_seconds, .. } = metrics;
    format!(
        "reward {:.3}, KL {:.2}, entropy {entropy:.2}, {:.0} tokens a reply; sampled in {sample_seconds:.1} s, \
         scored in {reward_seconds:.1} s, read in {read_seconds:.1} s, updated in {update_seconds:.1} s",
        rollout.scores, rollout.kl, rollout.mean_length
    )
}

/// The warning that the reward model hardly reads a principle.
pub(super) fn unclear(principle: &str) -> String {
    format!(
        "warning: the reward model hardly reads \"{principle}\": its scores are near 0 for replies of all kinds; \
         try other words"
    )
}

/// A sampled reply as text.
fn reply_text(step: u64, sample: &RolloutSample) -> String {
    let RolloutSample { prompt, principles, reply, reward, shares, parts: odds, .. } = sample;
    let parts: Vec<String> = shares.iter().map(|(name, share)| format!("{name} {share:.3}")).collect();
    let principle = |(at, id): (usize, &String)| match odds.get(at) {
        Some(odds) => format!("{id} {odds:+.1}"),
        None => id.clone(),
    };
    let principles: Vec<String> = principles.iter().enumerate().map(principle).collect();
    let principles = if principles.is_empty() { "none".to_owned() } else { principles.join(", ") };
    format!(
        "--- a reply of step {step}, reward {reward:.3} ({})\n  prompt: {}\n  principles: {principles}\n  reply: {}\n---",
        parts.join(", "),
        prompt.trim(),
        reply.trim()
    )
}
