//! Blending several adapters into one.

use std::collections::BTreeMap;

use super::weights::check_config;
use super::{AdapterError, LoraConfig, LoraPair, LoraWeights, Projection, Projections};

impl LoraWeights {
    /// The adapter whose change to every matrix is exactly the weighted sum of the others' changes. The
    /// factors are concatenated, `B = [w_1 s_1 B_1, w_2 s_2 B_2, ..]` and `A = [A_1; A_2; ..]`, with the
    /// scales `s` of the parts. The scale of the result is 1, and its rank is the sum of the ranks.
    ///
    /// # Errors
    ///
    /// * [`AdapterError::Setting`] without parts, for a weight that is not a number, or if the sum of the
    ///   ranks exceeds the maximum rank: merge some adapters into the model, or train a single one;
    /// * [`AdapterError::Layers`] and [`AdapterError::Shape`] if the parts are for different models.
    pub fn blend(parts: &[(&LoraWeights, f32)]) -> Result<LoraWeights, AdapterError> {
        let fault =
            |setting, value: String, expected| Err(AdapterError::Setting { setting, value, expected });
        if let Some((_, weight)) = parts.iter().find(|(_, weight)| !weight.is_finite()) {
            return fault("weight", weight.to_string(), "a finite number");
        }
        let [(first, _), ..] = parts else {
            return fault("parts", "none".to_owned(), "at least one adapter");
        };
        let rank: usize = parts.iter().map(|(weights, _)| weights.config.rank).sum();
        let targets =
            parts.iter().fold(Projections::default(), |all, (one, _)| all.union(one.config.targets));
        let config = LoraConfig { rank, alpha: rank as f32, rs_lora: false, targets };
        check_config(&config)?;
        let expected = first.layers.len();
        if let Some((other, _)) = parts.iter().find(|(weights, _)| weights.layers.len() != expected) {
            return Err(AdapterError::Layers { found: other.layers.len(), expected });
        }
        let layer = |layer: usize| {
            let names = targets
                .iter()
                .filter(|name| parts.iter().any(|(weights, _)| weights.layers[layer].contains_key(name)));
            names.map(|name| Ok((name, pair(parts, layer, name, rank)?))).collect()
        };
        let layers = (0..expected).map(layer).collect::<Result<Vec<BTreeMap<_, _>>, AdapterError>>()?;
        Ok(LoraWeights { config, layers, names: first.names })
    }
}

/// The concatenated factors of all parts; a part without a pair here contributes zeros.
fn pair(
    parts: &[(&LoraWeights, f32)],
    layer: usize,
    projection: Projection,
    rank: usize,
) -> Result<LoraPair, AdapterError> {
    let present = || {
        parts.iter().filter_map(|(weights, _)| {
            weights.layers[layer].get(&projection).map(|pair| (pair, weights.config.rank))
        })
    };
    let (first, of) = present().next().expect("the caller names what some part has");
    let (inputs, outputs) = (first.a.len() / of, first.b.len() / of);
    for (pair, rank) in present() {
        for (factor, found, expected) in
            [("lora_A", pair.a.len(), rank * inputs), ("lora_B", pair.b.len(), outputs * rank)]
        {
            if found != expected {
                return Err(AdapterError::Shape {
                    layer,
                    projection: projection.name(),
                    factor,
                    found,
                    expected,
                });
            }
        }
    }
    let mut whole = LoraPair { a: vec![0.0; rank * inputs], b: vec![0.0; outputs * rank] };
    let mut at = 0;
    for (weights, weight) in parts {
        let own = weights.config.rank;
        if let Some(pair) = weights.layers[layer].get(&projection) {
            whole.a[at * inputs..(at + own) * inputs].copy_from_slice(&pair.a);
            let scale = weight * weights.config.scale();
            for (row, from) in whole.b.chunks_exact_mut(rank).zip(pair.b.chunks_exact(own)) {
                row[at..at + own].iter_mut().zip(from).for_each(|(to, value)| *to = scale * value);
            }
        }
        at += own;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lora::ModuleNames;
    use crate::random::{Philox, Purpose, uniform01};

    const INPUTS: usize = 6;
    const OUTPUTS: usize = 5;

    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let random = Philox::new(seed);
        let blocks =
            (0..count.div_ceil(4) as u32).flat_map(|index| random.block(Purpose::LoraInit, 0, index, 0));
        blocks.map(|word| uniform01(word) - 0.5).take(count).collect()
    }

    fn adapter(seed: u64, rank: usize, alpha: f32, rs_lora: bool, targets: &[Projection]) -> LoraWeights {
        let pair = |&name: &Projection| {
            let salt = seed * 100 + name as u64;
            let pair = LoraPair { a: numbers(salt, rank * INPUTS), b: numbers(salt + 50, OUTPUTS * rank) };
            (name, pair)
        };
        let config = LoraConfig { rank, alpha, rs_lora, targets: targets.iter().copied().collect() };
        let layers = vec![targets.iter().map(pair).collect()];
        LoraWeights { config, layers, names: ModuleNames::Llama }
    }

    /// `scale B A`, `(outputs, inputs)`.
    fn delta(weights: &LoraWeights, name: Projection) -> Vec<f32> {
        let Some(pair) = weights.layers[0].get(&name) else { return vec![0.0; OUTPUTS * INPUTS] };
        let rank = weights.config.rank;
        let value = |at: usize| -> f32 {
            let (n, k) = (at / INPUTS, at % INPUTS);
            (0..rank).map(|r| pair.b[n * rank + r] * pair.a[r * INPUTS + k]).sum()
        };
        (0..OUTPUTS * INPUTS).map(|at| weights.config.scale() * value(at)).collect()
    }

    #[test]
    fn the_blend_changes_every_matrix_by_the_weighted_sum() {
        let (q, v, o) = (Projection::Q, Projection::V, Projection::O);
        let one = adapter(1, 4, 8.0, false, &[q, v]);
        let two = adapter(2, 3, 5.0, true, &[v, o]);
        let blend = LoraWeights::blend(&[(&one, 0.75), (&two, -1.5)]).expect("they fit");
        assert_eq!((blend.config.rank, blend.config.scale()), (7, 1.0));
        for name in [q, v, o] {
            let parts = delta(&one, name).into_iter().zip(delta(&two, name));
            for (sum, found) in parts.map(|(a, b)| 0.75 * a - 1.5 * b).zip(delta(&blend, name)) {
                assert!((sum - found).abs() < 1e-5, "{name:?}: {found} for {sum}");
            }
        }
    }

    #[test]
    fn what_cannot_be_one_adapter_is_refused() {
        let one = adapter(1, 4, 8.0, false, &[Projection::Q]);
        assert!(matches!(LoraWeights::blend(&[]), Err(AdapterError::Setting { setting: "parts", .. })));
        let weight = LoraWeights::blend(&[(&one, f32::NAN)]);
        assert!(matches!(weight, Err(AdapterError::Setting { setting: "weight", .. })));
        let many = vec![(&one, 1.0); 257];
        assert!(matches!(LoraWeights::blend(&many), Err(AdapterError::Setting { setting: "rank", .. })));
        let mut deeper = one.clone();
        deeper.layers.push(BTreeMap::new());
        assert!(matches!(
            LoraWeights::blend(&[(&one, 1.0), (&deeper, 1.0)]),
            Err(AdapterError::Layers { .. })
        ));
        let mut wider = one.clone();
        wider.layers[0].insert(Projection::Q, LoraPair { a: vec![0.0; 4 * 7], b: vec![0.0; OUTPUTS * 4] });
        assert!(matches!(LoraWeights::blend(&[(&one, 1.0), (&wider, 1.0)]), Err(AdapterError::Shape { .. })));
    }
}
