//! Flags that select a model, an adapter and a cache, and what they open.

use std::path::{Path, PathBuf};

use clap::Args;

use super::GlobalArgs;
use super::error::CliError;
use parr::adapter::Adapter;
use parr::chat::{ChatBuilder, DEFAULT_CONTEXT};
use parr::file::read_text;
use parr::generate::{Generator, GeneratorOptions};
use parr::gpu::Device;
use parr::hub::{self, CATALOG};
use parr::model::lora::{AdapterBank, AdapterId};
use parr::model::text::Text;
use parr::model::{LoadOptions, Model};
use parr::ops::KvFormat;
use parr::quant::Quant;
use parr::tokenizer::{CHAT_TEMPLATES, ChatFormat, TemplateValue, Tokenizer, named_template};

/// The model, and the format of its weights.
#[derive(Args)]
pub(super) struct ModelArgs {
    /// Model: a name from `parr pull`, a GGUF file or a Hugging Face directory
    #[arg(short, long, default_value = CATALOG[0].name)]
    pub model: String,

    /// Weight format for a safetensors model: q4_0, q8_0, f16, ... [default: as stored]
    #[arg(long, value_name = "FORMAT", value_parser = quant)]
    pub quant: Option<Quant>,

    #[command(flatten)]
    pub template: TemplateArgs,
}

/// How conversations become prompts.
#[derive(Args, Default)]
pub(super) struct TemplateArgs {
    /// Chat template instead of the model's own: a Jinja file, or chatml, gemma, llama3, phi3 or zephyr
    #[arg(long, value_name = "FILE|NAME")]
    chat_template: Option<String>,

    /// Variable of the chat template, such as enable_thinking=false; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    template_variable: Vec<(String, TemplateValue)>,
}

fn variable(text: &str) -> Result<(String, TemplateValue), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as enable_thinking=false")?;
    if name.is_empty() || !name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_') {
        return Err(format!("`{name}` is not the name of a variable"));
    }
    Ok((name.to_owned(), TemplateValue::parse(value)))
}

impl TemplateArgs {
    /// `text` with the given template and variables; `None` if none are given.
    pub(super) fn applied(&self, text: &Text) -> Result<Option<Text>, CliError> {
        if self.chat_template.is_none() && self.template_variable.is_empty() {
            return Ok(None);
        }
        let mut text = text.clone();
        if let Some(name) = &self.chat_template {
            let source = match named_template(name) {
                Some(source) => source.to_owned(),
                None => read_text(Path::new(name)).map_err(|source| {
                    let names: Vec<&str> = CHAT_TEMPLATES.iter().map(|(name, _)| *name).collect();
                    let known = names.join(", ");
                    CliError::Usage(format!(
                        "cannot read the template {name}, which is not one of {known}: {source}"
                    ))
                })?,
            };
            text = text.with_template(&source)?;
        }
        for (name, value) in &self.template_variable {
            text = text.with_variable(name, value.clone());
        }
        Ok(Some(text))
    }
}

/// Size and number format of a generator's key/value cache.
#[derive(Args)]
pub(super) struct CacheArgs {
    /// Most tokens of prompt and reply together [default: the model's context, at most 4096]
    #[arg(long, value_name = "TOKENS")]
    context: Option<usize>,

    /// Number format of the key/value cache; f16 takes half the memory of f32
    #[arg(long, value_name = "f16|f32", default_value = "f16", value_parser = kv_format)]
    kv: KvFormat,

    /// Number of last tokens that --repetition-penalty applies to
    #[arg(long, value_name = "TOKENS", default_value_t = 64)]
    repetition_window: usize,
}

pub(super) fn quant(name: &str) -> Result<Quant, String> {
    Quant::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Quant::ALL.iter().map(|quant| quant.name()).collect();
        format!("unknown format, expected one of {}", known.join(" "))
    })
}

pub(super) fn kv_format(name: &str) -> Result<KvFormat, String> {
    match name {
        "f16" => Ok(KvFormat::F16),
        "f32" => Ok(KvFormat::F32),
        _ => Err("expected f16 or f32".to_owned()),
    }
}

/// The adapter on top of the model.
#[derive(Args)]
pub(super) struct AdapterArgs {
    /// LoRA adapter: the folder of a training run, a PEFT directory or a GGUF file
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,

    /// Accept adapters that were trained on other weights, such as an unquantized copy
    #[arg(long)]
    pub any_base: bool,
}

impl AdapterArgs {
    /// Path of the adapter, if one was given.
    pub(super) fn path(&self) -> Option<&Path> {
        self.adapter.as_deref()
    }

    /// Reads the adapter and checks that it fits the model; `None` without one.
    pub(super) fn read(&self, model: &Model) -> Result<Option<Adapter>, CliError> {
        let Some(path) = &self.adapter else { return Ok(None) };
        let adapter = Adapter::open_on(model, path, self.any_base)?;
        adapter.check_speaks()?;
        Ok(Some(adapter))
    }

    /// Loads the adapter onto the device, into a bank of its own; `None` without one.
    pub(super) fn attach(&self, model: &Model) -> Result<Option<(AdapterBank, AdapterId)>, CliError> {
        let Some(adapter) = self.read(model)? else { return Ok(None) };
        let (bank, ids) = AdapterBank::holding(model, &[&adapter.weights])?;
        Ok(Some((bank, ids[0])))
    }
}

impl ModelArgs {
    /// The model of this name, with all settings from its files.
    pub(super) fn named(model: &str) -> ModelArgs {
        ModelArgs { model: model.to_owned(), quant: None, template: TemplateArgs::default() }
    }

    /// Finds the model, opens the device and loads the model onto it. A wrong name is reported before
    /// any driver is opened.
    pub(super) fn open(&self, global: &GlobalArgs) -> Result<(Device, Model), CliError> {
        let path = hub::resolve(&self.model)?;
        let device = global.tuned_for(global.open_device()?, &path, self.quant)?;
        let model = self.load(&path, &device, global)?;
        Ok((device, model))
    }

    /// Loads the model at `path` onto the device, with a progress bar.
    pub(super) fn load(&self, path: &Path, device: &Device, global: &GlobalArgs) -> Result<Model, CliError> {
        let bar = global.bar(None, "loading {bar:30} {decimal_bytes}/{decimal_total_bytes}");
        let model = Model::load(device, path, &LoadOptions { quant: self.quant }, &mut |progress| {
            bar.set_length(progress.total_bytes);
            bar.set_position(progress.done_bytes);
        });
        bar.finish_and_clear();
        let model = model?;
        for note in model.notes() {
            global.note(format!("note: {note}"));
        }
        Ok(match self.template.applied(model.text())? {
            Some(text) => model.with_text(text),
            None => model,
        })
    }
}

impl CacheArgs {
    /// Tokens per sequence for `model`.
    pub(super) fn context(&self, model: &Model) -> usize {
        self.context.unwrap_or(model.config().context.min(DEFAULT_CONTEXT))
    }

    /// Applies the settings to a chat.
    pub(super) fn apply(&self, chat: ChatBuilder) -> ChatBuilder {
        let chat = chat.kv(self.kv).repetition_window(self.repetition_window);
        match self.context {
            Some(tokens) => chat.context(tokens),
            None => chat,
        }
    }

    /// Options of a generator for `slots` sequences at a time.
    pub(super) fn options(&self, model: &Model, slots: usize) -> GeneratorOptions {
        GeneratorOptions {
            slots,
            context: self.context(model),
            kv: self.kv,
            repetition_window: self.repetition_window,
        }
    }

    /// Creates a generator for `slots` sequences at a time, with the adapters of `bank`.
    pub(super) fn generator(
        &self,
        model: &Model,
        slots: usize,
        bank: Option<&AdapterBank>,
    ) -> Result<Generator, CliError> {
        let options = self.options(model, slots);
        Ok(match bank {
            Some(bank) => Generator::with_adapters(model, options, bank)?,
            None => Generator::new(model, options)?,
        })
    }
}

/// The model's tokenizer, or an error with advice.
pub(super) fn tokenizer(model: &Model) -> Result<&Tokenizer, CliError> {
    model.check_tokenizer()?;
    model.tokenizer().ok_or_else(no_tokenizer)
}

/// Prints a note if one of the raw texts begins with the token that the tokenizer puts in front anyway.
pub(super) fn note_double_bos<'a>(
    model: &Model,
    mut texts: impl Iterator<Item = &'a str>,
    global: &GlobalArgs,
) {
    let Some(tokenizer) = model.tokenizer() else { return };
    if texts.any(|text| tokenizer.begins_with_bos(text)) {
        global.note(double_bos(tokenizer));
    }
}

/// The note on a raw text that begins with the tokenizer's start token.
pub(super) fn double_bos(tokenizer: &Tokenizer) -> String {
    let bos = tokenizer.bos().and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
    format!(
        "note: a text begins with {bos}, the start token (bos) that every raw text gets: it gets it twice; leave it out"
    )
}

/// The error for a model without a tokenizer.
pub(super) fn no_tokenizer() -> CliError {
    let reason = "the model has no tokenizer: put tokenizer.json next to its weights, or use rows with `ids`";
    CliError::Model(reason.to_owned())
}

/// The model's chat format, or an error with advice.
pub(super) fn chat_format(model: &Model) -> Result<&ChatFormat, CliError> {
    model.check_chat()?;
    model.chat_format().ok_or_else(|| {
        let reason = "the model has no chat template: use `parr generate --raw`, which continues plain text";
        CliError::Model(reason.to_owned())
    })
}
