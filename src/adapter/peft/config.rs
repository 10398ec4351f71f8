//! `adapter_config.json`: PEFT's options, and those that are refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fancy_regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::adapter::AdapterFileError;
use crate::adapter::stored::{Factors, module};
use crate::format::LoadError;
use crate::format::json::Object;
use crate::model::ModelConfig;
use crate::model::lora::{ModuleNames, Projection};

/// Maximum entries of a list or a map; PEFT itself writes at most one per module.
const MAX_ENTRIES: usize = 1 << 14;
/// Maximum size of one pattern in bytes.
const MAX_PATTERN: usize = 1 << 12;
/// Maximum backtracking steps in one match: names have forty characters, and real patterns need hundreds.
const MAX_STEPS: usize = 100_000;

/// Hint for adapters that do not compute `W x + scale B (A x)`.
const HINT: &str = "merge it into its base with PEFT (merge_and_unload) and use the merged model";

/// The options that determine the modules with factors, their ranks and their scales.
#[derive(Debug)]
pub(in crate::adapter) struct PeftConfig {
    /// The file, for messages.
    path: PathBuf,
    pub rs_lora: bool,
    /// `base_model_name_or_path`.
    pub base: Option<String>,
    rank: usize,
    alpha: f32,
    rank_pattern: Vec<(Regex, usize)>,
    alpha_pattern: Vec<(Regex, f32)>,
    targets: Modules,
    exclude: Option<Modules>,
    /// `layers_to_transform`.
    layers: Option<Vec<usize>>,
    layers_pattern: Vec<Regex>,
}

/// A choice of modules by name.
#[derive(Debug)]
enum Modules {
    /// Every linear layer except the output matrix.
    AllLinear,
    /// Whole names, or the parts after a dot.
    Names(Vec<String>),
    /// Whole names that match a pattern.
    Pattern(Regex),
}

impl PeftConfig {
    pub(super) fn read(path: &Path, json: &Value) -> Result<PeftConfig, AdapterFileError> {
        let config = Object::new(path, json);
        refuse_variants(&config)?;
        let Some(targets) = modules(&config, "target_modules")? else {
            return Err(config.bad("target_modules", "is missing").into());
        };
        let patterns = |key: &str| -> Result<Vec<Regex>, LoadError> {
            let texts = texts(&config, key)?.unwrap_or_default();
            // Built as in PEFT, so that a pattern with a `|` has the same meaning.
            let whole =
                |text: &String| compile(&config, key, &format!(r"\A(?:(?:^|.*?\.){text}\.(?P<idx>\d+)\.)"));
            texts.iter().map(whole).collect()
        };
        let index = |value: &Value| usize::try_from(value.as_u64()?).ok();
        let layers =
            config.typed("layers_to_transform", "a layer or a list of layers", |value| match value {
                Value::Array(list) => list.iter().map(index).collect(),
                other => index(other).map(|layer| vec![layer]),
            })?;
        let config = PeftConfig {
            path: path.to_owned(),
            rs_lora: config.flag("use_rslora")?.unwrap_or(false),
            base: config.text("base_model_name_or_path")?.filter(|name| !name.is_empty()).map(str::to_owned),
            // PEFT's defaults.
            rank: config.count("r")?.unwrap_or(8),
            alpha: config.float("lora_alpha")?.unwrap_or(8.0),
            rank_pattern: by_pattern(&config, "rank_pattern", "a rank", index)?,
            alpha_pattern: by_pattern(&config, "alpha_pattern", "a number", |value| {
                value.as_f64().map(|alpha| alpha as f32).filter(|alpha| alpha.is_finite())
            })?,
            targets,
            exclude: modules(&config, "exclude_modules")?,
            layers: layers.filter(|layers| !layers.is_empty()),
            layers_pattern: patterns("layers_pattern")?,
        };
        if config.layers.is_some() && !matches!(config.targets, Modules::Names(_)) {
            return Err(config.bad("layers_to_transform", "needs `target_modules` as a list").into());
        }
        for other in ["lm_head", "model.embed_tokens"] {
            if config.targets_module(other)? {
                let what =
                    format!("`target_modules` names `{other}`, only decoder projections can have factors");
                return Err(LoadError::unsupported(path, what, HINT).into());
            }
        }
        Ok(config)
    }

    fn bad(&self, key: &str, rule: impl Into<String>) -> LoadError {
        LoadError::metadata(&self.path, key, None, rule)
    }

    /// Numerator of the scale at `module`, whose factors have `rank`.
    pub(super) fn alpha(&self, module: &str, rank: usize) -> Result<f32, LoadError> {
        let wanted = self.first(&self.rank_pattern, module)?.unwrap_or(self.rank);
        if wanted != rank {
            let rule = format!("gives rank {wanted} for `{module}`, but its factors have rank {rank}");
            return Err(self.bad("r", rule));
        }
        Ok(self.first(&self.alpha_pattern, module)?.unwrap_or(self.alpha))
    }

    /// Checks that exactly the modules of the configuration have factors. PEFT would initialize missing
    /// factors and ignore additional ones, both with a warning.
    pub(in crate::adapter) fn check(
        &self,
        factors: &BTreeMap<(usize, Projection), Factors>,
        model: &ModelConfig,
    ) -> Result<(), AdapterFileError> {
        for layer in 0..model.layers.len() {
            // A pair for a matrix that the layer lacks is refused when the factors are checked.
            for projection in Projection::ALL.into_iter().filter(|one| one.is_of(&model.layers[layer])) {
                let module = module(ModuleNames::of(model.architecture), layer, projection);
                match (self.targets_module(&module)?, factors.contains_key(&(layer, projection))) {
                    (true, false) => {
                        let path = self.path.with_file_name(super::WEIGHTS);
                        let tensor = super::tensor_name(&module, "A");
                        return Err(LoadError::MissingTensor { path, tensor }.into());
                    }
                    (false, true) => {
                        let rule = format!("leaves out `{module}`, but there are factors for it");
                        return Err(self.bad("target_modules", rule).into());
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Whether `module` has factors, by PEFT's rules.
    fn targets_module(&self, module: &str) -> Result<bool, LoadError> {
        if let Some(exclude) = &self.exclude
            && self.choose(exclude, "exclude_modules", module)?
        {
            return Ok(false);
        }
        if !self.choose(&self.targets, "target_modules", module)? {
            return Ok(false);
        }
        let Some(layers) = &self.layers else {
            return Ok(true);
        };
        let found = if self.layers_pattern.is_empty() {
            // The first number between dots.
            module.split('.').find_map(|part| part.parse().ok())
        } else {
            self.layer_by_pattern(module)?
        };
        Ok(found.is_some_and(|layer| layers.contains(&layer)))
    }

    fn layer_by_pattern(&self, module: &str) -> Result<Option<usize>, LoadError> {
        for pattern in &self.layers_pattern {
            let found = pattern.captures(module).map_err(|error| self.slow("layers_pattern", &error))?;
            if let Some(found) = found {
                return Ok(found.name("idx").and_then(|index| index.as_str().parse().ok()));
            }
        }
        Ok(None)
    }

    fn choose(&self, modules: &Modules, key: &str, module: &str) -> Result<bool, LoadError> {
        match modules {
            Modules::AllLinear => Ok(module.starts_with("model.layers.")),
            Modules::Names(names) => Ok(names.iter().any(|name| {
                module.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            })),
            Modules::Pattern(pattern) => pattern.is_match(module).map_err(|error| self.slow(key, &error)),
        }
    }

    /// The value of the first pattern that matches `module`.
    fn first<T: Copy>(&self, patterns: &[(Regex, T)], module: &str) -> Result<Option<T>, LoadError> {
        for (pattern, value) in patterns {
            if pattern.is_match(module).map_err(|error| self.slow("rank_pattern or alpha_pattern", &error))? {
                return Ok(Some(*value));
            }
        }
        Ok(None)
    }

    fn slow(&self, key: &str, error: &fancy_regex::Error) -> LoadError {
        self.bad(key, format!("is a pattern that cannot be matched: {error}"))
    }
}

/// Refuses everything other than plain LoRA on unchanged weights; the error names the option.
fn refuse_variants(config: &Object) -> Result<(), LoadError> {
    let refuse = |what: String| Err(LoadError::unsupported(config.path(), what, HINT));
    match config.need("peft_type", config.text("peft_type")?)? {
        "LORA" => {}
        other => return refuse(format!("its `peft_type` is {other:?}, only LORA is supported")),
    }
    match config.text("bias")? {
        None | Some("none") => {}
        Some(other) => {
            return refuse(format!("its `bias` is {other:?}: trained biases are not supported"));
        }
    }
    for (key, what) in [
        ("use_dora", "DoRA is not supported"),
        ("lora_bias", "biases of factors are not supported"),
        ("use_qalora", "QA-LoRA is not supported"),
        ("fan_in_fan_out", "these models have no transposed weights"),
    ] {
        if config.flag(key)? == Some(true) {
            return refuse(format!("its `{key}` is true: {what}"));
        }
    }
    for (key, what) in [
        ("modules_to_save", "whole modules beside the factors are not read"),
        ("trainable_token_indices", "trained embedding rows are not read"),
        ("target_parameters", "only decoder projections can have factors"),
        ("layer_replication", "repeated layers give another model"),
        ("alora_invocation_tokens", "activated LoRA is not supported"),
        ("use_bdlora", "block-diagonal factors are not supported"),
        ("arrow_config", "routed adapters are not supported"),
        ("kasa_config", "KaSA is not supported"),
        ("monteclora_config", "MonteCLoRA is not supported"),
    ] {
        let empty = |value: &Value| {
            *value == Value::Bool(false)
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(|object| object.is_empty())
        };
        if config.get(key).is_some_and(|value| !empty(value)) {
            return refuse(format!("its `{key}` is set: {what}"));
        }
    }
    // Other initializations change or decompose the base weights when PEFT loads the adapter.
    match config.get("init_lora_weights") {
        None | Some(Value::Bool(_)) => Ok(()),
        Some(Value::String(name)) if ["gaussian", "eva", "orthogonal"].contains(&name.as_str()) => Ok(()),
        Some(other) => {
            let other: String = other.to_string().chars().take(40).collect();
            refuse(format!("its `init_lora_weights` is {other}, which changes the base's own weights"))
        }
    }
}

fn modules(config: &Object, key: &str) -> Result<Option<Modules>, LoadError> {
    match config.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if text == "all-linear" && key == "target_modules" => {
            Ok(Some(Modules::AllLinear))
        }
        Some(Value::String(text)) => {
            Ok(Some(Modules::Pattern(compile(config, key, &format!(r"\A(?:{text})\z"))?)))
        }
        Some(_) => Ok(texts(config, key)?.map(Modules::Names)),
    }
}

/// A list of texts, or a single text.
fn texts(config: &Object, key: &str) -> Result<Option<Vec<String>>, LoadError> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    config.typed(key, "a text or a list of texts", |value| match value {
        Value::Array(list) if list.len() <= MAX_ENTRIES => list.iter().map(text).collect(),
        other => text(other).map(|text| vec![text]),
    })
}

/// An object of patterns, each with a value for the modules whose names end in it.
fn by_pattern<T>(
    config: &Object,
    key: &str,
    wanted: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<(Regex, T)>, LoadError> {
    let map =
        config.typed(key, "an object", |value| value.as_object().filter(|map| map.len() <= MAX_ENTRIES))?;
    let entry = |(text, value): (&String, &Value)| {
        let value = read(value).ok_or_else(|| {
            config.bad(key, format!("must give {wanted} for {:?}", text.chars().take(80).collect::<String>()))
        })?;
        Ok((compile(config, key, &format!(r"\A(?:.*\.)?(?:{text})\z"))?, value))
    };
    map.into_iter().flatten().map(entry).collect()
}

fn compile(config: &Object, key: &str, pattern: &str) -> Result<Regex, LoadError> {
    if pattern.len() > MAX_PATTERN {
        let rule = format!("has a pattern of {} bytes, at most {MAX_PATTERN} are allowed", pattern.len());
        return Err(config.bad(key, rule));
    }
    RegexBuilder::new(pattern).backtrack_limit(MAX_STEPS).build().map_err(|error| {
        // Its first line only; the other lines draw an arrow below the pattern.
        let error = error.to_string();
        config.bad(key, format!("is not a regular expression: {}", error.lines().next().unwrap_or_default()))
    })
}
