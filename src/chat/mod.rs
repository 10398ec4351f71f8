//! The simplest interface: open a model by name, chat with it, stream its replies.
//!
//! ```no_run
//! use std::io::Write;
//!
//! use parr::Model;
//!
//! let model = Model::open("smollm2")?;
//! let mut chat = model.chat().system("Be brief.").start()?;
//! for piece in chat.say("Why is the sky blue?")? {
//!     print!("{}", piece?);
//!     std::io::stdout().flush().ok(); // a terminal shows whole lines otherwise
//! }
//! # Ok::<(), parr::Error>(())
//! ```
//!
//! | part | holds |
//! |---|---|
//! | [`ModelBuilder`] | opens a model by path, name or URL; pulls it if asked to |
//! | [`ChatBuilder`] | system message, principles, adapter, reward model, sampling, context |
//! | [`ChatSession`] | a conversation and the model's cache for it |
//! | [`ReplyStream`], [`ChatReply`] | a reply while it is generated, and when it is complete |
//! | [`ConversationHandle`] | the messages of a session, for other threads |
//! | [`ChatAdapter`] | an adapter that several sessions share on the device |

mod adapter;
mod builder;
mod conversation;
mod engine;
mod error;
mod open;
mod reasoning;
mod session;
mod stream;

pub use adapter::ChatAdapter;
pub use builder::ChatBuilder;
pub use conversation::ConversationHandle;
pub use error::ChatError;
pub use open::ModelBuilder;
pub use session::{ChatReply, ChatSession, ReplyOptions};
pub use stream::ReplyStream;

pub use crate::generate::DEFAULT_CONTEXT;
