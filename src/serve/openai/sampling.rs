//! How a request wants tokens to be drawn.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use serde_json::{Number, Value};

use super::errors::ApiError;
use super::fields::{Fields, Texts};
use crate::generate::{LogitOptions, Sampling};
use crate::tokenizer::TokenId;

/// Maximum number of stop texts.
const MOST_STOPS: usize = 16;
/// Maximum number of replies of a request.
pub(crate) const MOST_REPLIES: usize = 16;

/// How tokens are drawn, and where a reply ends.
#[derive(Clone, Debug)]
pub(crate) struct Drawing {
    pub sampling: Sampling,
    pub logits: LogitOptions,
    pub stop: Vec<String>,
}

/// OpenAI's defaults: the plain distribution of the model.
pub(crate) const OPENAI: Sampling =
    Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 };

impl Drawing {
    /// Reads the fields that OpenAI and compatible servers have. `vocab` is the number of tokens.
    pub fn read(fields: &mut Fields, defaults: Sampling, vocab: usize) -> Result<Drawing, ApiError> {
        let seed = seed(fields)?;
        let top_p = fields.number("top_p", 0.0..=1.0)?.unwrap_or(defaults.top_p);
        let sampling = Sampling {
            temperature: fields.number("temperature", 0.0..=100.0)?.unwrap_or(defaults.temperature),
            // 0 leaves the most probable token.
            top_p: top_p.max(f32::MIN_POSITIVE),
            top_k: fields
                .count("top_k", 0..=usize::MAX)?
                .map_or(defaults.top_k, |k| u32::try_from(k).unwrap_or(0)),
            min_p: fields.number("min_p", 0.0..=1.0)?.unwrap_or(defaults.min_p),
            repetition_penalty: fields
                .number("repetition_penalty", f32::MIN_POSITIVE..=100.0)?
                .unwrap_or(defaults.repetition_penalty),
            seed,
        };
        let logits = LogitOptions {
            presence_penalty: fields.number("presence_penalty", -2.0..=2.0)?.unwrap_or(0.0),
            frequency_penalty: fields.number("frequency_penalty", -2.0..=2.0)?.unwrap_or(0.0),
            bias: bias(fields, vocab)?,
            ..LogitOptions::default()
        };
        let stop = fields.take::<Texts>("stop")?.map(Texts::into_vec).unwrap_or_default();
        if stop.len() > MOST_STOPS {
            let message = format!("`stop` has {} texts, and {MOST_STOPS} may be given", stop.len());
            return Err(ApiError::field("stop", message));
        }
        Ok(Drawing { sampling, logits, stop })
    }
}

/// The seed of a request: the given one, or a fresh one. Fresh ones are small enough for every JSON parser.
pub(crate) fn seed(fields: &mut Fields) -> Result<u64, ApiError> {
    let Some(given) = fields.take::<Number>("seed")? else { return Ok(fresh_seed()) };
    // A negative seed is the same bits.
    let whole = given.as_u64().or_else(|| given.as_i64().map(|seed| seed as u64));
    whole.ok_or_else(|| ApiError::field("seed", "`seed` is not a whole number of 64 bits"))
}

/// 32 random bits from the keys that the system gives every hash map.
pub(crate) fn fresh_seed() -> u64 {
    random() >> 32
}

/// 64 random bits.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// `logit_bias`: an object from token ids to values.
fn bias(fields: &mut Fields, vocab: usize) -> Result<Vec<(TokenId, f32)>, ApiError> {
    let given: BTreeMap<String, Value> = fields.take("logit_bias")?.unwrap_or_default();
    let one = |(token, value): (String, Value)| {
        let id = token.parse::<TokenId>().ok().filter(|&id| (id as usize) < vocab);
        let id = id.ok_or_else(|| {
            ApiError::field("logit_bias", format!("`logit_bias`: {token:?} is not the id of a token"))
        })?;
        let value = value.as_f64().filter(|value| (-100.0..=100.0).contains(value));
        let value = value.ok_or_else(|| {
            ApiError::field(
                "logit_bias",
                format!("`logit_bias`: the value of {id} is not a number from -100 to 100"),
            )
        })?;
        Ok((id, value as f32))
    };
    given.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Drawing, ApiError> {
        Drawing::read(&mut Fields::new(value).unwrap(), OPENAI, 100)
    }

    #[test]
    fn defaults_are_openais_and_seeds_are_fresh() {
        let (one, other) = (read(json!({})).unwrap(), read(json!({})).unwrap());
        assert_ne!(one.sampling.seed, other.sampling.seed);
        assert_eq!(Sampling { seed: 0, ..one.sampling }, OPENAI);
        assert!(one.sampling.seed < 1 << 32);
        assert_eq!(read(json!({"seed": -1})).unwrap().sampling.seed, u64::MAX);
        assert_eq!(read(json!({"seed": u64::MAX})).unwrap().sampling.seed, u64::MAX);
    }

    #[test]
    fn wrong_values_name_their_field() {
        for (value, field) in [
            (json!({"temperature": -1}), "temperature"),
            (json!({"top_p": 1.5}), "top_p"),
            (json!({"seed": 1.5}), "seed"),
            (json!({"presence_penalty": 3}), "presence_penalty"),
            (json!({"logit_bias": {"100": 1}}), "logit_bias"),
            (json!({"logit_bias": {"5": 101}}), "logit_bias"),
            (json!({"logit_bias": {"x": 1}}), "logit_bias"),
            (json!({"stop": [1]}), "stop"),
            (json!({"stop": vec!["a"; 17]}), "stop"),
        ] {
            assert_eq!(read(value.clone()).unwrap_err().param.as_deref(), Some(field), "{value}");
        }
        assert_eq!(read(json!({"logit_bias": {"5": -3}, "stop": "x"})).unwrap().logits.bias, [(5, -3.0)]);
    }
}
