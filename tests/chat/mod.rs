//! Sessions: streaming, cancelling, trimming, principles, adapters, saved conversations.

use std::fs;
use std::path::{Path, PathBuf};

use parr::chat::{ChatAdapter, ChatError, ChatSession, ConversationHandle, ReplyOptions};
use parr::generate::{CancelToken, Finish, Sampling};
use parr::gpu::DeviceOptions;
use parr::steer::{Search, SteerEvent, Steering};
use parr::tokenizer::Message;
use parr::{Error, ErrorKind, Model};

use crate::adapter::adapter;
use crate::steer::{scorer, tiny_that_chats};
use crate::support::gpu;

/// A model of random weights that chats, and replies at random in a few tokens.
struct Bench {
    folder: tempfile::TempDir,
    model: Model,
}

impl Bench {
    fn open() -> Bench {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let device = gpu::open(&DeviceOptions::default());
        let path = tiny_that_chats(folder.path());
        let model = Model::builder(path.to_string_lossy()).device(&device).open().expect("it loads");
        Bench { folder, model }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn chat(&self) -> ChatSession {
        self.model.chat().context(256).options(short(8)).start().expect("it starts")
    }
}

fn short(max_tokens: usize) -> ReplyOptions {
    let sampling = Sampling { temperature: 1.0, seed: 3, ..Sampling::default() };
    ReplyOptions { sampling, max_tokens, ..ReplyOptions::default() }
}

#[test]
fn a_streamed_reply_is_the_reply() {
    let _turn = gpu::turn();
    let bench = Bench::open();
    let (mut whole, mut streamed) = (bench.chat(), bench.chat());
    for question in ["Tea?", "And milk?"] {
        let reply = whole.ask(question).expect("a reply");
        let parts: Vec<String> =
            streamed.say(question).expect("it starts").collect::<Result<_, _>>().expect("it goes well");
        assert!(parts.iter().all(|part| !part.is_empty()));
        assert_eq!(parts.concat().trim_end(), reply.text());
        assert_eq!(streamed.last_reply().expect("it was kept").answer, reply.answer);
    }
    assert_eq!(whole.messages(), streamed.messages());
    assert_eq!(whole.messages().len(), 4);
    let second = whole.last_reply().expect("a reply");
    assert!(second.answer.reply.reused_tokens > 10, "the cache serves the second turn");
    let reply = streamed.say("Sugar?").expect("it starts").into_reply().expect("a reply");
    assert_eq!(reply.answer, whole.ask("Sugar?").expect("a reply").answer);
}

#[test]
fn a_stream_that_is_dropped_keeps_what_was_said() {
    let _turn = gpu::turn();
    let bench = Bench::open();
    let mut chat = bench.chat();
    chat.set_options(short(120));
    let first = {
        let mut reply = chat.say("Tell me all.").expect("it starts");
        reply.next().expect("a first part").expect("it goes well")
    };
    let kept = chat.last_reply().expect("the text so far");
    assert_eq!(kept.finish(), &Finish::Cancelled);
    assert!(kept.answer.reply.text.starts_with(&first), "{first}");
    assert_eq!(chat.messages().len(), 2);
    // The session can still be used.
    chat.set_options(short(8));
    chat.ask("And then?").expect("a reply");
    assert_eq!(chat.messages().len(), 4);
}

#[test]
fn a_reply_can_be_cancelled_from_its_event() {
    let _turn = gpu::turn();
    let bench = Bench::open();
    let mut chat = bench.chat();
    chat.set_options(short(120));
    let cancel = CancelToken::new();
    let reply = chat.reply("Go on.", &cancel, &mut |_| cancel.cancel()).expect("what there was");
    assert_eq!(reply.finish(), &Finish::Cancelled);
    assert_eq!(chat.messages().len(), 2);
}

#[test]
fn the_best_of_several_is_chosen_scored_and_void_after_a_cancel() {
    let _turn = gpu::turn();
    let bench = Bench::open();
    let reward = scorer(bench.model.config(), bench.folder.path());
    let builder = bench.model.chat().context(256).options(short(6)).reward(&reward).any_base();
    let mut chat = builder.clone().best_of(3).scores(true).start().expect("it starts");
    let mut parts = Vec::new();
    let reply = chat
        .reply("Tea?", &CancelToken::new(), &mut |event| {
            if let SteerEvent::Text { text, .. } = event {
                parts.push(text.to_owned());
            }
        })
        .expect("a reply");
    assert_eq!(parts.len(), 1, "a chosen reply arrives at once");
    let choice = reply.answer.last().expect("one choice");
    let best = choice
        .candidates
        .iter()
        .filter_map(|one| one.score.as_ref())
        .map(|score| score.value)
        .fold(f32::MIN, f32::max);
    assert_eq!(reply.answer.score(), Some(best));

    let cancel = CancelToken::new();
    let error = chat.reply("More?", &cancel, &mut |_| cancel.cancel()).expect_err("nothing was chosen");
    assert!(error.is_cancelled(), "{error}");
    assert_eq!(chat.messages().len(), 2, "the conversation is unchanged");

    let error = bench.model.chat().best_of(2).start().expect_err("nothing can choose");
    assert_eq!(error.kind(), ErrorKind::Argument);
    let mut plain = builder.start().expect("it starts");
    plain
        .set_steering(Steering { search: Search::BestOf { n: 2 }, ..Steering::default() })
        .expect("it has one");
    assert_eq!(plain.ask("Tea?").expect("a reply").answer.last().expect("one choice").candidates.len(), 2);
}

#[test]
fn a_regenerated_reply_replaces_the_last() {
    let _turn = gpu::turn();
    let bench = Bench::open();
    let mut chat = bench.chat();
    let nothing = chat.regenerate(&CancelToken::new(), &mut |_| {});
    assert!(matches!(nothing, Err(Error::Chat(ChatError::NothingToReplace))));
    let first = chat.ask("Tea?").expect("a reply").answer;
    let second = chat.regenerate(&CancelToken::new(), &mut |_| {}).expect("another").answer;
    assert_ne!(first.reply.tokens, second.reply.tokens);
    assert_eq!(chat.messages().len(), 2);
    assert_eq!(chat.options().sampling.seed, 4);
}

#[test]
fn old_turns_make_room_and_a_question_that_is_too_long_is_refused() {
    let _turn = gpu::turn();
    let bench = Bench::open();
    let mut chat =
        bench.model.chat().context(96).options(short(8)).system("Be kind.").start().expect("it starts");
    let mut dropped = 0;
    for turn in 0..5 {
        dropped += chat.ask(format!("Question number {turn}?")).expect("a reply").dropped_messages;
    }
    assert!(dropped > 0);
    assert_eq!(chat.messages()[0], Message::new("system", "Be kind."));
    let before = chat.messages();
    let error = chat.ask("why ".repeat(200)).expect_err("it does not fit");
    assert_eq!(error.kind(), ErrorKind::Context, "{error}");
    assert_eq!(chat.messages(), before);
    chat.ask("Still there?").expect("a reply");
    let error = bench.model.chat().context(1 << 20).start().expect_err("the model has fewer");
    assert!(matches!(error, Error::Chat(ChatError::Context { .. })), "{error}");
}

#[test]
fn an_edited_principle_steers_the_next_reply() {
    let _turn = gpu::turn();
    let bench = Bench::open();
    let file = bench.path("mine.toml");
    let write = |text: &str| {
        let text = format!(
            "id = \"mine\"\ntitle = \"Mine\"\ndescription = \"Mine.\"\nuse = \"sample\"\ndraws = 1\n\
             [[principle]]\nid = \"one\"\ndimension = \"One\"\ndefinition = \"{text}\"\n"
        );
        fs::write(&file, text).expect("a scratch directory is writable");
    };
    write("Be brief.");
    let name = file.to_string_lossy().into_owned();
    let mut chat =
        bench.model.chat().context(512).options(short(4)).principles(name).start().expect("it starts");
    let brief = chat.ask("Tea?").expect("a reply").answer.reply.prompt_tokens;
    chat.conversation().reset();
    write("Be as brief as you can possibly be, please.");
    let longer = chat.ask("Tea?").expect("a reply").answer.reply.prompt_tokens;
    assert!(longer > brief, "{longer} {brief}");
    // A mistake is an error once; the set stays as it was.
    fs::write(&file, "nonsense").expect("a scratch directory is writable");
    assert_eq!(chat.ask("Tea?").expect_err("the mistake").kind(), ErrorKind::Principles);
    chat.ask("Tea?").expect("the old principles");
    assert_eq!(chat.steering().principles.id, "mine");
}

#[test]
fn sessions_share_an_adapter_and_change_it_between_replies() {
    let _turn = gpu::turn();
    let bench = Bench::open();
    let open = ChatAdapter::new(adapter(bench.model.config(), 4, 64.0, "all"));
    let plain = bench.chat().ask("Tea?").expect("a reply").answer.reply.tokens;
    let mut first =
        bench.model.chat().context(256).options(short(8)).open_adapter(&open).start().expect("it starts");
    let adapted = first.ask("Tea?").expect("a reply").answer.reply.tokens;
    assert_ne!(plain, adapted);
    let mut second = bench.chat();
    second.set_adapter(Some(&open));
    assert_eq!(second.ask("Tea?").expect("a reply").answer.reply.tokens, adapted);
    second.conversation().reset();
    second.set_adapter(None);
    assert_eq!(second.ask("Tea?").expect("a reply").answer.reply.tokens, plain);
}

#[test]
fn a_budget_that_is_too_small_is_an_error_before_anything_is_allocated() {
    let _turn = gpu::turn();
    let bench = Bench::open();
    let before = bench.model.device().memory().current_bytes;
    let mut chat = bench.model.chat().context(256).budget(before + 1).start().expect("it starts");
    let error = chat.ask("Tea?").expect_err("it does not fit");
    assert_eq!(error.kind(), ErrorKind::Memory, "{error}");
    assert_eq!(bench.model.device().memory().current_bytes, before);
    assert!(chat.messages().is_empty());
}

#[test]
fn a_conversation_is_saved_and_loaded() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("chat.jsonl");
    let said = vec![
        Message::new("system", "Be brief."),
        Message::new("user", "Tea? \u{1F375}"),
        Message::new("assistant", "Yes.\n"),
    ];
    let handle = ConversationHandle::default();
    handle.set_messages(said.clone());
    handle.save(&path).expect("it is written");
    let text = fs::read_to_string(&path).expect("it was written");
    assert_eq!(text.lines().count(), 1);

    let other = ConversationHandle::new(Some("Be long.".to_owned()));
    other.load(&path).expect("it is read");
    assert_eq!(other.messages(), said);
    // Its own file is replaced; a file of anything else is not.
    other.reset();
    other.save(&path).expect("it is a conversation");
    let theirs = folder.path().join("notes.txt");
    fs::write(&theirs, "not yours").expect("a scratch directory is writable");
    let error = other.save(&theirs).expect_err("it is not ours");
    assert!(matches!(&error, ChatError::NotAConversation { path, .. } if *path == theirs), "{error}");
    assert_eq!(fs::read_to_string(&theirs).expect("it is there"), "not yours");
    let written = "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}\n";
    fs::write(&theirs, written).expect("a scratch directory is writable");
    other.save(&theirs).expect_err("a conversation that somebody else wrote");
    assert_eq!(fs::read_to_string(&theirs).expect("it is there"), written);
    fs::write(&theirs, "not yours").expect("a scratch directory is writable");
    let error = other.load(&theirs).expect_err("it is no conversation");
    assert_eq!(error.kind(), ErrorKind::Format);
    assert!(error.to_string().contains("line 1 column"), "{error}");
    assert_eq!(other.load(Path::new("no/such")).expect_err("it is missing").kind(), ErrorKind::NotFound);
    assert_eq!(other.messages(), [Message::new("system", "Be brief.")]);
}

#[test]
fn a_model_that_is_not_there_and_one_that_cannot_chat() {
    let missing = Model::open("no/such/model.gguf").expect_err("no such file");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.to_string().contains("no known name (smollm2"), "{missing}");
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = crate::reward::tiny_that_reads(folder.path());
    let model = Model::builder(path.to_string_lossy()).device(&device).open().expect("it loads");
    let error = model.chat().start().expect_err("it has no template");
    assert!(matches!(error, Error::Chat(ChatError::NoTemplate)), "{error}");
}

#[test]
fn settings_out_of_range_are_refused_before_the_first_question() {
    let _turn = gpu::turn();
    let bench = Bench::open();
    for (builder, wanted) in [
        (bench.model.chat().context(1), "a context of at least 2 tokens"),
        (bench.model.chat().temperature(-1.0), "temperature is -1, expected 0 to 100"),
        (bench.model.chat().context(usize::MAX), "ask for a shorter one"),
    ] {
        let error = builder.start().expect_err("out of range");
        assert_eq!(error.kind(), ErrorKind::Argument, "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn sessions_go_on_after_a_loss_that_another_one_repaired() {
    let _turn = gpu::turn();
    let bench = Bench::open();
    let adapter = ChatAdapter::new(adapter(bench.model.config(), 4, 64.0, "all"));
    let (mut undisturbed, mut first, mut second) = (bench.chat(), bench.chat(), bench.chat());
    second.set_adapter(Some(&adapter));
    let mut with_adapter = bench.chat();
    with_adapter.set_adapter(Some(&adapter));
    for session in [&mut undisturbed, &mut first, &mut second, &mut with_adapter] {
        session.ask("Tea?").expect("a reply");
    }
    let expected = undisturbed.ask("And milk?").expect("a reply");
    let expected_with = with_adapter.ask("And milk?").expect("a reply");

    bench.model.device().release();
    let error = first.ask("And milk?").expect_err("the app released the device");
    assert_eq!(error.kind(), ErrorKind::DeviceLost);
    bench.model.reload().expect("the driver opens it again");
    // Their caches are those of the device before, although it is sound now.
    assert_eq!(first.ask("And milk?").expect("a reply").text(), expected.text());
    assert_eq!(second.ask("And milk?").expect("a reply").text(), expected_with.text());
}
