//! Options of a server.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::gpu::DeviceOptions;
use crate::ops::KvFormat;

/// Options of a [`Server`](super::Server). The default serves on this machine alone.
///
/// ```
/// use parr::serve::ServeOptions;
///
/// let options = ServeOptions { slots: 2, ..ServeOptions::default() };
/// assert_eq!((options.host.as_str(), options.port), ("127.0.0.1", 8017));
/// ```
#[derive(Clone)]
pub struct ServeOptions {
    /// Address to listen on: a name or an IP address.
    pub host: String,
    /// Port to listen on. 0 lets the system choose.
    pub port: u16,
    /// Number of replies that are generated together.
    pub slots: usize,
    /// Maximum number of tokens of a prompt and its reply together. `None` for the model's context, at most
    /// [`DEFAULT_CONTEXT`](crate::generate::DEFAULT_CONTEXT).
    pub context: Option<usize>,
    /// Storage format of keys and values.
    pub kv: KvFormat,
    /// Number of requests that wait for a slot. More are refused.
    pub queue: usize,
    /// Folders of reward models, or [`SHIPPED`](crate::reward::SHIPPED). The first is the default. The reward model
    /// that comes with the program is known too if it fits.
    pub rewards: Vec<PathBuf>,
    /// Adapters to load at the start: name and path.
    pub adapters: Vec<(String, PathBuf)>,
    /// Largest rank of an adapter.
    pub adapter_rank: usize,
    /// Number of adapters that can be loaded at a time.
    pub adapter_slots: usize,
    /// Whether to accept adapters and reward models that were trained on other weights.
    pub any_base: bool,
    /// Folder of sets of principles.
    pub principles: PathBuf,
    /// Folder of training runs.
    pub runs: PathBuf,
    /// Key that requests must send.
    pub api_key: Option<String>,
    /// Names of this server other than `localhost` and the address.
    pub allowed_hosts: Vec<String>,
    /// Origins of pages that may use the server from a browser, such as `https://app.example`. `*` allows all.
    pub allowed_origins: Vec<String>,
    /// Time that a reply may take, with its wait for a slot.
    pub request_timeout: Option<Duration>,
    /// Whether to serve the web page.
    pub studio: bool,
    /// How to open the device for a model that is opened later.
    pub device: DeviceOptions,
}

impl Default for ServeOptions {
    fn default() -> ServeOptions {
        ServeOptions {
            host: "127.0.0.1".to_owned(),
            port: 8017,
            slots: 8,
            context: None,
            kv: KvFormat::F16,
            queue: 64,
            rewards: Vec::new(),
            adapters: Vec::new(),
            adapter_rank: 32,
            adapter_slots: 4,
            any_base: false,
            principles: PathBuf::from("principles"),
            runs: PathBuf::from("runs"),
            api_key: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            request_timeout: None,
            studio: true,
            device: DeviceOptions::default(),
        }
    }
}

impl fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key.
        let ServeOptions { host, port, slots, context, queue, .. } = self;
        f.debug_struct("ServeOptions")
            .field("host", host)
            .field("port", port)
            .field("slots", slots)
            .field("context", context)
            .field("queue", queue)
            .finish_non_exhaustive()
    }
}
