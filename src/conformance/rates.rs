//! The rates of a device, measured by plain kernels.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gpu::{Device, Recording};
use crate::ops::{GRAD_NORM_PARTS, MULTIPLY_ADD_STEPS, ShapeError, grad_norm, multiply_add};

/// What a device reaches without the work of a model, to compare kernels with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Floating-point operations per second of f32 multiplications and additions, by `rate/multiply_add`.
    pub flops_per_second: f64,
    /// Bytes per second that are read from a storage buffer, by `optim/grad_norm`.
    pub read_bytes_per_second: f64,
}

/// A submission is repeated until it takes this long.
const LEAST_TIME: Duration = Duration::from_millis(20);
const MOST_REPEATS: usize = 1 << 12;
/// Submissions that are timed; the shortest counts.
const RUNS: usize = 3;
/// Values and rounds of `multiply_add`, on software drivers and on hardware.
const VALUES: [usize; 2] = [1 << 16, 1 << 22];
const ROUNDS: usize = 64;
/// Bytes that `grad_norm` reads, on software drivers and on hardware: more than caches hold.
const BYTES: [usize; 2] = [64 << 20, 256 << 20];

impl Rates {
    /// Measures `device`, in about half a second on most.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Device`] if the device fails.
    pub fn measure(device: &Device) -> Result<Rates, ShapeError> {
        let capabilities = device.capabilities();
        let hardware = usize::from(!capabilities.software);
        let values = VALUES[hardware];
        let x = device.upload("values to multiply", &vec![1.0f32; values])?;
        let y = device.buffer("multiplied values", values)?;
        let flops = 2.0 * (values * ROUNDS * MULTIPLY_ADD_STEPS) as f64;
        let seconds = seconds(device, &|rec| multiply_add(rec, &x, &y, values, ROUNDS))?;
        let flops_per_second = flops / seconds;
        drop((x, y));

        let most = capabilities.max_binding_bytes.min(capabilities.max_buffer_bytes);
        let len = BYTES[hardware].min(most as usize) / 16 * 4;
        let data = device.buffer("bytes to read", len)?;
        let parts = device.buffer("partial sums", GRAD_NORM_PARTS)?;
        let seconds = self::seconds(device, &|rec| grad_norm(rec, &data, 0, len, &parts, 0))?;
        Ok(Rates { flops_per_second, read_bytes_per_second: (4 * len) as f64 / seconds })
    }
}

/// Seconds of what `record` records once.
fn seconds(
    device: &Device,
    record: &dyn Fn(&mut Recording) -> Result<(), ShapeError>,
) -> Result<f64, ShapeError> {
    let run = |repeats: usize| -> Result<Duration, ShapeError> {
        let mut recording = Recording::new(device);
        for _ in 0..repeats {
            record(&mut recording)?;
        }
        Ok(recording.time()?)
    };
    // The first run compiles.
    run(1)?;
    let mut repeats = 1;
    let mut shortest = run(repeats)?;
    while shortest < LEAST_TIME && repeats < MOST_REPEATS {
        repeats *= 2;
        shortest = run(repeats)?;
    }
    for _ in 1..RUNS {
        shortest = shortest.min(run(repeats)?);
    }
    Ok(shortest.as_secs_f64() / repeats as f64)
}
