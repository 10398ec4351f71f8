//! A server with OpenAI's HTTP interface, and the web page Studio: `parr serve`.
//!
//! Requests of all clients share one generator through a [`Scheduler`](crate::generate::Scheduler). The handlers only
//! read requests, submit jobs and write replies; what a reply is, the rest of the library decides. [The
//! guide](crate::guide::serve) describes the interface.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use parr::Model;
//! use parr::serve::{ServeOptions, Server};
//!
//! let model = Model::open("smollm2")?;
//! let options = ServeOptions { port: 0, slots: 4, ..ServeOptions::default() };
//! let server = Server::start(Some(("smollm2", &model)), options)?;
//! println!("listening on http://{}", server.local_addr());
//! server.drain(Duration::from_secs(30));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adapters;
mod body;
mod catalog;
mod constrained;
mod error;
mod guard;
mod info;
mod jobs;
mod metrics;
mod ollama;
mod openai;
mod options;
mod principles;
mod rewards;
mod routes;
mod runs;
mod score;
mod state;
mod studio;
mod time;
mod turn;

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use error::ServeError;
pub use options::ServeOptions;

use crate::model::Model;
use guard::{Guard, Peer};
use state::ServerState;

/// Threads for connections. The work is done elsewhere.
const THREADS: usize = 2;
/// A request whose head takes longer to arrive is not waited for.
const HEAD_ARRIVES_WITHIN: Duration = Duration::from_secs(15);
/// Connections at a time. Others wait.
const MOST_CONNECTIONS: usize = 1024;
/// After an error of accepting, such as too many open files.
const ACCEPTS_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A running server. Dropping it ends it at once; [`Server::drain`] lets requests end first.
pub struct Server {
    address: SocketAddr,
    state: Arc<ServerState>,
    stop: watch::Sender<bool>,
    running: Mutex<Option<(Runtime, JoinHandle<()>)>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds the address and starts to answer, on threads of its own. `model` is a name for clients, and the model.
    /// Without a model, the page offers to pull and open one.
    ///
    /// # Errors
    ///
    /// * [`ServeError::Bind`] if the address cannot be bound;
    /// * [`ServeError::Adapter`] if an adapter of the options cannot be loaded;
    /// * [`ServeError::Library`] if the device cannot hold the generator;
    /// * [`ServeError::Thread`] if no thread can be started.
    pub fn start(model: Option<(&str, &Model)>, options: ServeOptions) -> Result<Server, ServeError> {
        let asked = (options.host.clone(), options.port);
        let bind = |source| ServeError::Bind { host: asked.0.clone(), port: asked.1, source };
        let listener = StdListener::bind((options.host.as_str(), options.port)).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let guard = Guard::new(
            address.ip(),
            &options.allowed_hosts,
            &options.allowed_origins,
            options.api_key.as_deref(),
        );
        let state = Arc::new(ServerState::new(options));
        if let Some((name, model)) = model {
            state.serve(&state::model_id(name), model)?;
            let failed = |(name, path, reason)| ServeError::Adapter { name, path, reason };
            state.load_adapters().map_err(failed)?;
        }
        let thread = |error: std::io::Error| ServeError::Thread { reason: error.to_string() };
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("parr-serve")
            .enable_io()
            .enable_time()
            .build()
            .map_err(thread)?;
        let (stop, stopped) = watch::channel(false);
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener).map_err(thread)?
        };
        let accepting = accept(listener, Arc::clone(&state), Arc::new(guard), stopped);
        let task = runtime.spawn(accepting);
        Ok(Server { address, state, stop, running: Mutex::new(Some((runtime, task))) })
    }

    /// The address that was bound. With port 0 in the options, the system chose one.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The name of the served model, if there is one.
    pub fn model(&self) -> Option<String> {
        Some(self.state.served().ok()?.id.clone())
    }

    /// Takes no more requests, waits until those in progress have ended, up to `most`, and frees the device. Training
    /// runs save their state and stop. Returns whether all requests ended in time.
    pub fn drain(&self, most: Duration) -> bool {
        let Some((runtime, task)) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return true;
        };
        let begun = Instant::now();
        tracing::info!("draining");
        self.state.begin_drain();
        self.state.runs.cancel_all();
        let _ = self.stop.send(true);
        let in_time = runtime.block_on(async { tokio::time::timeout(most, task).await.is_ok() });
        // Drops what is left, and with it the jobs.
        runtime.shutdown_timeout(Duration::from_secs(1));
        self.state.runs.join(most.saturating_sub(begun.elapsed()).max(Duration::from_secs(1)));
        self.state.close();
        tracing::info!(in_time, "stopped");
        in_time
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain(Duration::ZERO);
    }
}

/// Accepts connections until `stopped`, then waits until all have ended.
async fn accept(
    listener: TcpListener,
    state: Arc<ServerState>,
    guard: Arc<Guard>,
    mut stopped: watch::Receiver<bool>,
) {
    let router = routes::router(&state, guard);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let Some((place, accepted)) = first(next, &mut stopped).await else { break };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPTS_AGAIN_AFTER).await;
                continue;
            }
        };
        // Parts of a streamed reply are small and must not wait for each other.
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(Peer(peer));
            tower_service::Service::call(&mut router.clone(), request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_ARRIVES_WITHIN)
            .serve_connection(TokioIo::new(stream), service);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = watched.await {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The result of `work`, or `None` once the server is stopped.
async fn first<T>(work: impl Future<Output = T>, stopped: &mut watch::Receiver<bool>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut stop = std::pin::pin!(stopped.wait_for(|stopped| *stopped));
    std::future::poll_fn(|context| {
        if stop.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(None);
        }
        work.as_mut().poll(context).map(Some)
    })
    .await
}
