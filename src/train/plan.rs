//! Device memory of a run: peak bytes, counted before the first allocation.

use super::error::TrainError;
use super::optimizer::Optimizer;
use super::pass::{PassShape, bank_bytes, pass_bytes};
use crate::model::lora::{LoraLayout, Projections};
use crate::model::{LayerBuffer, ModelConfig};
use crate::ops::scalar_head_len;

/// What a run needs from the device, apart from the shape of its passes.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// Shape of the base model.
    pub model: &'a ModelConfig,
    /// [`Model::device_bytes`](crate::model::Model::device_bytes) of the base.
    pub model_bytes: u64,
    /// Rank of the adapters.
    pub rank: usize,
    /// Projections that have adapters.
    pub targets: Projections,
    /// Number of adapters on the base.
    pub adapters: usize,
    /// Number of adapters that are trained.
    pub trainable: usize,
    /// Number of last layers that are trained.
    pub learning_layers: usize,
    /// Number of tokens of an optimizer step.
    pub step_tokens: usize,
    /// Number of tokens of the longest sequence, or of the longest unit, whose sequences must share a pass.
    pub longest: usize,
    /// Device memory that something else uses at the same time, in bytes: a generator, for instance.
    pub beside_bytes: u64,
    /// Largest storage binding of the device, in bytes.
    pub max_binding_bytes: u64,
}

/// Shape of the passes, and device memory of the run at its peak.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The shape of the passes.
    pub shape: PassShape,
    /// Device memory in bytes, by purpose.
    pub parts: Vec<(&'static str, u64)>,
}

/// Number of tokens per pass below which the kernels lose speed. Above it they gain little.
const ENOUGH_ROWS: usize = 256;

impl Plan {
    /// Counts the device memory of a run with passes of `shape`.
    pub fn count(demand: &Demand<'_>, shape: PassShape) -> Plan {
        let layout = LoraLayout::new(demand.model, demand.rank, demand.targets);
        let trained = demand.trainable * layout.adapter_len;
        let heads = demand.trainable * scalar_head_len(demand.model.hidden);
        let mut parts = vec![
            ("weights of the base", demand.model_bytes),
            ("adapters", bank_bytes(demand.model, &layout, demand.adapters)),
            ("gradients of adapters", bank_bytes(demand.model, &layout, demand.trainable)),
            ("optimizer moments", Optimizer::bytes(demand.model.layers.len(), trained, heads)),
        ];
        parts.extend(pass_bytes(demand.model, &layout, &shape));
        if demand.beside_bytes > 0 {
            parts.push(("outside the passes", demand.beside_bytes));
        }
        Plan { shape, parts }
    }

    /// Peak device memory in bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Finds the plan with the fewest passes and the least recomputation within `budget_bytes`.
    ///
    /// It tries smaller passes first, down to the size where kernels lose speed. Then it keeps fewer layers.
    /// Another pass costs nothing, but a recomputed layer costs its forward pass.
    ///
    /// # Errors
    ///
    /// [`TrainError::Memory`] with the figures if even the smallest pass does not fit.
    pub fn fit(demand: &Demand<'_>, budget_bytes: u64) -> Result<Plan, TrainError> {
        let layers = demand.learning_layers;
        let whole = demand.step_tokens.max(demand.longest);
        let halves = std::iter::successors(Some(whole), |rows| Some(rows / 2));
        let enough = ENOUGH_ROWS.min(whole).max(demand.longest);
        let smaller = halves.take_while(|&rows| rows > enough).chain([enough]).map(|rows| (rows, layers));
        let fewer = [enough, demand.longest]
            .into_iter()
            .flat_map(|rows| (0..layers).rev().map(move |kept| (rows, kept)));
        Self::first(demand, budget_bytes, smaller.chain(fewer))
    }

    /// Finds the plan with the fewest passes that keeps exactly `kept_layers` layers.
    ///
    /// # Errors
    ///
    /// [`TrainError::Memory`] with the figures if none fits.
    pub fn fit_keeping(
        demand: &Demand<'_>,
        budget_bytes: u64,
        kept_layers: usize,
    ) -> Result<Plan, TrainError> {
        let whole = demand.step_tokens.max(demand.longest);
        let halves = std::iter::successors(Some(whole), |rows| Some(rows / 2));
        let sizes = halves.take_while(|&rows| rows > demand.longest).chain([demand.longest]);
        Self::first(demand, budget_bytes, sizes.map(|rows| (rows, kept_layers)))
    }

    /// Finds the first candidate that fits. A candidate is a number of tokens per pass and a number of kept
    /// layers.
    fn first(
        demand: &Demand<'_>,
        budget_bytes: u64,
        candidates: impl Iterator<Item = (usize, usize)>,
    ) -> Result<Plan, TrainError> {
        let logit_rows = PassShape::logit_rows_for(demand.model.vocab);
        let mut least = None;
        for (rows, kept_layers) in candidates {
            let (longest, learning_layers) = (demand.longest, demand.learning_layers);
            let shape = PassShape { rows, longest, learning_layers, kept_layers, logit_rows };
            let plan = Plan::count(demand, shape);
            let bound = widest_bytes(demand.model, &shape) <= demand.max_binding_bytes;
            if bound && plan.peak_bytes() <= budget_bytes {
                return Ok(plan);
            }
            least = Some(plan);
        }
        let least = least.expect("there is always a smallest candidate");
        if widest_bytes(demand.model, &least.shape) > demand.max_binding_bytes {
            return Err(TrainError::Memory {
                needed: widest_bytes(demand.model, &least.shape),
                allowed: demand.max_binding_bytes,
                what: "one activation of the longest sequence; the device's largest binding is the limit",
                parts: Vec::new(),
            });
        }
        Err(TrainError::Memory {
            needed: least.peak_bytes(),
            allowed: budget_bytes,
            what: "the smallest pass that the settings allow; the memory budget is the limit",
            parts: least.parts,
        })
    }
}

/// The largest buffer of a pass, in bytes.
fn widest_bytes(config: &ModelConfig, shape: &PassShape) -> u64 {
    let parts = [LayerBuffer::GateUp, LayerBuffer::Qkv, LayerBuffer::Bcx];
    let width = parts.map(|part| part.width(config)).into_iter().max().unwrap_or(0);
    let logits = shape.logit_rows * config.vocab.next_multiple_of(32);
    4 * (shape.rows * width.next_multiple_of(32)).max(logits) as u64
}
