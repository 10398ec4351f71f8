//! Every specialisation of every kernel, without a GPU: it links, is valid, keeps to a phone's
//! limits, agrees with its host side, and translates to what each platform compiles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use parr::gpu::{
    Access, Device, KernelFamily, KernelSpec, Specialization, compose, shader_names, shader_source,
};
use parr::ops::KERNELS;

/// WebGPU's default limits, which every phone meets.
const PHONE_WORKGROUP_BYTES: u32 = 16 << 10;
const PHONE_WORKGROUP_LANES: u32 = 256;
const PHONE_STORAGE_BUFFERS: usize = 8;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn all() -> Vec<(&'static KernelSpec, Specialization)> {
    KERNELS
        .iter()
        .flat_map(|&spec| (spec.variants)().into_iter().map(move |variant| (spec, variant)))
        .collect()
}

/// Runs `check` on every specialisation, on all cores, and panics with every fault.
fn for_each(check: impl Fn(&'static KernelSpec, &Specialization) -> Result<(), String> + Sync) -> usize {
    let all = all();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let faults: Vec<String> = std::thread::scope(|scope| {
        let check = &check;
        let all = &all;
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    let mine = all.iter().skip(worker).step_by(threads);
                    let fault = |(spec, variant): &(&'static KernelSpec, Specialization)| {
                        let reason = check(spec, variant).err()?;
                        Some(format!("{} {}: {reason}", spec.name, variant.describe()))
                    };
                    mine.filter_map(fault).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a check panicked")).collect()
    });
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults[..faults.len().min(20)].join("\n"));
    all.len()
}

/// Whether a specialisation may use subgroup operations: the lane8 kernels, and those that reduce by
/// subgroup. Every other must do without.
fn by_subgroups(spec: &KernelSpec, variant: &Specialization) -> bool {
    spec.name.ends_with("_lane8") || variant.slots.contains(&("reduce", "reduce/subgroup"))
}

fn validated(spec: &KernelSpec, variant: &Specialization) -> Result<(naga::Module, ModuleInfo), String> {
    let composed = compose(spec.name, &variant.slots, &variant.consts).map_err(|error| error.to_string())?;
    let at = |line: u32| composed.origin(line).map_or(String::new(), |o| format!("{}:{}: ", o.file, o.line));
    let module = naga::front::wgsl::parse_str(&composed.text).map_err(|error| {
        let line = error.location(&composed.text).map_or(0, |location| location.line_number);
        format!("{}{}", at(line), error.message())
    })?;
    // Packed halves are part of WebGPU; only OpenGL ES lacks them.
    let mut allowed = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    allowed.set(Capabilities::SUBGROUP, by_subgroups(spec, variant));
    let info = Validator::new(ValidationFlags::all(), allowed)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|error| error.emit_to_string(&composed.text))?;
    Ok((module, info))
}

#[test]
fn every_specialisation_is_valid_and_translates() {
    let count = for_each(|spec, variant| {
        let (module, info) = validated(spec, variant)?;
        check_bindings(spec, variant, &module)?;
        check_limits(&module)?;
        translate(&module, &info)
    });
    println!("{count} specialisations of {} kernels: linked, validated, SPIR-V, MSL, HLSL", KERNELS.len());
    assert!(count >= 500, "only {count} specialisations: the registry has lost some");
}

/// Binding 0 is the `Params` uniform of the size that the host writes; then the buffers and textures of the spec.
fn check_bindings(spec: &KernelSpec, variant: &Specialization, module: &naga::Module) -> Result<(), String> {
    let mut found = BTreeMap::new();
    for (_, global) in module.global_variables.iter() {
        let Some(binding) = &global.binding else { continue };
        if binding.group != 0 {
            return Err(format!("binding in group {}", binding.group));
        }
        found.insert(binding.binding as usize, global);
    }
    if found.len() != spec.bindings.len() + 1 || found.keys().copied().ne(0..found.len()) {
        return Err(format!("bindings {:?}, expected 0 to {}", found.keys(), spec.bindings.len()));
    }
    if found.len() - 1 > PHONE_STORAGE_BUFFERS {
        return Err(format!("{} storage buffers", found.len() - 1));
    }
    for (&binding, global) in &found {
        let wanted = match binding.checked_sub(1).map(|index| spec.bindings[index]) {
            None => naga::AddressSpace::Uniform,
            Some(access) if variant.is_texture(access) => naga::AddressSpace::Handle,
            Some(Access::Read | Access::Slot(_)) => {
                naga::AddressSpace::Storage { access: naga::StorageAccess::LOAD }
            }
            Some(Access::Write) => {
                naga::AddressSpace::Storage { access: naga::StorageAccess::LOAD | naga::StorageAccess::STORE }
            }
        };
        if global.space != wanted {
            return Err(format!("binding {binding} is {:?}, expected {wanted:?}", global.space));
        }
    }
    let naga::TypeInner::Struct { span, .. } = &module.types[found[&0].ty].inner else {
        return Err("binding 0 is no struct".to_owned());
    };
    if *span as usize != spec.params_bytes {
        return Err(format!("Params takes {span} bytes, the host writes {}", spec.params_bytes));
    }
    Ok(())
}

/// wgpu checks neither workgroup memory nor lanes that come from constants on every back end.
fn check_limits(module: &naga::Module) -> Result<(), String> {
    let context = module.to_ctx();
    let shared =
        module.global_variables.iter().filter(|(_, global)| global.space == naga::AddressSpace::WorkGroup);
    let bytes: u32 = shared.map(|(_, global)| module.types[global.ty].inner.size(context)).sum();
    if bytes > PHONE_WORKGROUP_BYTES {
        return Err(format!("{bytes} bytes of workgroup memory"));
    }
    let [entry] = &module.entry_points[..] else { return Err("more than one entry point".to_owned()) };
    let lanes: u32 = entry.workgroup_size.iter().product();
    if entry.name != "main" || lanes > PHONE_WORKGROUP_LANES {
        return Err(format!("entry point `{}` of {lanes} lanes", entry.name));
    }
    Ok(())
}

fn translate(module: &naga::Module, info: &ModuleInfo) -> Result<(), String> {
    let pipeline = naga::back::spv::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: "main".to_owned(),
    };
    // Vulkan 1.1, where subgroups begin.
    let options = naga::back::spv::Options { lang_version: (1, 3), ..Default::default() };
    let words = naga::back::spv::write_vec(module, info, &options, Some(&pipeline))
        .map_err(|error| format!("SPIR-V: {error}"))?;
    let options = naga::back::msl::Options { lang_version: (2, 4), ..Default::default() };
    let (metal, _) = naga::back::msl::write_string(module, info, &options, &Default::default())
        .map_err(|error| format!("MSL: {error}"))?;
    let options = naga::back::hlsl::Options {
        shader_model: naga::back::hlsl::ShaderModel::V6_0,
        fake_missing_bindings: true,
        ..Default::default()
    };
    let mut direct = String::new();
    naga::back::hlsl::Writer::new(&mut direct, &options, &Default::default())
        .write(module, info, None)
        .map_err(|error| format!("HLSL: {error}"))?;
    let entry = metal.contains("kernel void") && direct.contains("numthreads") && words.len() > 100;
    if entry { Ok(()) } else { Err("a translation has no entry point".to_owned()) }
}

/// The kernels of each family must run where there are neither subgroups nor f16.
#[test]
fn the_tiled_family_needs_no_subgroups() {
    let plain = |spec: &KernelSpec| (spec.variants)().iter().any(|variant| !by_subgroups(spec, variant));
    for spec in KERNELS.iter().filter(|spec| !spec.name.ends_with("_lane8")) {
        assert!(plain(spec), "{} has no variant without subgroups", spec.name);
    }
    for name in shader_names() {
        let source = shader_source(name).expect("a listed shader");
        let enables = source.lines().any(|line| line.trim_start().starts_with("enable "));
        assert!(!enables, "{name} enables an extension; only the host may");
    }
}

/// wgpu's own checks, on a device with a phone's limits that computes nothing.
#[test]
fn every_specialisation_becomes_a_pipeline_within_a_phones_limits() {
    let device = Device::noop(KernelFamily::Tiled).expect("the noop back end is built in");
    let limits = device.capabilities();
    assert!(
        limits.max_workgroup_bytes <= PHONE_WORKGROUP_BYTES
            && limits.max_workgroup_lanes <= PHONE_WORKGROUP_LANES
    );
    let count = for_each(|spec, variant| {
        device.pipeline(spec, variant).map(|_| ()).map_err(|error| error.to_string())
    });
    println!("{count} pipelines");
}

#[test]
fn the_folder_and_the_list_agree() {
    let mut files = BTreeSet::new();
    walk(&root().join("shaders"), &mut |path| {
        if path.extension().is_some_and(|extension| extension == "wgsl") {
            let relative = path.strip_prefix(root().join("shaders")).expect("inside the folder");
            files.insert(relative.with_extension("").to_string_lossy().replace('\\', "/"));
        }
    });
    let listed: BTreeSet<String> = shader_names().map(str::to_owned).collect();
    assert_eq!(files, listed, "shaders/ and the list in src/gpu/source.rs differ");

    // Each file says what it is, and each is used.
    let mut used = BTreeSet::new();
    for (spec, variant) in all() {
        let composed = compose(spec.name, &variant.slots, &variant.consts).expect("it links");
        used.extend(composed.origins.into_iter().map(|origin| origin.file));
    }
    for name in &listed {
        let source = shader_source(name).expect("a listed shader");
        let head = source.lines().next().unwrap_or_default();
        assert!(head.starts_with(&format!("// {name}: ")), "{name}.wgsl begins with `{head}`");
        assert!(used.contains(name), "no kernel uses {name}");
        // Only kernels bind, and the fragments that read a buffer or a texture: others use what these declare.
        let binds = source.contains("@binding(");
        let may = name.starts_with("read/") || KERNELS.iter().any(|spec| spec.name == name);
        assert_eq!(binds, may, "{name} binds: {binds}");
    }
}

fn walk(directory: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(directory).expect("a folder of the repository") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

/// Name and type of each four-byte field; arrays of padding become so many fields.
type Fields = Vec<(String, String)>;

/// The fields of `struct name` in Rust source.
fn rust_fields(source: &str, name: &str) -> Option<Fields> {
    let body = source.split(&format!("struct {name} {{")).nth(1)?.split("\n}").next()?;
    let mut fields = Fields::new();
    for line in body.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        let Some((field, kind)) = line.trim_end_matches(',').split_once(": ") else { continue };
        let field = field.trim_start_matches("pub ").to_owned();
        match kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')?.split_once("; ")) {
            Some((kind, count)) => {
                let count: usize = count.parse().expect("a literal length");
                fields.extend((0..count).map(|_| (field.clone(), kind.to_owned())));
            }
            None => fields.push((field, kind.to_owned())),
        }
    }
    Some(fields)
}

/// The fields of a WGSL struct, which must stand at 0, 4, 8 and so on.
fn shader_fields(module: &naga::Module, name: &str) -> Option<Fields> {
    let (_, found) = module.types.iter().find(|(_, kind)| kind.name.as_deref() == Some(name))?;
    let naga::TypeInner::Struct { members, .. } = &found.inner else { return None };
    let field = |(index, member): (usize, &naga::StructMember)| {
        assert_eq!(member.offset as usize, 4 * index, "offset of {:?}", member.name);
        let kind = match module.types[member.ty].inner {
            naga::TypeInner::Scalar(naga::Scalar::U32) => "u32",
            naga::TypeInner::Scalar(naga::Scalar::F32) => "f32",
            ref other => panic!("{:?} is {other:?}", member.name),
        };
        (member.name.clone().expect("named members"), kind.to_owned())
    };
    Some(members.iter().enumerate().map(field).collect())
}

fn same_layout(host: &Fields, shader: &Fields) -> bool {
    let is_padding = |name: &str| name.starts_with("pad");
    host.len() == shader.len()
        && host.iter().zip(shader).all(|((a, host_type), (b, shader_type))| {
            (a == b || is_padding(a) && is_padding(b)) && host_type == shader_type
        })
}

/// Every `Params` has the same fields, by name, type and order, on both sides. The Rust structs are
/// private, so their source is read: all fields are four bytes wide, so order is offset.
#[test]
fn params_agree_with_the_host_field_by_field() {
    let mut sources = Vec::new();
    walk(&root().join("src/ops"), &mut |path| {
        sources.push(std::fs::read_to_string(path).expect("source is text"));
    });
    for spec in KERNELS {
        let owner = sources.iter().find(|source| source.contains(&format!("name: \"{}\"", spec.name)));
        let owner = owner.unwrap_or_else(|| panic!("no file of src/ops registers {}", spec.name));
        let entry = owner.split(&format!("name: \"{}\"", spec.name)).nth(1).expect("just found");
        let host_name = entry.split("size_of::<").nth(1).and_then(|rest| rest.split('>').next());
        let host_name = host_name.unwrap_or_else(|| panic!("{} states no params_bytes", spec.name));
        let host = rust_fields(owner, host_name).unwrap_or_else(|| panic!("no struct {host_name}"));
        let variant = (spec.variants)().swap_remove(0);
        let (module, _) = validated(spec, &variant).expect("a valid kernel");
        let shader =
            shader_fields(&module, "Params").unwrap_or_else(|| panic!("{} has no Params", spec.name));
        assert!(same_layout(&host, &shader), "{}: host {host:?}, shader {shader:?}", spec.name);
    }
}

/// The same for the elements of buffers that the host fills.
#[test]
fn elements_agree_with_the_host_field_by_field() {
    for (file, host_name, kernel, name) in [
        ("sample.rs", "SampleRow", "sample/sample", "Row"),
        ("lora/site.rs", "LoraTile", "lora/shrink_lane8", "Tile"),
    ] {
        let source = std::fs::read_to_string(root().join("src/ops").join(file)).expect("source is text");
        let host = rust_fields(&source, host_name).expect("a struct");
        let spec = KERNELS.iter().find(|spec| spec.name == kernel).expect("a registered kernel");
        let (module, _) = validated(spec, &(spec.variants)().swap_remove(0)).expect("a valid kernel");
        assert_eq!(host, shader_fields(&module, name).expect("a struct"), "{host_name}");
    }
}

/// A few composed modules as text, so that a change of the linker or of a fragment shows in review.
/// `UPDATE_SNAPSHOTS=1` writes them anew.
#[test]
fn composed_modules_look_as_before() {
    let chosen = [
        ("linear/matvec_tiled", "read/weight_buffer weight/q4_k reduce/workgroup MT=1", "matvec_tiled_q4_k"),
        (
            "linear/matmul_lane8",
            "read/weight_texture read/operand_texture weight/q4_1 MT=1 TN=2",
            "matmul_lane8_q4_1",
        ),
        ("linear/matmul_transposed_tiled", "read/weight_buffer weight/q6_k", "matmul_transposed_tiled_q6_k"),
        ("rope/rope", "kv/write_f16 WG=32 HEAD_DIM=64", "rope_f16_64"),
        ("sample/sample", "", "sample"),
    ];
    let update = std::env::var("UPDATE_SNAPSHOTS").is_ok_and(|value| value == "1");
    for (name, prefix, file) in chosen {
        let spec = KERNELS.iter().find(|spec| spec.name == name).expect("a registered kernel");
        let variant = (spec.variants)().into_iter().find(|variant| variant.describe().starts_with(prefix));
        let variant = variant.unwrap_or_else(|| panic!("{name} has no variant {prefix}"));
        let text = compose(name, &variant.slots, &variant.consts).expect("it links").text;
        let path: PathBuf = root().join("tests/snapshots").join(file).with_extension("wgsl");
        if update {
            std::fs::write(&path, &text).expect("a writable snapshot");
        }
        let before = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        let same = before.lines().zip(text.lines()).take_while(|(a, b)| a == b).count();
        assert!(
            before == text,
            "{name} differs from {} at line {}; if that is meant, run with UPDATE_SNAPSHOTS=1",
            path.display(),
            same + 1
        );
    }
}

/// What the linker refuses, by the words that the author reads: file and line first.
#[test]
fn faults_of_linking_name_file_and_line() {
    let matvec = "linear/matvec_tiled";
    let complaint = |root: &str, slots: &[(&str, &str)], consts: &[(&str, u32)]| {
        compose(root, slots, consts).expect_err("a fault").to_string()
    };
    assert_eq!(
        complaint("linear/nothing", &[], &[]),
        "shader `linear/nothing` does not exist (wanted by the host)"
    );
    let words = ("weight_words", "read/weight_buffer");
    let empty = complaint(matvec, &[words, ("reduce", "reduce/workgroup")], &[]);
    assert!(
        empty.starts_with("linear/matvec_tiled:") && empty.ends_with("slot `weight` is not filled"),
        "{empty}"
    );
    let reduction = "reduce/workgroup";
    let wrong = complaint(matvec, &[words, ("weight", reduction), ("reduce", reduction)], &[]);
    assert_eq!(wrong, "fragment `reduce/workgroup` does not provide slot `weight` of `linear/matvec_tiled`");
    let extra = complaint("mlp/glu", &[("gate", "mlp/silu"), ("weight", "weight/q4_1")], &[]);
    assert_eq!(extra, "fragment `weight/q4_1` does not provide slot `weight` of `mlp/glu`");
    let operand = ("operand", "read/operand_buffer");
    let unbounded = complaint("linear/matmul_lane8", &[words, operand, ("weight", "weight/q4_1")], &[]);
    assert!(
        unbounded.starts_with("linear/matmul_lane8:") && unbounded.contains("cannot unroll"),
        "{unbounded}"
    );
}

/// A fault that only the compiler sees is told at the author's line, not at that of the composed text.
#[test]
fn faults_of_compiling_name_the_authors_line() {
    let device = Device::noop(KernelFamily::Tiled).expect("the noop back end is built in");
    let spec = KERNELS.iter().find(|spec| spec.name == "mlp/glu").expect("a registered kernel");
    let without_lanes = Specialization::new(&[("gate", "mlp/silu")], &[]);
    let complaint = device.pipeline(spec, &without_lanes).expect_err("WG is missing").to_string();
    let source = shader_source("mlp/glu").expect("a listed shader");
    let line = source.lines().position(|line| line.contains("workgroup.x * WG")).expect("a use of WG") + 1;
    assert!(complaint.starts_with(&format!("mlp/glu:{line}: ")), "{complaint}");
}
