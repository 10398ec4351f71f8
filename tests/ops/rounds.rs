//! llvmpipe ends a shader after 65535 rounds of its loops together, without an error.

use parr::gpu::{Device, DeviceError, DeviceOptions, KernelFamily, Recording};
use parr::ops::{
    Activation, AttentionShape, KvFormat, LinearPart, QueryTile, ShapeError, Store, Weight, attention,
    linear_backward,
};
use parr::quant::Quant;
use parr::reference;

use crate::support::gpu;

fn open(family: KernelFamily) -> Device {
    gpu::open(&DeviceOptions { family: Some(family), ..DeviceOptions::default() })
}

/// The largest vocabulary of the models that load.
const VOCABULARY: usize = 262_144;

fn a_gradient_through_the_largest_vocabulary_is_whole(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = open(family);
    const WIDTH: usize = 32;
    let values: Vec<f32> = (0..VOCABULARY * WIDTH).map(|i| ((i * 7) % 11) as f32 / 8.0 - 0.5).collect();
    let mut bytes = Vec::new();
    Quant::Q8_0.encode(&values, &mut bytes);
    let mut decoded = vec![0.0; values.len()];
    Quant::Q8_0.decode(&bytes, &mut decoded);
    let part = LinearPart { quant: Quant::Q8_0, rows: VOCABULARY, bytes: &bytes };
    let weight = Weight::upload(&device, "a head", &[part], WIDTH).expect("9 MiB fit");
    let d_y: Vec<f32> = (0..VOCABULARY).map(|i| ((i * 5) % 13) as f32 / 16.0).collect();
    let gradient = device.upload("gradient of logits", &d_y).expect("1 MiB fits");
    let gradient = Activation { buffer: gradient, rows: 1, width: VOCABULARY, stride: VOCABULARY };
    let found = Activation::new(&device, "result", 1, WIDTH).expect("it fits");
    let mut rec = Recording::new(&device);
    linear_backward(&mut rec, &weight, &gradient, &found, 1, Store::Overwrite).expect("shapes agree");
    rec.submit().expect("a sound recording");
    let found = device.read(&found.buffer, 0, WIDTH).expect("a read");
    let expected = reference::linear_backward(&decoded, WIDTH, &d_y, None);
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-4 * expected.abs(), "{found} for {expected}");
    }
}

/// Attention of one row over `keys` keys that all weigh the same: the mean of their values, which grow.
fn mean_of_values(device: &Device, head_dim: usize, keys: usize) -> Result<f32, ShapeError> {
    let shape = AttentionShape {
        heads: 1,
        kv_heads: 1,
        head_dim,
        slots: 1,
        context: keys,
        window: None,
        scale: 1.0,
        cap: None,
        kv: KvFormat::F32,
    };
    let words = shape.position_words();
    let values: Vec<u32> = (0..keys * words).map(|i| ((i / words) as f32 / keys as f32).to_bits()).collect();
    let (k, v) = (device.buffer("keys", shape.cache_len())?, device.upload("values", &values)?);
    let tiles = device.upload("tiles", &QueryTile::cut(&[1]))?;
    let rows_at = device.upload("rows", &[[0, keys as u32 - 1]])?;
    let q = Activation::new(device, "q", 1, shape.q_width())?;
    let out = Activation::new(device, "out", 1, head_dim)?;
    let mut rec = Recording::new(device);
    attention(&mut rec, &shape, &tiles, 1, 1, &rows_at, &q, &k, &v, &out, None, keys)?;
    rec.submit()?;
    Ok(device.read(&out.buffer, 0, 1)?[0])
}

fn attention_is_whole_or_refused(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = open(family);
    for head_dim in [64, 256] {
        let mut refused = 0;
        for keys in [16_000, 24_000, 32_000, 48_000, 64_000] {
            match mean_of_values(&device, head_dim, keys) {
                Ok(mean) => assert!((mean - 0.5).abs() < 1e-3, "{keys} keys of {head_dim}: {mean}"),
                Err(ShapeError::Device(DeviceError::Limit { what, limit, .. })) => {
                    assert_eq!(
                        (what, limit.contains("llvmpipe")),
                        (format!("attention over {keys} positions"), true)
                    );
                    refused += 1;
                }
                Err(error) => panic!("{keys} keys of {head_dim}: {error}"),
            }
        }
        // Only llvmpipe refuses, and not what is common.
        let limited = device.capabilities().loop_rounds.is_some();
        assert!(refused < 5 && (limited || refused == 0), "{refused} of 5 lengths refused");
    }
}

mod lane8 {
    use super::KernelFamily::Lane8;

    #[test]
    fn a_gradient_through_the_largest_vocabulary_is_whole() {
        super::a_gradient_through_the_largest_vocabulary_is_whole(Lane8);
    }

    #[test]
    fn attention_is_whole_or_refused() {
        super::attention_is_whole_or_refused(Lane8);
    }
}

mod tiled {
    use super::KernelFamily::Tiled;

    #[test]
    fn a_gradient_through_the_largest_vocabulary_is_whole() {
        super::a_gradient_through_the_largest_vocabulary_is_whole(Tiled);
    }

    #[test]
    fn attention_is_whole_or_refused() {
        super::attention_is_whole_or_refused(Tiled);
    }
}
