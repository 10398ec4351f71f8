//! What is best on which class of adapter: one typed table, no guessing elsewhere.

use super::adapter::Capabilities;

/// The two ways in which the heavy kernels are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// Tile shapes and budgets for one class of adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// Which kernels.
    pub family: KernelFamily,
    /// Arithmetic per submit, in floating-point operations: about a quarter of a second's worth,
    /// so that no watchdog fires and a cancel is heeded soon.
    pub submit_flops: u64,
    /// Decode steps recorded into one submit before the host looks at the tokens.
    pub decode_steps: usize,
    /// Most tokens per forward pass during prefill.
    pub prefill_tokens: usize,
    /// Most rows for which logits are computed at once.
    pub logit_rows: usize,
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
        if software {
            Tuning {
                family,
                submit_flops: 8_000_000_000,
                decode_steps: 1,
                prefill_tokens: 256,
                logit_rows: 32,
            }
        } else {
            Tuning {
                family,
                submit_flops: 200_000_000_000,
                decode_steps: 8,
                prefill_tokens: 512,
                logit_rows: 32,
            }
        }
    }
}
