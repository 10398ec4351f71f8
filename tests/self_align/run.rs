//! Runs: on a tiny model that writes nonsense, and on SmolLM2.

use std::fs;
use std::path::{Path, PathBuf};

use parr::ErrorKind;
use parr::generate::{CancelToken, Generator, GeneratorOptions, Request};
use parr::gpu::DeviceOptions;
use parr::model::{LoadOptions, Model};
use parr::preferences::{Prompts, read_records};
use parr::self_align::{
    InContext, SelfAlign, SelfAlignConfig, SelfAlignError, SelfAlignReport, SelfAlignSample, Unfinished,
    Wanted,
};
use parr::settings::Settings;
use parr::settings::{Auto, Share};
use parr::train::{Control, Event, SftConfig};

use super::shipped;
use crate::reward::tiny_that_reads;
use crate::support;

/// A model of random weights with positions for the prompt.
fn tiny(folder: &Path) -> PathBuf {
    let path = tiny_that_reads(folder);
    let config = path.join("config.json");
    let text = fs::read_to_string(&config).expect("just written");
    let text = text.replace("\"max_position_embeddings\":512", "\"max_position_embeddings\":2048");
    fs::write(&config, text).expect("a scratch directory is writable");
    path
}

fn load(path: &Path) -> Model {
    let device = support::gpu::open(&DeviceOptions::default());
    Model::load(&device, path, &LoadOptions::default(), &mut |_| {}).expect("a sound checkpoint")
}

fn prompts(path: &Path, texts: &[&str]) {
    let line = |(number, text): (usize, &&str)| {
        serde_json::json!({ "id": format!("p{number}"), "prompt": text }).to_string() + "\n"
    };
    fs::write(path, texts.iter().enumerate().map(line).collect::<String>()).expect("a scratch directory");
}

fn sample(run: &SelfAlign<'_>) -> Result<SelfAlignReport, SelfAlignError> {
    run.sample(&Control::default(), &mut |_| {})
}

fn remains(out: &Path) -> [Vec<u8>; 3] {
    [SelfAlign::RECORDS, SelfAlign::ROWS, SelfAlign::REPORT]
        .map(|name| fs::read(out.join(name)).unwrap_or_else(|error| panic!("{name}: {error}")))
}

#[test]
fn the_prefix_is_computed_once_for_all_prompts() {
    let _turn = support::gpu::turn();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&tiny(folder.path()));
    let (rules, exemplars) = shipped();
    let tokenizer = model.tokenizer().expect("it reads");
    let wanted = Wanted { rules: Auto::Fixed(2), exemplars: Auto::Fixed(1), thoughts: true };
    let prompt = InContext::fit(tokenizer, &rules, &exemplars, wanted, 1900).expect("there is room");
    let request = |text: &str| Request {
        prompt: prompt.encode(tokenizer, text).expect("encodes"),
        max_tokens: 3,
        ..Request::default()
    };
    // More than there are slots, so that some wait for a slot that others leave.
    let requests: Vec<Request> =
        ["Tea?", "Who is it?", "Name a river.", "Why?", "Count."].map(request).into();
    let options = GeneratorOptions { slots: 2, context: 2000, ..GeneratorOptions::default() };
    let mut generator = Generator::new(&model, options).expect("it fits");
    let replies = generator.generate(&requests, &CancelToken::new(), &mut |_| {}).expect("it runs");
    assert_eq!(replies[0].reused_tokens, 0);
    for reply in &replies[1..] {
        assert!(reply.reused_tokens >= prompt.prefix().len(), "{} reused", reply.reused_tokens);
    }
}

#[test]
fn a_run_that_was_stopped_ends_as_one_that_was_not() {
    let _turn = support::gpu::turn();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&tiny(folder.path()));
    let path = folder.path().join("prompts.jsonl");
    let long = "Is it so? ".repeat(40);
    let texts = ["Tea?", "Who is it?", "Name a river.", &long, "Why?", "Count.", "Where?"];
    prompts(&path, &texts);
    let mut config = SelfAlignConfig {
        n_rules: Auto::Fixed(2),
        n_exemplars: Auto::Fixed(1),
        prompt_tokens: 60,
        batch: 2,
        chunk: 3,
        ..SelfAlignConfig::default()
    };
    config.sampling.max_tokens = 5;
    let (whole, stopped) = (folder.path().join("whole"), folder.path().join("stopped"));
    let (rules, exemplars) = &shipped();
    let read = Prompts::read(&path).expect("sound prompts");
    let run = |out: &Path, resume| {
        SelfAlign::new(&model, &read, (rules, exemplars), out).config(&config).resume(resume)
    };
    let report = sample(&run(&whole, false)).expect("it runs");
    assert_eq!((report.prompts, report.kept, report.dropped["long_prompt"]), (7, 0, 1));
    assert_eq!(report.dropped["no_opener"], 6, "random weights follow no exemplar: {report}");
    assert_eq!((report.left_out_rules, report.exemplars, report.left_out_exemplars), (14, 1, 5));

    // Stopped within the second chunk, whose records are not written then.
    let (mut seen, mut planned, control) = (0, None, Control::default());
    let done = run(&stopped, false).sample(&control, &mut |event| match event {
        Event::Planned(plan) => planned = Some((plan.count, plan.steps, plan.memory.is_none())),
        Event::Counted(count) => {
            seen = count.done;
            if count.done == 3 {
                control.cancel.cancel();
            }
        }
        _ => {}
    });
    assert_eq!((done.expect_err("it was cancelled").kind(), seen), (ErrorKind::Cancelled, 3));
    assert_eq!(planned, Some((7, None, true)), "nothing is trained");
    // Killed while the next was being written: one record of it, and half of another.
    let records = fs::read_to_string(whole.join(SelfAlign::RECORDS)).expect("written");
    let fourth = records.lines().nth(3).expect("seven records");
    let mut torn = fs::read_to_string(stopped.join(SelfAlign::RECORDS)).expect("written");
    assert_eq!(torn.lines().count(), 3);
    torn.push_str(&format!("{fourth}\n{{\"prompt\":{{\"id\":\"p4"));
    fs::write(stopped.join(SelfAlign::RECORDS), torn).expect("a scratch directory is writable");

    let error = sample(&run(&stopped, false)).expect_err("there are answers").to_string();
    assert!(error.contains("holds answers to 4 prompts: resume"), "{error}");
    sample(&run(&stopped, true)).expect("it runs");
    assert!(remains(&stopped) == remains(&whole));

    let other = SelfAlignConfig { seed: 1, ..config.clone() };
    let error = sample(&run(&stopped, true).config(&other)).expect_err("another seed").to_string();
    assert!(error.contains("line 1 belongs to another run: the settings"), "{error}");
    prompts(&path, &["Tea?", "Who was it?"]);
    let edited = Prompts::read(&path).expect("sound prompts");
    let other = SelfAlign::new(&model, &edited, (rules, exemplars), &stopped).config(&config).resume(true);
    let error = sample(&other).expect_err("another prompt").to_string();
    assert!(error.contains("line 2 belongs to another run: the prompt"), "{error}");
    let error = run(&stopped, true).distill(&Control::default(), &mut |_| {});
    let error = error.expect_err("no answer was kept").to_string();
    assert!(error.starts_with("no answer passed the filters"), "{error}");
}

#[test]
fn the_sample_says_what_the_defaults_are() {
    let said = SelfAlignConfig::parse(SelfAlignConfig::SAMPLE, Path::new("self-align.toml"));
    assert_eq!(said.expect("the sample parses"), SelfAlignConfig::default());
    let mut faulty = SelfAlignConfig { batch: 0, n_exemplars: Auto::Fixed(0), ..SelfAlignConfig::default() };
    faulty.sampling.max_tokens = 0;
    let message = faulty.validate().expect_err("three faults").to_string();
    for setting in ["batch is 0", "n_exemplars is 0", "sampling.max_tokens is 0"] {
        assert!(message.contains(setting), "{message}");
    }
}

/// SmolLM2 follows the exemplars for an easy question, and learns from its answers.
#[test]
fn smollm2_answers_under_rules_and_learns_it() {
    let _turn = support::gpu::turn();
    let model = load(&support::model::smollm2());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let (path, out) = (folder.path().join("prompts.jsonl"), folder.path().join("run"));
    prompts(&path, &["Why is the sky blue?", "What is a river?", "How do I boil an egg?", "Who was Mozart?"]);
    let mut config = SelfAlignConfig {
        n_rules: Auto::Fixed(3),
        n_exemplars: Auto::Fixed(2),
        prompt_tokens: 32,
        batch: 4,
        ..SelfAlignConfig::default()
    };
    // The likeliest answers: what is drawn by chance, a model of this size often spoils.
    config.sampling.temperature = 0.0;
    config.sampling.max_tokens = 112;
    config.filter.unfinished = Unfinished::Cut;
    config.distill = SftConfig { steps: Auto::Fixed(1), ..SftConfig::default() };
    config.distill.lora.rank = 4;
    config.distill.data.max_tokens = 64;
    config.distill.evaluation.held_out = Share::Count(0);
    let (rules, exemplars) = &shipped();
    let read = Prompts::read(&path).expect("sound prompts");
    let run = SelfAlign::new(&model, &read, (rules, exemplars), &out).config(&config);
    let report = sample(&run).expect("it runs");
    let samples: Vec<SelfAlignSample> = read_records(&out.join(SelfAlign::RECORDS)).expect("sound records");
    assert!(report.kept > 0, "{report}\n{samples:#?}");
    for kept in samples.iter().filter(|sample| sample.reply.is_some()) {
        assert!(kept.thoughts.as_ref().is_some_and(|thoughts| !thoughts.is_empty()), "{kept:?}");
    }
    let rows = fs::read_to_string(out.join(SelfAlign::ROWS)).expect("written");
    assert_eq!(rows.lines().count(), report.kept);
    assert!(!rows.contains("rules matter") && !rows.contains("Assistant"), "{rows}");

    let adapter = run.distill(&Control::default(), &mut |_| {}).expect("it trains");
    assert!(adapter.join("adapter_model.safetensors").is_file());
}
