//! Adapters on the device: several on one base, in numbered slots.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{
    AdapterError, LoraConfig, LoraPair, LoraWeights, ModuleNames, Projection, Projections, ScalarHead,
};
use crate::gpu::{Buffer, Device, DeviceError};
use crate::model::{Model, ModelConfig};
use crate::ops::{LoraParams, LoraPart, LoraRun, LoraSite, scalar_head_len};

/// A stacked linear of the decoder layer: several projections of the same input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    Qkv,
    O,
    ConvIn,
    ConvOut,
    GateUp,
    Down,
}

impl Site {
    pub const ALL: [Site; 6] = [Site::Qkv, Site::O, Site::ConvIn, Site::ConvOut, Site::GateUp, Site::Down];

    /// The stacked projections, in order.
    fn projections(self) -> &'static [Projection] {
        match self {
            Site::Qkv => &[Projection::Q, Projection::K, Projection::V],
            Site::O => &[Projection::O],
            Site::GateUp => &[Projection::Gate, Projection::Up],
            Site::Down => &[Projection::Down],
            Site::ConvIn => &[Projection::In],
            Site::ConvOut => &[Projection::Out],
        }
    }
}

/// The layout of the factors of a bank's adapters; the same in all layers and slots.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoraLayout {
    /// Rank to which every adapter is padded, a multiple of 4.
    pub rank: usize,
    pub targets: Projections,
    /// Layouts by [`Site`]; `None` if no projection of the site is a target, or no layer has it. A layer has either
    /// attention or a convolution, so both begin at the same place.
    pub sites: [Option<LoraSite>; Site::ALL.len()],
    /// Values of one adapter in one layer, a multiple of 32.
    pub adapter_len: usize,
}

impl LoraLayout {
    pub fn new(config: &ModelConfig, rank: usize, targets: Projections) -> Self {
        let rank = rank.next_multiple_of(4);
        let targets = targets.of(config);
        let (mut at, mut of_attention) = (0, 0);
        let sites = Site::ALL.map(|site| {
            match site {
                Site::ConvIn => (at, of_attention) = (0, at),
                Site::GateUp => at = at.max(of_attention),
                _ => {}
            }
            let (mut parts, mut first_col, mut inputs) = (Vec::new(), 0, 0);
            for &projection in site.projections() {
                let (cols, from) = projection.shape(config);
                if targets.contains(projection) {
                    parts.push(LoraPart { first_col, cols });
                }
                first_col += cols;
                inputs = from;
            }
            if parts.is_empty() {
                return None;
            }
            let mut site = LoraSite { rank, inputs, outputs: first_col, parts, a: at, b: 0 };
            site.b = at + site.a_len().next_multiple_of(32);
            at = site.b + site.b_len().next_multiple_of(32);
            Some(site)
        });
        LoraLayout { rank, targets, sites, adapter_len: at }
    }

    pub fn site(&self, site: Site) -> Option<&LoraSite> {
        self.sites[site as usize].as_ref()
    }

    /// Copies a pair between its natural order and the device's; `site` must hold `projection`.
    fn each_value(
        &self,
        config: &ModelConfig,
        projection: Projection,
        rank: usize,
        mut value: impl FnMut(usize, Factor, usize),
    ) {
        let site = Site::ALL.into_iter().find(|site| site.projections().contains(&projection));
        let site = site.expect("every projection belongs to a site");
        let Some(place) = self.site(site) else { return };
        let members = site.projections().iter().filter(|&&member| self.targets.contains(member));
        let Some(part) = members.clone().position(|&member| member == projection) else { return };
        let (outputs, inputs) = projection.shape(config);
        let columns_before: usize =
            members.take(part).map(|member| member.shape(config).0.next_multiple_of(32)).sum();
        for r in 0..rank {
            for k in 0..inputs {
                value(place.a + (part * self.rank + r) * place.a_stride() + k, Factor::A, r * inputs + k);
            }
            for n in 0..outputs {
                value(place.b + r * place.b_stride() + columns_before + n, Factor::B, n * rank + r);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Factor {
    A,
    B,
}

/// The id of an adapter in a bank. It is invalid once the adapter is detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdapterId {
    place: u32,
    serial: u32,
}

#[cfg(test)]
impl AdapterId {
    /// The id of the first adapter of a bank.
    pub(crate) fn first() -> AdapterId {
        AdapterId { place: 0, serial: 0 }
    }
}

/// The contents of one slot.
#[derive(Clone, Copy, Debug)]
struct Place {
    serial: u32,
    config: LoraConfig,
    /// The lowest layer that the adapter changes.
    first_layer: usize,
    has_head: bool,
}

impl Place {
    fn new(serial: u32, weights: &LoraWeights, head: Option<&ScalarHead>) -> Place {
        let (config, first_layer) = (weights.config, weights.first_layer());
        Place { serial, config, first_layer, has_head: head.is_some() }
    }
}

#[derive(Debug, Default)]
struct Places {
    taken: Vec<Option<Place>>,
    next_serial: u32,
}

/// Up to `capacity` adapters on the device for one frozen base. In one forward pass, every sequence of a
/// batch can use its own adapter, or none.
///
/// All adapters are padded to one rank; the only cost of a smaller adapter is its padding. Clones share
/// the bank.
#[derive(Clone, Debug)]
pub struct AdapterBank {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    device: Device,
    config: ModelConfig,
    layout: LoraLayout,
    layers: Vec<Buffer<f32>>,
    heads: Buffer<f32>,
    capacity: usize,
    places: Mutex<Places>,
}

impl AdapterBank {
    /// An empty bank for adapters of at most `rank` on at most `targets` of `model`.
    ///
    /// # Errors
    ///
    /// [`AdapterError::Device`] if the adapters of a layer exceed a binding: use fewer slots.
    pub fn new(
        model: &Model,
        rank: usize,
        targets: Projections,
        capacity: usize,
    ) -> Result<Self, AdapterError> {
        let device = model.device();
        let config = model.config();
        let layout = LoraLayout::new(config, rank, targets);
        let layers = (0..config.layers.len())
            .map(|_| device.buffer("adapters of a layer", capacity * layout.adapter_len))
            .collect::<Result<_, DeviceError>>()?;
        let heads = device.buffer("scalar heads", capacity * scalar_head_len(config.hidden))?;
        let places = Places { taken: vec![None; capacity], next_serial: 0 };
        let inner = Inner {
            device: device.clone(),
            config: config.clone(),
            layout,
            layers,
            heads,
            capacity,
            places: Mutex::new(places),
        };
        Ok(AdapterBank { inner: Arc::new(inner) })
    }

    /// A bank with one slot for each of `adapters`, all attached.
    ///
    /// # Errors
    ///
    /// As [`AdapterBank::new`] and [`AdapterBank::attach`].
    pub fn holding(model: &Model, adapters: &[&LoraWeights]) -> Result<(Self, Vec<AdapterId>), AdapterError> {
        let rank = adapters.iter().map(|weights| weights.config.rank).max().unwrap_or(1);
        let targets =
            adapters.iter().fold(Projections::default(), |all, weights| all.union(weights.config.targets));
        let bank = AdapterBank::new(model, rank, targets, adapters.len())?;
        let ids =
            adapters.iter().map(|weights| bank.attach(weights, None)).collect::<Result<_, AdapterError>>()?;
        Ok((bank, ids))
    }

    /// Uploads an adapter, and its head if it has one, into the first free slot.
    ///
    /// # Errors
    ///
    /// * [`AdapterError`] if it does not fit the model or the bank, or no slot is free;
    /// * [`AdapterError::Device`] if the upload fails.
    pub fn attach(
        &self,
        weights: &LoraWeights,
        head: Option<&ScalarHead>,
    ) -> Result<AdapterId, AdapterError> {
        let mut places = self.places();
        let free = places.taken.iter().position(Option::is_none);
        let place = free.ok_or(AdapterError::Full { capacity: self.inner.capacity })?;
        self.upload(place, weights, head)?;
        let serial = places.next_serial;
        places.next_serial += 1;
        places.taken[place] = Some(Place::new(serial, weights, head));
        Ok(AdapterId { place: place as u32, serial })
    }

    /// Overwrites the values of an adapter; its id stays the same. The caller must discard results of the
    /// old values, such as a KV cache.
    ///
    /// # Errors
    ///
    /// As [`AdapterBank::attach`]; [`AdapterError::Detached`] if `id` is invalid.
    pub fn replace(
        &self,
        id: AdapterId,
        weights: &LoraWeights,
        head: Option<&ScalarHead>,
    ) -> Result<(), AdapterError> {
        let place = self.place(id)?;
        self.upload(place, weights, head)?;
        self.places().taken[place] = Some(Place::new(id.serial, weights, head));
        Ok(())
    }

    /// Frees an adapter's slot. An invalid id is not an error.
    pub fn detach(&self, id: AdapterId) {
        if let Ok(place) = self.place(id) {
            self.places().taken[place] = None;
        }
    }

    /// Reads an adapter back to the host with its current values, for example after training.
    ///
    /// # Errors
    ///
    /// [`AdapterError::Detached`], or [`AdapterError::Device`] if the read fails.
    pub fn read(&self, id: AdapterId) -> Result<(LoraWeights, Option<ScalarHead>), AdapterError> {
        let place = self.place(id)?;
        let taken = self.taken(id)?;
        let inner = &*self.inner;
        let at = place * inner.layout.adapter_len;
        let mut layers = Vec::with_capacity(inner.layers.len());
        for (index, buffer) in inner.layers.iter().enumerate() {
            if index < taken.first_layer {
                layers.push(BTreeMap::new());
                continue;
            }
            let values = inner.device.read(buffer, at, inner.layout.adapter_len)?;
            layers.push(self.unpack(&taken.config, index, &values));
        }
        let head = if taken.has_head { Some(self.read_head(place)?) } else { None };
        Ok((LoraWeights { config: taken.config, layers, names: self.names() }, head))
    }

    fn read_head(&self, place: usize) -> Result<ScalarHead, AdapterError> {
        let hidden = self.inner.config.hidden;
        let len = scalar_head_len(hidden);
        Ok(self.unpack_head(&self.inner.device.read(&self.inner.heads, place * len, len)?))
    }

    /// Converts a head from the device's order.
    pub(crate) fn unpack_head(&self, values: &[f32]) -> ScalarHead {
        let hidden = self.inner.config.hidden;
        ScalarHead { weight: values[..hidden].to_vec(), bias: values[hidden.next_multiple_of(32)] }
    }

    /// Converts one adapter's values in layer `layer` from the device's order to pairs.
    pub(crate) fn unpack(
        &self,
        config: &LoraConfig,
        layer: usize,
        values: &[f32],
    ) -> BTreeMap<Projection, LoraPair> {
        let inner = &*self.inner;
        let pair =
            |projection: Projection| {
                let (outputs, inputs) = projection.shape(&inner.config);
                let mut pair =
                    LoraPair { a: vec![0.0; config.rank * inputs], b: vec![0.0; outputs * config.rank] };
                inner.layout.each_value(&inner.config, projection, config.rank, |at, factor, index| {
                    match factor {
                        Factor::A => pair.a[index] = values[at],
                        Factor::B => pair.b[index] = values[at],
                    }
                });
                (projection, pair)
            };
        let described = &inner.config.layers[layer];
        config.targets.iter().filter(|target| target.is_of(described)).map(pair).collect()
    }

    fn upload(
        &self,
        place: usize,
        weights: &LoraWeights,
        head: Option<&ScalarHead>,
    ) -> Result<(), AdapterError> {
        let inner = &*self.inner;
        weights.check(&inner.config)?;
        if weights.config.rank > inner.layout.rank {
            return Err(AdapterError::Rank { found: weights.config.rank, allowed: inner.layout.rank });
        }
        let mut targets = weights.config.targets.of(&inner.config).iter();
        let outside = targets.find(|&target| !inner.layout.targets.contains(target));
        if let Some(target) = outside {
            return Err(AdapterError::Target { projection: target.name(), allowed: inner.layout.targets });
        }
        if let Some(head) = head.filter(|head| head.weight.len() != inner.config.hidden) {
            return Err(AdapterError::Head { found: head.weight.len(), expected: inner.config.hidden });
        }
        let rank = weights.config.rank;
        for (pairs, buffer) in weights.layers.iter().zip(&inner.layers) {
            let mut values = vec![0.0; inner.layout.adapter_len];
            for (&projection, pair) in pairs {
                inner.layout.each_value(&inner.config, projection, rank, |at, factor, index| {
                    values[at] = match factor {
                        Factor::A => pair.a[index],
                        Factor::B => pair.b[index],
                    };
                });
            }
            inner.device.write(buffer, place * inner.layout.adapter_len, &values)?;
        }
        let hidden = inner.config.hidden;
        let mut values = vec![0.0; scalar_head_len(hidden)];
        if let Some(head) = head {
            values[..hidden].copy_from_slice(&head.weight);
            values[hidden.next_multiple_of(32)] = head.bias;
        }
        inner.device.write(&inner.heads, place * values.len(), &values)?;
        Ok(())
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.inner.places.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn taken(&self, id: AdapterId) -> Result<Place, AdapterError> {
        let places = self.places();
        let taken = places.taken.get(id.place as usize).copied().flatten();
        taken.filter(|place| place.serial == id.serial).ok_or(AdapterError::Detached)
    }

    /// The slot of `id`.
    pub(crate) fn place(&self, id: AdapterId) -> Result<usize, AdapterError> {
        self.taken(id).map(|_| id.place as usize)
    }

    /// The shape of an adapter.
    ///
    /// # Errors
    ///
    /// [`AdapterError::Detached`] if `id` names nothing.
    pub fn config(&self, id: AdapterId) -> Result<LoraConfig, AdapterError> {
        self.taken(id).map(|place| place.config)
    }

    /// Whether an adapter has a scalar head.
    ///
    /// # Errors
    ///
    /// [`AdapterError::Detached`] if `id` names nothing.
    pub fn has_head(&self, id: AdapterId) -> Result<bool, AdapterError> {
        self.taken(id).map(|place| place.has_head)
    }

    /// The lowest layer that an adapter of the bank changes; the number of layers if there is none.
    pub fn first_layer(&self) -> usize {
        let places = self.places();
        let first = places.taken.iter().flatten().map(|place| place.first_layer).min();
        first.unwrap_or(self.inner.layers.len())
    }

    /// The device that holds the bank.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// Maximum number of attached adapters.
    pub fn capacity(&self) -> usize {
        self.inner.capacity
    }

    /// Device memory held, in bytes.
    pub fn bytes(&self) -> u64 {
        self.inner.layers.iter().map(Buffer::bytes).sum::<u64>() + self.inner.heads.bytes()
    }

    /// The names of the model's modules.
    pub(crate) fn names(&self) -> ModuleNames {
        ModuleNames::of(self.inner.config.architecture)
    }

    pub(crate) fn layout(&self) -> &LoraLayout {
        &self.inner.layout
    }

    /// The factors of all adapters in one layer.
    pub(crate) fn layer(&self, index: usize) -> LoraParams<'_> {
        LoraParams { buffer: &self.inner.layers[index], adapter_len: self.inner.layout.adapter_len }
    }

    /// The scalar heads, `(capacity, scalar_head_len)`.
    pub(crate) fn heads(&self) -> &Buffer<f32> {
        &self.inner.heads
    }

    /// Runs of consecutive rows with the same adapter, from the adapter and the number of rows of each
    /// sequence. Rows without an adapter are in no run.
    pub(crate) fn runs(
        &self,
        sequences: impl IntoIterator<Item = (Option<AdapterId>, usize)>,
    ) -> Result<Vec<LoraRun>, AdapterError> {
        let mut runs: Vec<LoraRun> = Vec::new();
        let mut first_row = 0;
        for (id, rows) in sequences {
            if let Some(id) = id {
                let place = self.taken(id)?;
                let adapter = id.place as usize;
                match runs.last_mut() {
                    Some(run) if run.adapter == adapter && run.first_row + run.rows == first_row => {
                        run.rows += rows;
                    }
                    _ => runs.push(LoraRun { first_row, rows, adapter, scale: place.config.scale() }),
                }
            }
            first_row += rows;
        }
        Ok(runs)
    }
}
