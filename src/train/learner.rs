//! One optimizer step for any objective: pack, run forward, compute the loss, run backward, update.

use std::collections::BTreeMap;
use std::ops::Range;

use super::error::TrainError;
use super::objective::{Evaluated, TokenStats, add_metrics};
use super::optimizer::{AdamW, Optimizer};
use super::pass::{Pass, PassShape, Sequence};
use crate::gpu::Buffer;
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterId, LoraWeights, ScalarHead};
use crate::tensor::HostTensor;

/// Sequences that a loss compares and that must share a pass: one for a supervised row, two for a preference.
pub type Unit = Vec<Sequence>;

/// Computes the loss of a range of the step's units from the readings of their sequences.
pub type Evaluate<'a> = dyn FnMut(Range<usize>, &TokenStats) -> Evaluated + 'a;

/// Figures of an objective, by name.
pub type Figures = Vec<(&'static str, f64)>;

/// Result of one optimizer step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learned {
    /// Loss, summed over the passes.
    pub loss: f64,
    /// Joint norm of all gradients before clipping.
    pub grad_norm: f64,
    /// Number of tokens computed.
    pub tokens: usize,
    /// Number of passes.
    pub passes: usize,
    /// Figures of the objective, summed over the passes.
    pub metrics: Figures,
}

/// Trainable adapters with their gradients and moments: everything that is kept between two steps.
#[derive(Debug)]
pub struct Learner {
    bank: AdapterBank,
    pass: Pass,
    optimizer: Optimizer,
    learning: Vec<AdapterId>,
}

/// Tensors of a saved state by name.
type Tensors = BTreeMap<String, HostTensor>;

impl Learner {
    /// A learner that trains the adapters `learning`. They must be in the first slots of `bank`, in order.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Adapter`] if an adapter is not in the bank;
    /// * [`TrainError::Places`] if they are in other slots;
    /// * [`TrainError::Device`] if the device cannot hold the pass and the moments.
    pub fn new(
        model: &Model,
        bank: &AdapterBank,
        learning: &[AdapterId],
        shape: &PassShape,
        settings: AdamW,
    ) -> Result<Self, TrainError> {
        for (wanted, &id) in learning.iter().enumerate() {
            let place = bank.place(id)?;
            if place != wanted {
                return Err(TrainError::Places { wanted, place });
            }
        }
        let pass = Pass::new(model, bank, learning.len(), shape)?;
        let optimizer = Optimizer::new(model.device(), pass.gradients(), settings)?;
        Ok(Learner { bank: bank.clone(), pass, optimizer, learning: learning.to_vec() })
    }

    /// The trainable adapters.
    pub fn learning(&self) -> &[AdapterId] {
        &self.learning
    }

    /// The bank that holds the adapters.
    pub fn bank(&self) -> &AdapterBank {
        &self.bank
    }

    /// Sets the temperature of the pass, as [`Pass::set_temperature`].
    pub fn set_temperature(&mut self, temperature: f32) {
        self.pass.set_temperature(temperature);
    }

    /// Number of steps taken.
    pub fn steps(&self) -> u64 {
        self.optimizer.steps
    }

    /// Runs `units` forward only. Returns the sum of their losses and the sums of the objective's figures.
    ///
    /// # Errors
    ///
    /// As [`Pass::forward`].
    pub fn evaluate(
        &mut self,
        units: &[Unit],
        loss: &mut Evaluate<'_>,
    ) -> Result<(f64, Figures), TrainError> {
        let mut total = 0.0;
        let mut metrics = Vec::new();
        for range in pack(units, self.pass.shape())? {
            let stats = self.pass.forward(units[range.clone()].iter().flatten())?;
            let evaluated = loss(range, &stats);
            total += evaluated.loss;
            add_metrics(&mut metrics, &evaluated.metrics);
        }
        Ok((total, metrics))
    }

    /// Runs `units` forward only and returns the readings of their sequences.
    ///
    /// # Errors
    ///
    /// As [`Pass::forward`].
    pub fn read(&mut self, units: &[Unit]) -> Result<TokenStats, TrainError> {
        let mut all = TokenStats::default();
        for range in pack(units, self.pass.shape())? {
            let stats = self.pass.forward(units[range].iter().flatten())?;
            all.logprob.extend(stats.logprob);
            all.entropy.extend(stats.entropy);
            all.value.extend(stats.value);
        }
        Ok(all)
    }

    /// Runs `units` forward in one pass, from which [`Learner::step_from`] can take a step. `None` if they need several
    /// passes; nothing is computed then.
    ///
    /// # Errors
    ///
    /// As [`Pass::forward`].
    pub fn forward(&mut self, units: &[Unit]) -> Result<Option<TokenStats>, TrainError> {
        if pack(units, self.pass.shape())?.len() != 1 {
            return Ok(None);
        }
        self.pass.forward(units.iter().flatten()).map(Some)
    }

    /// Takes one step of learning rate `rate` from the pass of the last [`Learner::forward`], whose readings have the loss
    /// and the gradients `evaluated`. Nothing else may have used the learner in between. No token is computed again, so
    /// the result counts none.
    ///
    /// # Errors
    ///
    /// * [`TrainError::NoForward`] if there was no such pass;
    /// * as [`Learner::step`].
    pub fn step_from(&mut self, evaluated: &Evaluated, rate: f64) -> Result<Learned, TrainError> {
        self.clear()?;
        let mut learned = Learned::default();
        self.add(evaluated, &mut learned)?;
        learned.grad_norm = self.optimizer.step(&self.bank, self.pass.gradients(), rate)?;
        Ok(learned)
    }

    /// Runs `units` forward and backward, in the fewest passes that hold them, and adds to the gradients. The
    /// loss of a unit must not depend on the pass that it is in: normalise by the whole step.
    ///
    /// # Errors
    ///
    /// * as [`Pass::forward`] and [`Pass::backward`];
    /// * [`TrainError::NotFinite`] if a loss is NaN or infinite.
    pub fn accumulate(&mut self, units: &[Unit], loss: &mut Evaluate<'_>) -> Result<Learned, TrainError> {
        let mut learned = Learned::default();
        for range in pack(units, self.pass.shape())? {
            let sequences = units[range.clone()].iter().flatten();
            let stats = self.pass.forward(sequences.clone())?;
            self.add(&loss(range, &stats), &mut learned)?;
            learned.tokens += sequences.map(|sequence| sequence.ids.len()).sum::<usize>();
        }
        Ok(learned)
    }

    /// Runs the last pass backward, and adds its figures to `learned`.
    fn add(&mut self, evaluated: &Evaluated, learned: &mut Learned) -> Result<(), TrainError> {
        if !evaluated.loss.is_finite() {
            let what = "the loss".to_owned();
            return Err(TrainError::NotFinite { what, step: self.optimizer.steps + 1 });
        }
        self.pass.backward(evaluated)?;
        learned.loss += evaluated.loss;
        learned.passes += 1;
        add_metrics(&mut learned.metrics, &evaluated.metrics);
        Ok(())
    }

    /// Sets the accumulated gradients to zero.
    ///
    /// # Errors
    ///
    /// [`TrainError::Device`] if the device fails.
    pub fn clear(&mut self) -> Result<(), TrainError> {
        self.pass.clear_gradients()
    }

    /// Takes one step of learning rate `rate` on the loss of `units`.
    ///
    /// # Errors
    ///
    /// * as [`Learner::accumulate`];
    /// * [`TrainError::NotFinite`] if a gradient is NaN or infinite; adapters and moments are unchanged then.
    pub fn step(
        &mut self,
        units: &[Unit],
        loss: &mut Evaluate<'_>,
        rate: f64,
    ) -> Result<Learned, TrainError> {
        self.clear()?;
        let mut learned = self.accumulate(units, loss)?;
        learned.grad_norm = self.optimizer.step(&self.bank, self.pass.gradients(), rate)?;
        Ok(learned)
    }

    /// Returns the gradients accumulated so far for the adapter in slot `place`: pairs of factors by layer,
    /// and the head.
    ///
    /// # Errors
    ///
    /// [`TrainError::Device`] if the read fails, [`TrainError::Adapter`] if the adapter is no longer in the
    /// bank.
    pub fn read_gradients(&self, place: usize) -> Result<(LoraWeights, ScalarHead), TrainError> {
        let device = self.bank.device();
        let config = self.bank.config(self.learning[place])?;
        let len = self.bank.layout().adapter_len;
        let gradients = self.pass.gradients();
        let layers = gradients
            .layers
            .iter()
            .enumerate()
            .map(|(layer, buffer)| {
                Ok(self.bank.unpack(&config, layer, &device.read(buffer, place * len, len)?))
            })
            .collect::<Result<_, TrainError>>()?;
        let head_len = gradients.heads.len() / gradients.trainable.max(1);
        let values = device.read(&gradients.heads, place * head_len, head_len)?;
        let head = self.bank.unpack_head(&values);
        Ok((LoraWeights { config, layers, names: self.bank.names() }, head))
    }

    /// The ranges of `units` that are computed together, each in one pass.
    ///
    /// # Errors
    ///
    /// [`TrainError::PassFull`] if a unit does not fit a pass.
    pub(crate) fn passes(&self, units: &[Unit]) -> Result<Vec<Range<usize>>, TrainError> {
        pack(units, self.pass.shape())
    }

    /// The values of the trainable adapters in the device's layout: those of each layer, then those of the heads.
    ///
    /// # Errors
    ///
    /// [`TrainError::Device`] if a read fails.
    pub(crate) fn values(&self) -> Result<Vec<Vec<f32>>, TrainError> {
        let device = self.bank.device();
        self.parts().map(|(_, params, [first, _])| Ok(device.read(params, 0, first.len())?)).collect()
    }

    /// Replaces the values of the trainable adapters by those that [`Learner::values`] of another learner gave.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Resume`] if they are those of other adapters; nothing is changed then;
    /// * [`TrainError::Device`] if the device fails.
    pub(crate) fn set_values(&self, values: &[Vec<f32>]) -> Result<(), TrainError> {
        let buffers = self.parts().map(|(name, params, [first, _])| (name, params, first.len()));
        self.write(buffers, values)
    }

    /// The gradients accumulated so far, in the layout of [`Learner::values`].
    ///
    /// # Errors
    ///
    /// [`TrainError::Device`] if a read fails.
    pub(crate) fn gradients(&self) -> Result<Vec<Vec<f32>>, TrainError> {
        let (device, gradients) = (self.bank.device(), self.pass.gradients());
        let buffers = gradients.layers.iter().chain([&gradients.heads]);
        buffers.map(|buffer| Ok(device.read(buffer, 0, buffer.len())?)).collect()
    }

    /// Takes one step of learning rate `rate` with `gradients`, in the layout of [`Learner::values`]. Returns their norm
    /// before clipping.
    ///
    /// # Errors
    ///
    /// As [`Learner::set_values`] and [`Learner::step`].
    pub(crate) fn step_with(&mut self, gradients: &[Vec<f32>], rate: f64) -> Result<f64, TrainError> {
        let own = self.pass.gradients();
        let buffers = own.layers.iter().chain([&own.heads]);
        self.write(buffers.map(|buffer| ("the gradient".to_owned(), buffer, buffer.len())), gradients)?;
        self.optimizer.step(&self.bank, self.pass.gradients(), rate)
    }

    /// Writes one run of values into the start of each buffer.
    fn write<'b>(
        &self,
        buffers: impl Iterator<Item = (String, &'b Buffer<f32>, usize)>,
        values: &[Vec<f32>],
    ) -> Result<(), TrainError> {
        let buffers: Vec<_> = buffers.collect();
        for (index, (tensor, _, expected)) in buffers.iter().enumerate() {
            let found = values.get(index).map(Vec::len);
            if found != Some(*expected) {
                return Err(TrainError::Resume { tensor: tensor.clone(), found, expected: *expected });
            }
        }
        for ((_, buffer, _), values) in buffers.iter().zip(values) {
            self.bank.device().write(buffer, 0, values)?;
        }
        Ok(())
    }

    /// Everything that a step depends on, for saving: values and moments in the device's layout.
    ///
    /// # Errors
    ///
    /// [`TrainError::Device`] if a read fails.
    pub fn state(&self) -> Result<Tensors, TrainError> {
        let device = self.bank.device();
        let mut tensors = Tensors::new();
        for (name, params, [first, second]) in self.parts() {
            let n = first.len();
            for (what, buffer) in [("params", params), ("exp_avg", first), ("exp_avg_sq", second)] {
                let data = device.read(buffer, 0, n)?;
                tensors.insert(format!("{name}.{what}"), HostTensor { shape: vec![n], data });
            }
        }
        Ok(tensors)
    }

    /// Restores a state that was saved after `steps` steps.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Resume`] if a tensor is missing or has another length, because the state belongs to
    ///   other settings; nothing is changed then;
    /// * [`TrainError::Device`] if the device fails.
    pub fn restore(&mut self, tensors: &Tensors, steps: u64) -> Result<(), TrainError> {
        let device = self.bank.device();
        let mut writes = Vec::new();
        for (name, params, [first, second]) in self.parts() {
            for (what, buffer) in [("params", params), ("exp_avg", first), ("exp_avg_sq", second)] {
                let tensor = format!("{name}.{what}");
                match tensors.get(&tensor) {
                    Some(HostTensor { data, .. }) if data.len() == first.len() => {
                        writes.push((buffer.clone(), data))
                    }
                    found => {
                        let found = found.map(|found| found.data.len());
                        return Err(TrainError::Resume { tensor, found, expected: first.len() });
                    }
                }
            }
        }
        for (buffer, values) in writes {
            device.write(&buffer, 0, values)?;
        }
        self.optimizer.steps = steps;
        Ok(())
    }

    /// Name, values and moments of every trainable part.
    fn parts(&self) -> impl Iterator<Item = (String, &Buffer<f32>, &[Buffer<f32>; 2])> {
        let layers = self.pass.gradients().layers.len();
        self.optimizer.moments.iter().enumerate().map(move |(index, moments)| {
            if index < layers {
                (format!("layer.{index}"), self.bank.layer(index).buffer, moments)
            } else {
                ("heads".to_owned(), self.bank.heads(), moments)
            }
        })
    }
}

/// Divides units into consecutive ranges, each of which fits a pass.
fn pack(units: &[Unit], shape: &PassShape) -> Result<Vec<Range<usize>>, TrainError> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut rows = 0;
    for (index, unit) in units.iter().enumerate() {
        let needed: usize = unit.iter().map(|sequence| sequence.ids.len()).sum();
        if needed > shape.rows {
            let what = "tokens of sequences that must share a pass";
            return Err(TrainError::PassFull { what, needed, allowed: shape.rows });
        }
        match runs.last_mut() {
            Some(run) if rows + needed <= shape.rows => {
                run.end = index + 1;
                rows += needed;
            }
            _ => {
                runs.push(index..index + 1);
                rows = needed;
            }
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(lengths: &[usize]) -> Unit {
        let sequence = |&len: &usize| Sequence { ids: vec![1; len], ..Sequence::default() };
        lengths.iter().map(sequence).collect()
    }

    #[test]
    fn fills_passes_in_order_and_splits_no_unit() {
        let shape = PassShape { rows: 10, longest: 10, learning_layers: 0, kept_layers: 0, logit_rows: 8 };
        let units = [unit(&[4]), unit(&[3, 3]), unit(&[1]), unit(&[9]), unit(&[5, 5])];
        assert_eq!(pack(&units, &shape).expect("all fit"), [0..2, 2..4, 4..5]);
        let error = pack(&[unit(&[6, 5])], &shape).expect_err("11 do not fit 10");
        assert!(error.to_string().contains("11"), "{error}");
    }
}
