//! Runs and measurements of a bench.

use serde::Serialize;

use super::shape::{block_weights, head_weights};
use crate::cli::error::CliError;
use crate::cli::interrupt::interruptible;
use parr::generate::{Finish, Generator, Pace, Request, Sampling, StopTokens};
use parr::gpu::{Device, KernelTime};
use parr::model::Model;
use parr::model::lora::AdapterId;
use parr::tokenizer::TokenId;

/// Prompt tokens before a decode: enough to fill a cache block, too few to affect the speed.
pub(super) const DECODE_PROMPT_TOKENS: usize = 16;

/// Speed of reading a prompt.
#[derive(Serialize)]
pub(super) struct Prefill {
    pub tokens: usize,
    /// Time until the first token of the reply is sampled.
    pub seconds: f64,
    pub tokens_per_second: f64,
    pub gflops_per_second: f64,
    pub dispatches: Option<u64>,
    pub kernels: Vec<KernelShare>,
}

/// Speed of writing replies.
#[derive(Serialize)]
pub(super) struct Decode {
    pub sequences: usize,
    /// Timed tokens per sequence.
    pub steps: usize,
    pub seconds: f64,
    pub tokens_per_second: f64,
    /// Weight bytes that the device reads per second in these steps, in GB.
    pub weight_gb_per_second: f64,
    pub gflops_per_second: f64,
    pub dispatches_per_step: Option<f64>,
    pub kernels: Vec<KernelShare>,
}

/// One kernel's share of the time on the device.
#[derive(Serialize)]
pub(super) struct KernelShare {
    pub kernel: String,
    /// The variants that ran, the one that took longest first.
    pub variants: Vec<String>,
    pub calls: u64,
    pub milliseconds: f64,
    pub share: f64,
    /// GFLOP/s, by the operations that its work needs; recomputation does not count.
    pub gflops_per_second: f64,
}

/// A generator and its prompts, which differ between runs so that no prefix is reused.
pub(super) struct Bench<'a> {
    device: &'a Device,
    model: &'a Model,
    generator: Generator,
    adapter: Option<AdapterId>,
    random: u64,
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        device: &'a Device,
        model: &'a Model,
        generator: Generator,
        adapter: Option<AdapterId>,
    ) -> Bench<'a> {
        Bench { device, model, generator, adapter, random: 0x9E37_79B9_7F4A_7C15 }
    }

    pub(super) fn cache_bytes(&self) -> u64 {
        self.generator.cache_bytes()
    }

    /// Random token ids; the speed does not depend on their meaning.
    fn ids(&mut self, len: usize) -> Vec<TokenId> {
        let vocab = self.model.config().vocab as u64;
        // xorshift64
        let mut next = || {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            (self.random % vocab) as TokenId
        };
        (0..len).map(|_| next()).collect()
    }

    /// Runs `sequences` requests.
    pub(super) fn run(
        &mut self,
        sequences: usize,
        prompt_tokens: usize,
        max_tokens: usize,
    ) -> Result<Pace, CliError> {
        let requests: Vec<Request> = (0..sequences)
            .map(|_| Request {
                prompt: self.ids(prompt_tokens),
                adapter: self.adapter,
                sampling: Sampling { temperature: 0.0, ..Sampling::default() },
                max_tokens,
                // Every sequence runs to its last token.
                stop_ids: StopTokens::Only(Vec::new()),
                ..Request::default()
            })
            .collect();
        let replies = interruptible(|token| self.generator.generate(&requests, token, &mut |_| {}))?;
        if replies.iter().any(|reply| matches!(reply.finish, Finish::Cancelled)) {
            return Err(CliError::Interrupted);
        }
        Ok(self.generator.pace())
    }

    /// The median of `repeats` runs, after one warm-up run.
    fn median(
        &mut self,
        repeats: usize,
        mut run: impl FnMut(&mut Self) -> Result<f64, CliError>,
    ) -> Result<f64, CliError> {
        run(self)?;
        let mut seconds = (0..repeats).map(|_| run(self)).collect::<Result<Vec<f64>, _>>()?;
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[seconds.len() / 2])
    }

    /// One more run, with timestamps; the timed runs have none because timestamps take time.
    fn profile(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<f64, CliError>,
    ) -> Result<Vec<KernelTime>, CliError> {
        self.device.take_profile();
        self.device.set_profiling(true);
        let result = run(self);
        self.device.set_profiling(false);
        let times = self.device.take_profile();
        result.map(|_| times)
    }

    pub(super) fn prefill(&mut self, tokens: usize, repeats: usize) -> Result<Prefill, CliError> {
        let run = |bench: &mut Self| bench.run(1, tokens, 1).map(|pace| pace.prefill_seconds);
        let seconds = self.median(repeats, run)?;
        let times = self.profile(run)?;
        let config = self.model.config();
        let flops = 2 * (tokens as u64 * block_weights(config) + head_weights(config));
        Ok(Prefill {
            tokens,
            seconds,
            tokens_per_second: tokens as f64 / seconds,
            gflops_per_second: flops as f64 / seconds / 1e9,
            dispatches: dispatches(&times),
            kernels: shares(&times),
        })
    }

    pub(super) fn decode(
        &mut self,
        sequences: usize,
        steps: usize,
        repeats: usize,
    ) -> Result<Decode, CliError> {
        let run = |bench: &mut Self| {
            bench.run(sequences, DECODE_PROMPT_TOKENS, steps + 1).map(|pace| pace.decode_seconds)
        };
        let seconds = self.median(repeats, run)?;
        let prompt_only = self.profile(|bench| {
            bench.run(sequences, DECODE_PROMPT_TOKENS, 1).map(|pace| pace.prefill_seconds)
        })?;
        let times = subtract(self.profile(run)?, &prompt_only);
        let config = self.model.config();
        let tokens = (sequences * steps) as f64;
        let flops = 2 * (block_weights(config) + head_weights(config));
        Ok(Decode {
            sequences,
            steps,
            seconds,
            tokens_per_second: tokens / seconds,
            weight_gb_per_second: self.model.weight_bytes() as f64 * steps as f64 / seconds / 1e9,
            gflops_per_second: flops as f64 * tokens / seconds / 1e9,
            dispatches_per_step: dispatches(&times).map(|count| count as f64 / steps as f64),
            kernels: shares(&times),
        })
    }
}

/// Number of dispatches; `None` if the profile is empty because the device has no timestamps.
fn dispatches(times: &[KernelTime]) -> Option<u64> {
    (!times.is_empty()).then(|| times.iter().map(|time| time.calls).sum())
}

/// Returns `times` minus the times of `prompt`.
fn subtract(mut times: Vec<KernelTime>, prompt: &[KernelTime]) -> Vec<KernelTime> {
    for time in &mut times {
        if let Some(part) = prompt.iter().find(|part| part.kernel == time.kernel) {
            time.calls = time.calls.saturating_sub(part.calls);
            time.nanos = time.nanos.saturating_sub(part.nanos);
            time.flops = time.flops.saturating_sub(part.flops);
        }
    }
    times.retain(|time| time.calls > 0);
    times
}

pub(super) fn shares(times: &[KernelTime]) -> Vec<KernelShare> {
    let whole: u64 = times.iter().map(|time| time.nanos).sum();
    let mut shares: Vec<KernelShare> = times
        .iter()
        .map(|time| KernelShare {
            kernel: time.kernel.clone(),
            variants: time.variants.clone(),
            calls: time.calls,
            milliseconds: time.nanos as f64 / 1e6,
            share: time.nanos as f64 / whole.max(1) as f64,
            gflops_per_second: time.flops as f64 / time.nanos.max(1) as f64,
        })
        .collect();
    shares.sort_by(|a, b| b.milliseconds.total_cmp(&a.milliseconds));
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decode_profile_leaves_its_prompt_out() {
        let time = |kernel: &str, calls, nanos| KernelTime {
            kernel: kernel.to_owned(),
            calls,
            nanos,
            flops: 0,
            variants: Vec::new(),
        };
        let whole = vec![time("a", 10, 4_000_000), time("b", 3, 2_000_000), time("c", 4, 4_000_000)];
        let left = subtract(whole, &[time("a", 4, 1_000_000), time("b", 3, 2_000_000)]);
        assert_eq!(dispatches(&left), Some(10));
        let shares = shares(&left);
        assert_eq!((shares[0].kernel.as_str(), shares[0].milliseconds), ("c", 4.0));
        assert!((shares[1].share - 3.0 / 7.0).abs() < 1e-12);
        assert_eq!(dispatches(&[]), None);
    }
}
