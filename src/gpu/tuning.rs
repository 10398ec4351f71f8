//! The settings of an adapter: rules by class of adapter, and what was measured on it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::adapter::Capabilities;
use super::tile::Tile;
use super::tuned::{Outputs, Tuned};

/// The two families of the heavy kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelFamily {
    /// Workgroups of one 8-lane subgroup that pass operands by shuffle. Software drivers
    /// (llvmpipe): a shuffle costs a tenth of a load there, and workgroup memory saves nothing.
    Lane8,
    /// Workgroups of many lanes that share tiles through workgroup memory. Hardware; needs neither
    /// subgroups nor f16 arithmetic, so it runs everywhere.
    Tiled,
}

impl KernelFamily {
    /// The name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            KernelFamily::Lane8 => "lane8",
            KernelFamily::Tiled => "tiled",
        }
    }

    /// The family of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [KernelFamily::Lane8, KernelFamily::Tiled].into_iter().find(|family| family.name() == name)
    }
}

/// Where kernels read quantized weights, and the `lane8` products also their other operand. Results do not
/// depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loads {
    /// Storage buffers.
    Buffers,
    /// Textures that hold the same words. llvmpipe writes a texel to a constant place in a vector register.
    /// It writes a word from a buffer to a computed place, which goes through the stack if the CPU has no
    /// AVX-512.
    Textures,
}

impl Loads {
    /// The name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Loads::Buffers => "buffers",
            Loads::Textures => "textures",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Loads::Buffers, Loads::Textures].into_iter().find(|loads| loads.name() == name)
    }

    /// The faster one for `family` with this driver, if it is known: on llvmpipe without AVX-512.
    fn for_driver(software: bool, driver: &str, family: KernelFamily, avx512: bool) -> Self {
        let llvmpipe = software && mesa_major(driver).is_some();
        if llvmpipe && family == KernelFamily::Lane8 && !avx512 { Loads::Textures } else { Loads::Buffers }
    }
}

/// Tile shapes and budgets for one class of adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// The kernel family.
    pub family: KernelFamily,
    /// Arithmetic per submit, in floating-point operations: about a quarter of a second, so that no
    /// watchdog fires and a cancel takes effect soon.
    pub submit_flops: u64,
    /// Decode steps recorded into one submit before the host reads the tokens.
    pub decode_steps: usize,
    /// Maximum number of tokens per forward pass during prefill.
    pub prefill_tokens: usize,
    /// The same while other sequences decode, which wait for the pass.
    pub chunk_tokens: usize,
    /// Maximum number of rows for which logits are computed at once.
    pub logit_rows: usize,
    /// Where kernels read weights.
    pub loads: Loads,
    /// The full tile of `linear/matmul_lane8` where nothing was measured.
    pub lane8_tile: Lane8Tile,
    /// What was measured on the device.
    pub tuned: Option<Arc<Tuned>>,
}

/// The part of a product that one workgroup of `linear/matmul_lane8` computes if there are enough rows.
/// Results do not depend on it. The time does, depending on the driver: `crate::guide::measurements`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane8Tile {
    /// 4 rows of x by 2 columns per lane.
    Small,
    /// 8 by 4.
    Middle,
    /// 16 by 8.
    Large,
}

impl Lane8Tile {
    /// All tiles.
    pub const ALL: [Lane8Tile; 3] = [Lane8Tile::Small, Lane8Tile::Middle, Lane8Tile::Large];

    /// Rows of x, and columns per lane.
    pub fn shape(self) -> (u32, u32) {
        match self {
            Lane8Tile::Small => (4, 2),
            Lane8Tile::Middle => (8, 4),
            Lane8Tile::Large => (16, 8),
        }
    }

    /// The fastest tile with this driver, on a CPU with or without AVX-512, if weights are in buffers.
    ///
    /// Before about LLVM 19, llvmpipe without AVX-512 loads through the stack, so a tile should reuse loaded
    /// values as often as possible. Newer versions keep small tiles in registers.
    fn for_driver(driver: &str, avx512: bool) -> Self {
        match mesa_major(driver) {
            Some(26..) => Lane8Tile::Small,
            Some(..=22) if !avx512 => Lane8Tile::Large,
            _ => Lane8Tile::Middle,
        }
    }
}

/// The major version of Mesa in a driver's description, such as `llvmpipe Mesa 22.3.6 (LLVM 15.0.6)`.
fn mesa_major(driver: &str) -> Option<u32> {
    let (_, version) = driver.split_once("Mesa ")?;
    version.split('.').next()?.parse().ok()
}

pub(super) fn avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl Tuning {
    /// The entry for an adapter, or for `family` on it.
    pub fn for_adapter(capabilities: &Capabilities, family: Option<KernelFamily>) -> Self {
        let software = capabilities.software;
        let family = family.unwrap_or(if software && capabilities.subgroup_sizes == (8, 8) {
            KernelFamily::Lane8
        } else {
            KernelFamily::Tiled
        });
        let loads = Loads::for_driver(software, &capabilities.driver, family, avx512());
        let lane8_tile = Lane8Tile::for_driver(&capabilities.driver, avx512());
        if software {
            Tuning {
                family,
                submit_flops: 8_000_000_000,
                decode_steps: 1,
                prefill_tokens: 256,
                chunk_tokens: 64,
                logit_rows: 32,
                loads,
                lane8_tile,
                tuned: None,
            }
        } else {
            Tuning {
                family,
                submit_flops: 200_000_000_000,
                decode_steps: 8,
                prefill_tokens: 512,
                chunk_tokens: 256,
                logit_rows: 32,
                loads,
                lane8_tile,
                tuned: None,
            }
        }
    }

    /// The settings with the results of `tuned`. They replace rules, but not what the app chose: `family` and
    /// `loads`.
    pub(super) fn with_tuned(
        capabilities: &Capabilities,
        family: Option<KernelFamily>,
        loads: Option<Loads>,
        tuned: Option<Arc<Tuned>>,
    ) -> Self {
        // A file cannot make a device run what it cannot run.
        let runs = |family: &KernelFamily| *family == KernelFamily::Tiled || !capabilities.is_narrow();
        let measured = tuned.as_ref().and_then(|tuned| tuned.family).filter(runs);
        let mut tuning = Tuning::for_adapter(capabilities, family.or(measured));
        if let Some(tuned) = &tuned {
            // Measured with the family that is used if the app chooses none.
            let usual = Tuning::for_adapter(capabilities, measured).family;
            if let Some(loads) = tuned.loads.filter(|_| tuning.family == usual) {
                tuning.loads = loads;
            }
            if let Some(rate) = tuned.flops_per_second {
                tuning.submit_flops = (rate / 4.0).clamp(LEAST_SUBMIT_FLOPS, MOST_SUBMIT_FLOPS) as u64;
            }
        }
        if let Some(loads) = loads {
            tuning.loads = loads;
        }
        tuning.tuned = tuned;
        tuning
    }

    /// The fastest tile for `rows` rows of a product, among those of the device's family that `allowed` accepts.
    /// `None` if none was measured.
    pub(crate) fn fastest(
        &self,
        format: &str,
        loads: Loads,
        outputs: usize,
        rows: usize,
        allowed: impl Fn(Tile) -> bool,
    ) -> Option<Tile> {
        let product = self.tuned.as_ref()?.product(format, Outputs::of(outputs), loads)?;
        product.fastest(rows, allowed)
    }
}

/// Bounds of the work of a submit, in floating-point operations.
const LEAST_SUBMIT_FLOPS: f64 = 1e9;
const MOST_SUBMIT_FLOPS: f64 = 2e12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_in_textures_where_that_was_measured_to_be_faster() {
        let mesa = "llvmpipe Mesa 22.3.6 (LLVM 15.0.6)";
        let loads = Loads::for_driver;
        assert_eq!(loads(true, mesa, KernelFamily::Lane8, false), Loads::Textures);
        assert_eq!(loads(true, mesa, KernelFamily::Lane8, true), Loads::Buffers);
        assert_eq!(loads(true, mesa, KernelFamily::Tiled, false), Loads::Buffers);
        assert_eq!(loads(true, "SwiftShader driver 5.0.0", KernelFamily::Lane8, false), Loads::Buffers);
        assert_eq!(loads(false, "radv Mesa 25.0.7", KernelFamily::Lane8, false), Loads::Buffers);
        for loads in [Loads::Buffers, Loads::Textures] {
            assert_eq!(Loads::from_name(loads.name()), Some(loads));
        }
        assert_eq!(Loads::from_name("fast"), None);
    }

    #[test]
    fn tiles_go_by_what_was_measured_and_are_as_before_elsewhere() {
        let tile = Lane8Tile::for_driver;
        assert_eq!(tile("llvmpipe Mesa 22.3.6 (LLVM 15.0.6)", false), Lane8Tile::Large);
        assert_eq!(tile("llvmpipe Mesa 22.3.6 (LLVM 15.0.6)", true), Lane8Tile::Middle);
        assert_eq!(tile("llvmpipe Mesa 25.0.7-2 (LLVM 19.1.7)", false), Lane8Tile::Middle);
        assert_eq!(tile("llvmpipe Mesa 26.2.6-1 (LLVM 22.1.8)", true), Lane8Tile::Small);
        assert_eq!(tile("SwiftShader driver 5.0.0", false), Lane8Tile::Middle);
        assert_eq!(tile("Mesa of tomorrow", false), Lane8Tile::Middle);
    }
}
