//! Builds the Vulkan layer and the preloaded library of this folder, and runs programs under them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::gpu;
use crate::support::harness::ignore;

/// The folder of the built libraries. Ends the test as ignored where they cannot be built, unless `GPU_TESTS`
/// is `require`.
fn built() -> &'static Path {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BUILT.get_or_init(build) {
        Ok(folder) => folder,
        Err(reason) if gpu::required() => panic!("GPU_TESTS=require, but {reason}"),
        Err(reason) => ignore(reason),
    }
}

fn build() -> Result<PathBuf, String> {
    if !cfg!(target_os = "linux") {
        return Err("programs are run under faults on Linux only".to_owned());
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    std::fs::copy(source.join("layer.json"), folder.join("layer.json")).map_err(|error| error.to_string())?;
    for name in ["layer", "files"] {
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.join(format!("lib{name}.so")));
        compiler.arg(source.join(format!("{name}.c"))).args(["-lpthread", "-ldl"]);
        let run = compiler.output().map_err(|error| format!("cc cannot be started: {error}"))?;
        if !run.status.success() {
            let said = String::from_utf8_lossy(&run.stderr);
            return Err(format!(
                "{name}.c cannot be compiled; are the Vulkan headers installed (libvulkan-dev)? {said}"
            ));
        }
    }
    Ok(folder)
}

/// Makes `command` run under the Vulkan layer.
pub fn under_layer(command: &mut Command) -> &mut Command {
    command.env("VK_LAYER_PATH", built()).env("VK_INSTANCE_LAYERS", "VK_LAYER_PARR_faults")
}

/// Makes calls of `command` on files below `folder` fail, or counts them.
pub fn under_files<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    command.env("LD_PRELOAD", built().join("libfiles.so")).env("FAULT_FOLDER", folder)
}

/// Reads the numbers of calls that a library wrote to `path`.
pub fn counts(path: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(path).expect("the library writes the counts");
    let pair = |line: &str| {
        let (call, count) = line.split_once(' ').expect("a call and its count");
        (call.to_owned(), count.parse().expect("a number"))
    };
    text.lines().map(pair).collect()
}
