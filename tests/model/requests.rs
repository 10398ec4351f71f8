//! What a generator refuses before it runs anything, and how replies end.

use parr::generate::{CancelToken, Finish, GenerateError, Request, Sampling};
use parr::gpu::{Device, DeviceError, DeviceOptions};
use parr::ops::KvFormat;

use super::{generate, generator, load, tiny};
use crate::support::{gpu, model};

fn refusal(request: Request) -> GenerateError {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let mut generator = generator(&tiny(&device, "qwen2-bias"), 1, 32, KvFormat::F16);
    let sound = Request { prompt: vec![1], max_tokens: 1, ..Request::default() };
    let error = generator
        .generate(&[sound.clone(), request], &CancelToken::new(), &mut |_| {})
        .expect_err("an unsound request is refused");
    assert!(error.to_string().starts_with("request 1: "), "{error}");
    // The refusal left the generator fit for use.
    assert_eq!(generate(&mut generator, &[sound])[0].tokens.len(), 1);
    error
}

#[test]
fn a_prompt_beyond_the_context_is_refused_with_figures() {
    let error = refusal(Request { prompt: vec![1; 32], max_tokens: 4, ..Request::default() });
    assert!(matches!(error, GenerateError::ContextOverflow { needed: 33, capacity: 32, .. }), "{error}");
}

#[test]
fn an_empty_prompt_is_refused() {
    let error = refusal(Request { max_tokens: 4, ..Request::default() });
    assert!(matches!(error, GenerateError::EmptyPrompt { .. }), "{error}");
}

#[test]
fn an_unknown_token_is_refused_with_its_place() {
    let error = refusal(Request { prompt: vec![1, 2, 512], max_tokens: 4, ..Request::default() });
    assert!(matches!(error, GenerateError::UnknownToken { place: 2, id: 512, vocab: 512, .. }), "{error}");
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let wrong = [
        ("temperature", Sampling { temperature: f32::NAN, ..Sampling::default() }),
        ("temperature", Sampling { temperature: -1.0, ..Sampling::default() }),
        ("top_p", Sampling { top_p: 0.0, ..Sampling::default() }),
        ("min_p", Sampling { min_p: 1.5, ..Sampling::default() }),
        ("repetition_penalty", Sampling { repetition_penalty: 0.0, ..Sampling::default() }),
    ];
    for (name, sampling) in wrong {
        let request = Request { prompt: vec![1], max_tokens: 1, sampling, ..Request::default() };
        let error = refusal(request);
        assert!(matches!(error, GenerateError::Setting { setting, .. } if setting == name), "{error}");
    }
}

#[test]
fn a_reply_ends_at_its_length_or_where_the_context_is_full() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let mut generator = generator(&tiny(&device, "qwen2-bias"), 2, 32, KvFormat::F16);
    let ask = |len: usize, max_tokens| Request { prompt: vec![7; len], max_tokens, ..Request::default() };
    let replies = generate(&mut generator, &[ask(5, 3), ask(20, 100), ask(31, 9), ask(4, 0)]);
    assert_eq!((&replies[0].finish, replies[0].tokens.len()), (&Finish::Length, 3));
    assert_eq!((&replies[1].finish, replies[1].tokens.len()), (&Finish::ContextFull, 12));
    assert_eq!((&replies[2].finish, replies[2].tokens.len()), (&Finish::ContextFull, 1));
    assert_eq!((&replies[3].finish, replies[3].tokens.len()), (&Finish::Length, 0));
}

#[test]
fn a_cancel_ends_every_reply_with_what_it_has() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let mut generator = generator(&tiny(&device, "qwen2-bias"), 2, 256, KvFormat::F16);
    let asked: Vec<Request> =
        (0..3).map(|id| Request { prompt: vec![id + 1; 5], max_tokens: 200, ..Request::default() }).collect();
    let cancel = CancelToken::new();
    let mut seen = 0;
    let replies = generator
        .generate(&asked, &cancel, &mut |_| {
            seen += 1;
            if seen == 20 {
                cancel.cancel();
            }
        })
        .expect("a cancel is no error");
    assert!(replies.iter().all(|reply| reply.finish == Finish::Cancelled));
    let drawn: usize = replies.iter().map(|reply| reply.tokens.len()).sum();
    assert!((20..40).contains(&drawn), "{drawn}");
    assert!(replies[2].tokens.is_empty(), "the third request was still waiting");
    cancel.reset();
    // What was computed before the cancel is still good.
    assert_eq!(generate(&mut generator, &asked[..1])[0].tokens.len(), 200);
}

#[test]
fn stop_texts_end_a_reply_and_stay_out_of_it() {
    let path = model::smollm2();
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let model = load(&device, &path);
    let tokenizer = model.tokenizer().expect("SmolLM2 has a tokenizer");
    let prompt = tokenizer
        .encode("The days of the week are Monday, Tuesday, Wednesday,", parr::tokenizer::Specials::AsText)
        .expect("plain text is encoded");
    let request = Request { prompt, max_tokens: 24, stop: vec!["Fri".to_owned()], ..Request::default() };
    let mut streamed = String::new();
    let reply = generator(&model, 1, 64, KvFormat::F16)
        .generate(&[request], &CancelToken::new(), &mut |event| streamed.push_str(&event.text))
        .expect("a sound request is served")
        .remove(0);
    assert_eq!(reply.finish, Finish::Stop("Fri".to_owned()));
    assert_eq!(reply.text, " Thursday, ");
    assert_eq!(streamed, reply.text);
}

#[test]
fn a_cache_beyond_the_device_is_refused_with_figures() {
    let _turn = gpu::turn();
    let narrow = DeviceOptions { max_binding_bytes: Some(1 << 20), ..DeviceOptions::default() };
    let device = gpu::open(&narrow);
    let model = tiny(&device, "qwen2-bias");
    let options = parr::generate::GeneratorOptions {
        slots: 64,
        context: 4096,
        ..parr::generate::GeneratorOptions::default()
    };
    match parr::generate::Generator::new(&model, options) {
        Err(GenerateError::Device(DeviceError::Limit { needed, allowed, .. })) => {
            assert!(needed > allowed && allowed == 1 << 20);
        }
        other => panic!("expected a limit, got {other:?}"),
    }
}

#[test]
fn an_adapter_that_is_not_there_is_named_with_those_that_are() {
    drop(gpu::open(&DeviceOptions::default()));
    let options = DeviceOptions { adapter: Some("no such adapter".to_owned()), ..DeviceOptions::default() };
    match Device::open(&options) {
        Err(DeviceError::AdapterNotFound { wanted, found }) => {
            assert_eq!(wanted, "no such adapter");
            assert!(!found.is_empty());
        }
        other => panic!("expected an error, got {other:?}"),
    }
}
