//! Sampling flags; `/set` in a chat accepts the same names.

use clap::Args;

use parr::chat::ReplyOptions;
use parr::generate::{MAX_TOKENS, Sampling};

/// Settings for sampling the next token.
#[derive(Args, Clone, Debug, PartialEq)]
pub(super) struct SamplingArgs {
    /// Sampling temperature; 0 always takes the most likely token
    #[arg(long, value_name = "T", default_value_t = Sampling::CHAT.temperature)]
    temperature: f32,

    /// Sample only from the K most likely tokens; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,

    /// Sample only from the most likely tokens that together have probability P; 1 for all
    #[arg(long, value_name = "P", default_value_t = Sampling::CHAT.top_p)]
    top_p: f32,

    /// Leave out tokens less likely than P times the most likely one; 0 for none
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    min_p: f32,

    /// Divide the logits of recent tokens by R; 1 for no penalty
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    repetition_penalty: f32,

    /// Random seed; the same seed and prompt give the same text in any batch
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Most tokens of a reply
    #[arg(long, value_name = "TOKENS", default_value_t = MAX_TOKENS)]
    pub max_tokens: usize,
}

impl SamplingArgs {
    /// Converts the flags to the library's settings, with this seed.
    pub(super) fn sampling(&self, seed: u64) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed,
        }
    }

    /// Converts the flags to the options of a chat.
    pub(super) fn reply(&self) -> ReplyOptions {
        ReplyOptions { sampling: self.sampling(self.seed), max_tokens: self.max_tokens, stop: Vec::new() }
    }

    /// Sets one value by its flag's name without dashes, as in `/set temperature 0.7`.
    ///
    /// # Errors
    ///
    /// A message that names the wrong value, or the known settings.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        fn parse<T: std::str::FromStr>(name: &str, value: &str, slot: &mut T) -> Result<(), String> {
            *slot = value.parse().map_err(|_| format!("`{value}` is not a value for {name}"))?;
            Ok(())
        }
        match name.replace('-', "_").as_str() {
            "temperature" => parse(name, value, &mut self.temperature),
            "top_k" => parse(name, value, &mut self.top_k),
            "top_p" => parse(name, value, &mut self.top_p),
            "min_p" => parse(name, value, &mut self.min_p),
            "repetition_penalty" => parse(name, value, &mut self.repetition_penalty),
            "seed" => parse(name, value, &mut self.seed),
            "max_tokens" => parse(name, value, &mut self.max_tokens),
            _ => Err(format!("unknown setting `{name}`, expected one of {}", Self::NAMES.join(" "))),
        }
    }

    /// The names that [`SamplingArgs::set`] accepts.
    pub(super) const NAMES: [&str; 7] =
        ["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "max_tokens"];
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        sampling: SamplingArgs,
    }

    #[test]
    fn a_setting_means_what_its_flag_means() {
        for name in SamplingArgs::NAMES {
            let flag = format!("--{}", name.replace('_', "-"));
            let by_flag = Flags::parse_from(["parr", &flag, "3"]).sampling;
            let mut by_name = Flags::parse_from(["parr"]).sampling;
            assert_ne!(by_name, by_flag, "{name}");
            by_name.set(name, "3").expect("a known name");
            assert_eq!(by_name, by_flag, "{name}");
        }
    }

    #[test]
    fn wrong_settings_are_explained() {
        let mut sampling = Flags::parse_from(["parr"]).sampling;
        assert!(
            sampling.set("temprature", "1").expect_err("misspelt").contains("expected one of temperature")
        );
        assert_eq!(sampling.set("top_k", "many"), Err("`many` is not a value for top_k".to_owned()));
    }
}
