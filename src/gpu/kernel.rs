//! A kernel without a device: its name, its bindings and its variants.

/// How a kernel touches one of its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    Write,
    /// Read as the fragment in this slot of the specialisation does: as `var<storage, read>`, or as
    /// `texture_2d<u32>` if the name of the fragment ends with `_texture`.
    Slot(&'static str),
}

/// One kernel of the registry. Binding 0 is always its `Params` uniform; the others follow
/// from binding 1 in the order of `bindings`.
#[derive(Debug)]
pub struct KernelSpec {
    /// Path of the shader without `.wgsl`, such as `linear/matmul`; also its name in profiles.
    pub name: &'static str,
    /// Size of the `Params` struct in bytes.
    pub params_bytes: usize,
    /// Storage buffers and textures from binding 1 on.
    pub bindings: &'static [Access],
    /// Every specialisation that the library can request; tests link and validate all.
    pub variants: fn() -> Vec<Specialization>,
}

/// One way to compile a kernel; equal specialisations have equal keys. Made only in `ops`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Specialization {
    /// Slots and the fragments that fill them.
    pub slots: Vec<(&'static str, &'static str)>,
    /// Constants of the prelude.
    pub consts: Vec<(&'static str, u32)>,
}

impl Specialization {
    /// A specialisation with `slots` filled and `consts` set.
    pub fn new(slots: &[(&'static str, &'static str)], consts: &[(&'static str, u32)]) -> Self {
        Specialization { slots: slots.to_vec(), consts: consts.to_vec() }
    }

    /// Whether a binding with this access is a texture; otherwise it is a storage buffer.
    pub fn is_texture(&self, access: Access) -> bool {
        let Access::Slot(slot) = access else { return false };
        self.slots.iter().any(|(name, fragment)| *name == slot && fragment.ends_with("_texture"))
    }

    /// Short text for profiles and test reports, such as `weight/q4_1 MT=8 TN=4`.
    pub fn describe(&self) -> String {
        let slots = self.slots.iter().map(|(_, fragment)| (*fragment).to_owned());
        let consts = self.consts.iter().map(|(name, value)| format!("{name}={value}"));
        slots.chain(consts).collect::<Vec<_>>().join(" ")
    }
}
