//! Sound adapters with random damage: always an answer, never a panic.

use std::fs;
use std::sync::OnceLock;

use parr::adapter::Adapter;
use parr::quant::Quant;
use proptest::prelude::*;

use super::*;
use crate::format::mutation::{damage, damages};

/// The files of an adapter as a PEFT directory, and the last as a GGUF file; small enough that damage
/// often meets a header.
fn sound() -> &'static [(String, Vec<u8>)] {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut small = reward_adapter(&llama());
        small.weights = adapter(&llama(), 1, 2.0, "v").weights;
        small.write_peft(&folder.path().join("peft")).unwrap();
        small.head = None;
        small.write_gguf(&folder.path().join("adapter.gguf"), &llama(), Quant::F32).unwrap();
        let peft = names(&folder.path().join("peft")).into_iter().map(|name| format!("peft/{name}"));
        let files = peft.chain(["adapter.gguf".to_owned()]);
        files.map(|name| (name.clone(), fs::read(folder.path().join(&name)).unwrap())).collect()
    })
}

proptest! {
    #![proptest_config(crate::support::cases(512))]

    #[test]
    fn damaged_adapters_never_panic(which in 0usize..5, damages in damages()) {
        assert_eq!(sound().len(), 5);
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("peft")).unwrap();
        for (index, (name, bytes)) in sound().iter().enumerate() {
            let bytes = if index == which { damage(bytes.clone(), &damages) } else { bytes.clone() };
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let path = folder.path().join(if which == 4 { "adapter.gguf" } else { "peft" });
        let model = llama();
        let _ = Adapter::inspect(&path);
        match Adapter::open(&path, &model) {
            // Whatever is still taken keeps its promise: it fits, and all of it is finite.
            Ok(adapter) => {
                adapter.weights.check(&model).unwrap();
                let pairs = adapter.weights.layers.iter().flat_map(|pairs| pairs.values());
                prop_assert!(pairs.flat_map(|pair| pair.a.iter().chain(&pair.b)).all(|value| value.is_finite()));
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{error}"),
        }
    }
}
