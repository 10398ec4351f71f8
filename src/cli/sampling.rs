//! Flags of sampling, and the same names for `/set` in a chat.

use clap::Args;

use crate::chat::ReplyOptions;
use crate::generate::{MAX_TOKENS, Sampling};

/// How the next token is chosen.
#[derive(Args, Clone, Debug, PartialEq)]
pub(super) struct SamplingArgs {
    /// 0 takes the likeliest token every time; higher is more varied
    #[arg(long, value_name = "T", default_value_t = Sampling::CHAT.temperature)]
    temperature: f32,

    /// Choose among the K likeliest tokens only; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,

    /// Choose among the likeliest tokens that together have probability P
    #[arg(long, value_name = "P", default_value_t = Sampling::CHAT.top_p)]
    top_p: f32,

    /// Leave out tokens less likely than P times the likeliest
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    min_p: f32,

    /// Divide the logits of recent tokens by this; 1 for no penalty
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    repetition_penalty: f32,

    /// Same seed, same prompt, same text, whatever else is generated beside it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Longest reply, in tokens
    #[arg(long, value_name = "TOKENS", default_value_t = MAX_TOKENS)]
    pub max_tokens: usize,
}

impl SamplingArgs {
    /// The library's form, with another seed.
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

    /// What a chat takes.
    pub(super) fn reply(&self) -> ReplyOptions {
        ReplyOptions { sampling: self.sampling(self.seed), max_tokens: self.max_tokens, stop: Vec::new() }
    }

    /// Sets one value by its flag's name without dashes, as in `/set temperature 0.7`.
    ///
    /// # Errors
    ///
    /// A sentence that names what is known or what was wrong.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        fn parse<T: std::str::FromStr>(name: &str, value: &str, slot: &mut T) -> Result<(), String> {
            *slot = value.parse().map_err(|_| format!("`{value}` is no value for {name}"))?;
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
            _ => Err(format!("unknown setting `{name}`, known are {}", Self::NAMES.join(" "))),
        }
    }

    /// The names that [`SamplingArgs::set`] takes.
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
        assert!(sampling.set("temprature", "1").expect_err("misspelt").contains("known are temperature"));
        assert_eq!(sampling.set("top_k", "many"), Err("`many` is no value for top_k".to_owned()));
    }
}
