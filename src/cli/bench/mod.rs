//! `parr bench`: speed and memory of a model on this device, and time by kernel.

mod measure;
mod shape;
mod train;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::GlobalArgs;
use super::error::CliError;
use super::open::{AdapterArgs, ModelArgs};
use super::output::write_row;
use super::table::Table;
use super::terminal;
use measure::{Bench, DECODE_PROMPT_TOKENS, Decode, KernelShare, Prefill};
use parr::conformance;
use parr::generate::{Generator, GeneratorOptions};
use parr::hub;
use parr::model::{Model, Product};
use parr::ops::KvFormat;
use parr::quant::Quant;
use shape::Shape;
use train::{Train, TrainShape, train};

const LONG_ABOUT: &str = "\
Measures speed and memory on this device: prefill (reading a prompt), decode
(writing replies) with one and with many sequences, and time by kernel.

Each figure is the median of --repeats runs, after one warm-up run. GFLOP/s
counts only the matrix products with weights. Weight GB/s is the model's bytes
times steps per second, to compare with the GPU's memory bandwidth.

`start to first token` is the time from the start of the program to the first
token of a 16-token prompt. It includes opening the device and loading the
model.

--train also measures an AdamW step on a LoRA adapter of all linear layers.
Every token of the --train-batch sequences is a target. Activations are kept as
far as --memory allows.";

const EXAMPLES: &str = "\
Examples:
  parr bench
  parr bench --json > bench.json
  parr bench --random 1b --quant q4_0          random weights, as Llama-3.2-1B
  parr bench --kernels tiled --decode 1 --prefill 512
  parr bench --adapter runs/aligned            with a LoRA adapter
  parr bench --train --train-batch 4x256 --rank 16 --memory 1000

Shapes of --random: 135m, 360m (SmolLM2), 1b, 3b (Llama-3.2), 8b (Llama-3.1).";

/// Measure speed, memory and time by kernel
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct BenchArgs {
    /// Model, the same as --model
    #[arg(value_name = "MODEL", conflicts_with_all = ["model", "random"])]
    positional: Option<String>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// Use random weights in the shape of a known model, in the format --quant (default q4_0)
    #[arg(long, value_name = "SHAPE", conflicts_with = "model", value_parser = shape::shape)]
    random: Option<Shape>,

    /// Prompt lengths in tokens
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "128,512")]
    prefill: Vec<usize>,

    /// Numbers of sequences decoded at the same time
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,8,16")]
    decode: Vec<usize>,

    /// Tokens decoded per sequence
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=MOST_TOKENS as i64))]
    steps: u32,

    /// Runs per measurement; the median is reported
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    repeats: u16,

    /// Also measure a training step
    #[arg(long)]
    train: bool,

    /// Sequences per training step, and tokens per sequence
    #[arg(long, value_name = "NxTOKENS", default_value = "4x256", value_parser = batch, requires = "train")]
    train_batch: (usize, usize),

    /// Rank of the trained adapter
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024), requires = "train")]
    rank: u16,

    /// Most device memory for training, in MB [default: the device's memory]
    #[arg(long, value_name = "MB", requires = "train")]
    memory: Option<u64>,

    /// Number format of the key/value cache
    #[arg(long, value_name = "f16|f32", default_value = "f16", value_parser = super::open::kv_format)]
    kv: KvFormat,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Maximum number of tokens of a sequence.
const MOST_TOKENS: usize = 1 << 20;
/// Maximum number of sequences at the same time.
const MOST_SEQUENCES: usize = 4096;

/// Parses `4x256`: 4 sequences of 256 tokens.
fn batch(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("`{text}` is not sequences x tokens, such as 4x256");
    let (sequences, tokens) = text.split_once('x').ok_or_else(wrong)?;
    match (sequences.parse(), tokens.parse()) {
        (Ok(sequences), Ok(tokens)) if sequences > MOST_SEQUENCES || tokens > MOST_TOKENS => {
            Err(format!("`{text}` is more than {MOST_SEQUENCES}x{MOST_TOKENS}"))
        }
        (Ok(sequences), Ok(tokens)) if sequences > 0 && tokens > 1 => Ok((sequences, tokens)),
        _ => Err(wrong()),
    }
}

/// Source of the weights.
enum Source {
    Random(Shape),
    File(PathBuf),
}

/// Results of a bench.
#[derive(Serialize)]
struct Report {
    parr: &'static str,
    adapter: String,
    backend: String,
    driver: String,
    kernels: &'static str,
    loads: &'static str,
    model: String,
    /// The LoRA adapter on the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    lora: Option<PathBuf>,
    weight_bytes: u64,
    cache_bytes: u64,
    load_seconds: f64,
    start_to_first_token_seconds: f64,
    peak_device_bytes: u64,
    prefill: Vec<Prefill>,
    decode: Vec<Decode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    train: Option<Train>,
    /// What plain kernels reach on the device.
    rates: Rates,
}

/// See [`conformance::Rates`].
#[derive(Serialize)]
struct Rates {
    multiply_add_gflops_per_second: f64,
    read_gb_per_second: f64,
}

impl BenchArgs {
    /// The format of random weights.
    fn random_quant(&self) -> Quant {
        self.model.quant.unwrap_or(Quant::Q4_0)
    }

    pub(super) fn run(mut self, global: &GlobalArgs) -> Result<(), CliError> {
        let start = Instant::now();
        if let Some(name) = self.positional.take() {
            self.model.model = name;
        }
        if self.prefill.contains(&0) || self.decode.contains(&0) {
            return Err(CliError::Usage("--prefill and --decode need numbers of at least 1".to_owned()));
        }
        let most = |counts: &[usize], most| counts.iter().all(|count| *count <= most);
        if !most(&self.prefill, MOST_TOKENS) || !most(&self.decode, MOST_SEQUENCES) {
            return Err(CliError::Usage(format!(
                "--prefill takes at most {MOST_TOKENS} tokens, --decode at most {MOST_SEQUENCES} sequences"
            )));
        }
        let source = match self.random.take() {
            Some(shape) => Source::Random(shape),
            None => Source::File(hub::resolve(&self.model.model)?),
        };
        let device = global.open_device()?;
        let device = match &source {
            Source::Random(shape) => {
                global.tuned(device, || Product::of_random(&shape.config, self.random_quant()))?
            }
            Source::File(path) => global.tuned_for(device, path, self.model.quant)?,
        };
        let opened = start.elapsed().as_secs_f64();
        let (name, model) = match source {
            Source::Random(Shape { name, config }) => {
                let quant = self.random_quant();
                (format!("random {name} {}", quant.name()), Model::random(&device, &config, quant, 0)?)
            }
            Source::File(path) => (self.model.model.clone(), self.model.load(&path, &device, global)?),
        };
        let load_seconds = start.elapsed().as_secs_f64() - opened;
        let steps = self.steps as usize;
        let slots = self.decode.iter().copied().max().unwrap_or(1);
        let longest = self.prefill.iter().copied().max().unwrap_or(0).max(DECODE_PROMPT_TOKENS + steps);
        let options =
            GeneratorOptions { slots, context: longest + 1, kv: self.kv, ..GeneratorOptions::default() };
        let (generator, adapter) = match self.adapter.attach(&model)? {
            Some((bank, adapter)) => (Generator::with_adapters(&model, options, &bank)?, Some(adapter)),
            None => (Generator::new(&model, options)?, None),
        };
        let mut bench = Bench::new(&device, &model, generator, adapter);
        bench.run(1, DECODE_PROMPT_TOKENS, 1)?;
        let start_to_first_token_seconds = start.elapsed().as_secs_f64();

        let mut prefill = Vec::new();
        for &tokens in &self.prefill {
            global.note(format!("prefill of {tokens} tokens"));
            prefill.push(bench.prefill(tokens, self.repeats.into())?);
        }
        let mut decode = Vec::new();
        for &sequences in &self.decode {
            global.note(format!("decode of {sequences} sequences"));
            decode.push(bench.decode(sequences, steps, self.repeats.into())?);
        }
        let (cache_bytes, peak_device_bytes) = (bench.cache_bytes(), device.memory().peak_bytes);
        // Frees the cache before the adapter is trained.
        drop(bench);
        let capabilities = device.capabilities();
        let trained = if self.train {
            let (sequences, tokens) = self.train_batch;
            global.note(format!("training on {sequences} x {tokens} tokens"));
            let budget = self
                .memory
                .map(|megabytes| megabytes.saturating_mul(1_000_000))
                .or(capabilities.memory_bytes);
            let budget = budget.unwrap_or(u64::MAX);
            let shape = TrainShape { sequences, tokens, rank: self.rank.into(), budget };
            Some(train(&device, &model, shape, self.repeats.into())?)
        } else {
            None
        };
        let rates =
            conformance::Rates::measure(&device).map_err(|error| CliError::Model(error.to_string()))?;
        let report = Report {
            parr: env!("CARGO_PKG_VERSION"),
            adapter: capabilities.adapter.clone(),
            backend: capabilities.backend.clone(),
            driver: capabilities.driver.clone(),
            kernels: device.tuning().family.name(),
            loads: device.tuning().loads.name(),
            model: name,
            lora: self.adapter.path().map(Path::to_owned),
            weight_bytes: model.weight_bytes(),
            cache_bytes,
            load_seconds,
            start_to_first_token_seconds,
            peak_device_bytes,
            prefill,
            decode,
            train: trained,
            rates: Rates {
                multiply_add_gflops_per_second: rates.flops_per_second / 1e9,
                read_gb_per_second: rates.read_bytes_per_second / 1e9,
            },
        };
        if self.json {
            return write_row(&report);
        }
        terminal::stdout().write_all(report.text().as_bytes())?;
        Ok(())
    }
}

impl Report {
    /// The report as text.
    fn text(&self) -> String {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let mut text = format!(
            "adapter                {} ({}, {})\nkernels                {}, weights in {}\nmodel                  {}\n",
            self.adapter, self.backend, self.driver, self.kernels, self.loads, self.model
        );
        text.push_str(&format!(
            "{}weights                {:.1} MB\nkey/value cache        {:.1} MB\npeak device memory     {:.1} MB\nload                   {:.2} s\nstart to first token   {:.2} s\n",
            self.lora
                .as_ref()
                .map_or(String::new(), |path| format!("LoRA adapter           {}\n", path.display())),
            megabytes(self.weight_bytes),
            megabytes(self.cache_bytes),
            megabytes(self.peak_device_bytes),
            self.load_seconds,
            self.start_to_first_token_seconds
        ));
        text.push_str(&format!(
            "plain kernels          {:.1} GFLOP/s multiply and add, {:.1} GB/s read\n\n",
            self.rates.multiply_add_gflops_per_second, self.rates.read_gb_per_second
        ));
        let count = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
        let mut table = Table::new(&["run", "tok/s", "seconds", "GFLOP/s", "weight GB/s", "dispatches"]);
        for run in &self.prefill {
            table.row([
                format!("prefill {}", run.tokens),
                format!("{:.1}", run.tokens_per_second),
                format!("{:.3}", run.seconds),
                format!("{:.1}", run.gflops_per_second),
                "-".to_owned(),
                count(run.dispatches.map(|count| count as f64)),
            ]);
        }
        for run in &self.decode {
            table.row([
                format!("decode {} x {}", run.sequences, run.steps),
                format!("{:.1}", run.tokens_per_second),
                format!("{:.3}", run.seconds),
                format!("{:.1}", run.gflops_per_second),
                format!("{:.2}", run.weight_gb_per_second),
                count(run.dispatches_per_step),
            ]);
        }
        text.push_str(&format!("{table}dispatches: per prompt for prefill, per step for decode\n"));
        if let Some(train) = &self.train {
            text.push_str(&train.text(&self.prefill));
        }
        for run in &self.prefill {
            text.push_str(&kernels(&format!("prefill {}", run.tokens), &run.kernels));
        }
        for run in &self.decode {
            text.push_str(&kernels(&format!("decode {} x {}", run.sequences, run.steps), &run.kernels));
        }
        if let Some(train) = &self.train {
            let name = format!("training step {} x {}", train.sequences, train.tokens);
            text.push_str(&kernels(&name, &train.kernels));
        }
        text
    }
}

impl Train {
    /// The figures as text, compared with the fastest prefill.
    fn text(&self, prefill: &[Prefill]) -> String {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let fastest = prefill.iter().map(|run| run.tokens_per_second).fold(0.0, f64::max);
        format!(
            "\ntraining step          {} x {} tokens, rank {}: {:.2} s, {:.1} tok/s, {:.1}% of prefill\npasses                 up to {} tokens, {} of {} layers kept\npeak device memory     {:.1} MB, planned {:.1} MB\n",
            self.sequences,
            self.tokens,
            self.rank,
            self.seconds,
            self.tokens_per_second,
            100.0 * self.tokens_per_second / fastest,
            self.pass_tokens,
            self.kept_layers,
            self.layers,
            megabytes(self.peak_device_bytes),
            megabytes(self.planned_bytes)
        )
    }
}

/// The variant that took longest, and the number of others. The JSON report has all.
fn variant(share: &KernelShare) -> String {
    match share.variants.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
    }
}

/// Time by kernel as text; empty if the device has no timestamps.
fn kernels(run: &str, shares: &[KernelShare]) -> String {
    if shares.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["kernel", "calls", "ms", "%", "GFLOP/s", "variant"]);
    for share in shares {
        table.row([
            share.kernel.clone(),
            share.calls.to_string(),
            format!("{:.2}", share.milliseconds),
            format!("{:.1}", 100.0 * share.share),
            format!("{:.1}", share.gflops_per_second),
            variant(share),
        ]);
    }
    format!("\n{run}, time on the device\n{table}")
}
