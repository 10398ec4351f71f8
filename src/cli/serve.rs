//! `parr serve`: a server with OpenAI's HTTP interface, and the web page Studio.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use tracing::Level;

use super::GlobalArgs;
use super::error::CliError;
use super::interrupt::interruptible;
use super::open::{ModelArgs, TemplateArgs, kv_format, quant};
use super::terminal;
use parr::hub::{self, CATALOG, HubError};
use parr::ops::KvFormat;
use parr::quant::Quant;
use parr::serve::{ServeError, ServeOptions, Server};

const LONG_ABOUT: &str = "\
Serves a model over HTTP, with OpenAI's interface, parts of Ollama's, and the
web page Studio. Clients share the GPU: their replies are generated together.

  POST /v1/chat/completions     chats, also by principles and best of n
  POST /v1/completions          texts without a chat template
  POST /v1/score                replies scored under principles
  GET  /v1/models, /v1/adapters, /v1/principles, /v1/runs
  GET  /health, /metrics

The model of a request is the name of the served model, or NAME:ADAPTER.
Adapters can be loaded and removed while the server runs.

Only this machine can reach the server unless --host is set. Then set --api-key
too: who can reach it can read adapters and data on this machine, and start
training. Pages of other sites are refused unless --allow-origin names them.

Ctrl-C and SIGTERM end it: new requests are refused, and those in progress end
first. A second signal ends it at once.";

const EXAMPLES: &str = "\
Examples:
  parr serve                              the model smollm2, on port 8017
  parr serve ~/models/llama-3.2-1b.Q4_K_M.gguf --slots 4
  parr serve --adapter harbour=runs/harbour
  parr serve --reward runs/reward --principles my-principles
  parr serve --host 0.0.0.0 --api-key \"$KEY\" --allow-host gpu.example
  curl http://localhost:8017/v1/chat/completions -d '{\"messages\":
      [{\"role\": \"user\", \"content\": \"Name a river.\"}]}'";

/// How often the program looks for a signal.
const LOOKS_EVERY: Duration = Duration::from_millis(50);

/// Serve a model over HTTP
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct ServeArgs {
    /// Model: a name from `parr pull`, a GGUF file or a Hugging Face directory [default: smollm2 if it was pulled,
    /// else the page offers to pull one]
    #[arg(value_name = "MODEL")]
    model: Option<String>,

    /// Weight format for a safetensors model: q4_0, q8_0, f16, ... [default: as stored]
    #[arg(long, value_name = "FORMAT", value_parser = quant)]
    quant: Option<Quant>,

    #[command(flatten)]
    template: TemplateArgs,

    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,

    /// Port to listen on; 0 lets the system choose
    #[arg(long, value_name = "PORT", default_value_t = 8017)]
    port: u16,

    /// Number of replies that are generated together
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    slots: u16,

    /// Most tokens of prompt and reply together [default: the model's context, at most 4096]
    #[arg(long, value_name = "TOKENS")]
    context: Option<usize>,

    /// Number format of the key/value cache; f16 takes half the memory of f32
    #[arg(long, value_name = "f16|f32", default_value = "f16", value_parser = kv_format)]
    kv: KvFormat,

    /// Number of requests that wait for a slot; more are refused
    #[arg(long, value_name = "N", default_value_t = 64)]
    queue: usize,

    /// Reward model: smollm2-principles, the folder of a `parr reward train` run, or a PEFT directory; can be
    /// repeated, and the first is the default [default: smollm2-principles if it fits the model]
    #[arg(long, value_name = "NAME|DIR")]
    reward: Vec<PathBuf>,

    /// Adapter to load at the start; can be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    adapter: Vec<(String, PathBuf)>,

    /// Largest rank of an adapter
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    adapter_rank: u16,

    /// Number of adapters that can be loaded at a time; 0 saves their memory
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(0..=256))]
    adapter_slots: u16,

    /// Accept adapters and reward models that were trained on other weights, such as an unquantized copy
    #[arg(long)]
    any_base: bool,

    /// Folder of sets of principles
    #[arg(long, value_name = "DIR", default_value = "principles")]
    principles: PathBuf,

    /// Folder of training runs
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,

    /// Key that every request must send, as `Authorization: Bearer KEY`
    #[arg(long, value_name = "KEY", env = "PARR_API_KEY", hide_env_values = true)]
    api_key: Option<String>,

    /// Name of this server, other than localhost and its address; can be repeated
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,

    /// Origin of pages that may use the server, such as https://app.example; can be repeated, and * allows all
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,

    /// Most time for a reply, with its wait for a slot; the text so far is sent then
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    request_timeout: Option<Duration>,

    /// Most time for requests to end after ctrl-C or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = super::seconds)]
    drain_timeout: Duration,

    /// Do not serve the web page
    #[arg(long)]
    no_studio: bool,

    /// Log level: error, warn, info or debug
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    log: Level,
}

fn named_path(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("expected NAME=PATH, such as harbour=runs/harbour")?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

fn level(name: &str) -> Result<Level, String> {
    let known = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG];
    let found = known.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(name));
    found.ok_or_else(|| "expected error, warn, info or debug".to_owned())
}

impl ServeArgs {
    pub(super) fn run(mut self, global: &GlobalArgs) -> Result<(), CliError> {
        log_to_standard_error(if global.quiet { Level::ERROR } else { self.log });
        let named = self.model.is_some();
        let name = self.model.clone().unwrap_or_else(|| CATALOG[0].name.to_owned());
        let model = match hub::resolve(&name) {
            // The page can pull one.
            Err(HubError::NotPulled { .. }) if !named => None,
            path => {
                let template = std::mem::take(&mut self.template);
                let model = ModelArgs { model: name.clone(), quant: self.quant, template };
                let path = path?;
                let device = global.tuned_for(global.open_device()?, &path, model.quant)?;
                Some(model.load(&path, &device, global)?)
            }
        };
        let drain = self.drain_timeout;
        let served = model.as_ref().map(|model| (name.as_str(), model));
        let (page, without_model) = (!self.no_studio, model.is_none());
        let server = Server::start(served, self.options(global))?;
        drop(model);
        let address = server.local_addr();
        match server.model() {
            Some(model) => global.note(format!("serving {model} on http://{address}")),
            None => global.note(format!("no model so far; listening on http://{address}")),
        }
        if page {
            let what = if without_model { "choose a model" } else { "Studio" };
            global.note(format!("{what}: http://{}", shown(address)));
        }
        interruptible(|token| {
            while !token.is_cancelled() {
                thread::sleep(LOOKS_EVERY);
            }
            global.note("stopping; requests in progress end first");
            if !server.drain(drain) {
                terminal::say("some requests did not end in time and were stopped");
            }
        });
        Ok(())
    }

    fn options(self, global: &GlobalArgs) -> ServeOptions {
        ServeOptions {
            host: self.host,
            port: self.port,
            slots: self.slots.into(),
            context: self.context,
            kv: self.kv,
            queue: self.queue,
            rewards: self.reward,
            adapters: self.adapter,
            adapter_rank: self.adapter_rank.into(),
            adapter_slots: self.adapter_slots.into(),
            any_base: self.any_base,
            principles: self.principles,
            runs: self.runs,
            api_key: self.api_key.filter(|key| !key.is_empty()),
            allowed_hosts: self.allow_host,
            allowed_origins: self.allow_origin,
            request_timeout: self.request_timeout,
            studio: !self.no_studio,
            device: global.device_options(),
        }
    }
}

/// The address as a person types it.
fn shown(address: std::net::SocketAddr) -> String {
    let local = address.ip().is_loopback() || address.ip().is_unspecified();
    if local { format!("localhost:{}", address.port()) } else { address.to_string() }
}

/// Lines of text, each with its fields: `INFO request method=GET path="/health" status=200`.
fn log_to_standard_error(level: Level) {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    // Only one program has one; a second call would change nothing.
    let _ = tracing::subscriber::set_global_default(subscriber.finish());
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> CliError {
        match error {
            ServeError::Library(error) => error.into(),
            other => CliError::Serve(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_have_names_and_paths() {
        assert_eq!(named_path("a=b/c=d"), Ok(("a".to_owned(), PathBuf::from("b/c=d"))));
        assert!(named_path("a").is_err());
        assert_eq!(level("INFO"), Ok(Level::INFO));
        assert!(level("loud").is_err());
    }

    #[test]
    fn a_page_has_an_address_that_browsers_open() {
        assert_eq!(shown("0.0.0.0:1".parse().unwrap()), "localhost:1");
        assert_eq!(shown("192.168.1.5:1".parse().unwrap()), "192.168.1.5:1");
    }
}
