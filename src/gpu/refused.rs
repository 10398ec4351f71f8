//! Kernels that a driver refused to compile, remembered on disk.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::by_device;
use super::kernel::{KernelSpec, Specialization};
use super::tuning::KernelFamily;
use crate::cache;

/// A kernel that the driver refused to compile, which costs the device. The other kernel family is used for
/// it from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedKernel {
    /// Name of the kernel without the suffix of its family, such as `linear/matmul`.
    pub kernel: String,
    /// Name of the family: `lane8` or `tiled`.
    pub family: String,
    /// The specialisation.
    pub variant: String,
}

impl RefusedKernel {
    /// The entry for a specialisation; `None` if the kernel is the same in both families, so that there is
    /// nothing to use instead.
    pub(super) fn of(spec: &KernelSpec, variant: &Specialization) -> Option<Self> {
        let by_reduction = || {
            let (_, fragment) = variant.slots.iter().find(|(slot, _)| *slot == "reduce")?;
            Some((spec.name, if *fragment == "reduce/subgroup" { "lane8" } else { "tiled" }))
        };
        let (kernel, family) = match spec.name.rsplit_once('_') {
            Some((kernel, family @ ("lane8" | "tiled"))) => (kernel, family),
            _ => by_reduction()?,
        };
        Some(RefusedKernel {
            kernel: kernel.to_owned(),
            family: family.to_owned(),
            variant: variant.describe(),
        })
    }
}

/// The refused kernels of one driver, and the file that holds those of all drivers.
#[derive(Debug, Default)]
pub(super) struct RefusedKernels {
    file: Option<PathBuf>,
    driver: String,
    list: Vec<RefusedKernel>,
}

impl RefusedKernels {
    /// Those of the adapter's driver in the cache directory.
    pub fn read(info: &wgpu::AdapterInfo) -> Self {
        let file = cache::directory().map(|directory| directory.join("refused-kernels.json"));
        Self::read_from(file, by_device::key(info))
    }

    fn read_from(file: Option<PathBuf>, driver: String) -> Self {
        let list = file.as_deref().and_then(|file| by_device::read(file).remove(&driver));
        RefusedKernels { file, driver, list: list.unwrap_or_default() }
    }

    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub fn list(&self) -> &[RefusedKernel] {
        &self.list
    }

    /// Whether one of `kernels` is refused in `family`.
    pub fn any(&self, kernels: &[&str], family: KernelFamily) -> bool {
        self.list
            .iter()
            .any(|refused| refused.family == family.name() && kernels.contains(&refused.kernel.as_str()))
    }

    /// Adds a kernel and writes the file. If that fails, the next run meets the same refusal again.
    pub fn add(&mut self, kernel: RefusedKernel) {
        if self.list.contains(&kernel) {
            return;
        }
        self.list.push(kernel);
        let Some(file) = &self.file else { return };
        // Another process may have added others.
        let mut table = by_device::read::<Vec<RefusedKernel>>(file);
        let stored = table.entry(self.driver.clone()).or_default();
        stored
            .extend(self.list.iter().filter(|kernel| !stored.contains(kernel)).cloned().collect::<Vec<_>>());
        let _ = by_device::write(file, &table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &str, family: &str) -> RefusedKernel {
        RefusedKernel { kernel: name.into(), family: family.into(), variant: "MT=8".into() }
    }

    #[test]
    fn refusals_are_kept_by_driver() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let file = folder.path().join("cache/refused-kernels.json");
        let open = |driver: &str| RefusedKernels::read_from(Some(file.clone()), driver.to_owned());
        assert!(open("one").list().is_empty(), "there is no file");

        let mut one = open("one");
        let mut beside = open("one");
        one.add(kernel("linear/matmul", "lane8"));
        one.add(kernel("linear/matmul", "lane8"));
        beside.add(kernel("attention/attention", "lane8"));
        let again = open("one");
        assert_eq!(again.list().len(), 2, "both processes added one");
        assert!(again.any(&["embed", "linear/matmul"], KernelFamily::Lane8));
        assert!(!again.any(&["linear/matmul"], KernelFamily::Tiled));
        assert!(!again.any(&["linear/matvec"], KernelFamily::Lane8));
        assert!(open("another version").list().is_empty());

        std::fs::write(&file, "{\"one\": 3").expect("writable");
        assert!(open("one").list().is_empty(), "a damaged file counts as none");
    }

    #[test]
    fn kernels_of_both_families_have_nothing_in_their_place() {
        let spec = |name| KernelSpec { name, params_bytes: 16, bindings: &[], variants: Vec::new };
        let plain = Specialization::new(&[("weight", "weight/q4_0")], &[("MT", 8)]);
        let of = |name, variant: &Specialization| {
            RefusedKernel::of(&spec(name), variant).map(|entry| (entry.kernel, entry.family))
        };
        assert_eq!(of("linear/matmul_lane8", &plain), Some(("linear/matmul".into(), "lane8".into())));
        assert_eq!(of("linear/matmul_tiled", &plain), Some(("linear/matmul".into(), "tiled".into())));
        assert_eq!(of("embed/embed", &plain), None);
        let reduction = Specialization::new(&[("reduce", "reduce/subgroup")], &[]);
        assert_eq!(of("norm/rms_norm", &reduction), Some(("norm/rms_norm".into(), "lane8".into())));
    }
}
