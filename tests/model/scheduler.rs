//! Many callers on one generator.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use parr::generate::{
    CancelToken, Constraint, Finish, GenerateError, Generator, GeneratorOptions, GeneratorSource, Job,
    JobEvent, LogitOptions, Request, Sampling, Scheduler, SchedulerError, TokenConstraint,
};
use parr::gpu::DeviceOptions;
use parr::model::Model;
use parr::model::lora::AdapterId;

use super::{generate, generator, tiny};
use crate::support::gpu;

const CONTEXT: usize = 400;

/// The base alone.
struct Base {
    model: Model,
    slots: usize,
}

impl GeneratorSource for Base {
    fn open(&mut self) -> Result<Generator, GenerateError> {
        let options = GeneratorOptions { slots: self.slots, context: CONTEXT, ..GeneratorOptions::default() };
        Generator::new(&self.model, options)
    }

    fn adapter(&self, _: &str) -> Option<AdapterId> {
        None
    }
}

fn start(model: &Model, slots: usize, most_waiting: usize) -> Scheduler {
    Scheduler::start(Base { model: model.clone(), slots }, most_waiting).expect("a small cache fits")
}

fn prompt(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|at| (at * at * 7 + at * 13 + seed * 97 + 5) % 512).collect()
}

fn job(seed: u32, len: usize, max_tokens: usize) -> Job {
    let sampling = Sampling { temperature: 0.9, top_p: 0.95, seed: seed.into(), ..Sampling::default() };
    // No token ends the reply.
    let stop_ids = [][..].into();
    let request = Request { prompt: prompt(seed, len), sampling, max_tokens, stop_ids, ..Request::default() };
    Job { request, client: format!("client {}", seed % 3), ..Job::default() }
}

/// The events of some jobs, with their time.
fn submit(scheduler: &Scheduler, jobs: Vec<Job>) -> Receiver<(usize, JobEvent, Instant)> {
    let (sender, events) = channel();
    let send = move |index, event| {
        let _ = sender.send((index, event, Instant::now()));
    };
    scheduler.submit(jobs, Box::new(send)).expect("the queue has room");
    events
}

#[test]
fn replies_do_not_depend_on_who_else_is_in_the_batch() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let model = tiny(&device, "llama3-rope-gqa");
    let lengths = [3, 140, 1, 90, 33, 200, 12, 70, 140, 5];
    let jobs: Vec<Job> =
        lengths.iter().zip(0..).map(|(&len, seed)| job(seed, len, 8 + 3 * seed as usize)).collect();
    let scheduler = start(&model, 3, 64);
    let mut arrived = Vec::new();
    for (place, job) in jobs.iter().enumerate() {
        arrived.push(submit(&scheduler, vec![job.clone()]));
        // Some arrive while others decode.
        if place % 3 == 2 {
            let _ = arrived[place - 1].recv_timeout(Duration::from_secs(60));
        }
    }
    let mut alone = generator(&model, 1, CONTEXT, GeneratorOptions::default().kv);
    for (place, (events, job)) in arrived.into_iter().zip(&jobs).enumerate() {
        let reply = events.iter().find_map(|(_, event, _)| match event {
            JobEvent::Done(reply) => Some(reply),
            JobEvent::Failed(error) => panic!("job {place}: {error}"),
            JobEvent::Token { .. } => None,
        });
        let reply = reply.expect("every job ends");
        let expected = &generate(&mut alone, std::slice::from_ref(&job.request))[0];
        assert_eq!(reply.tokens, expected.tokens, "job {place}");
        assert_eq!((&reply.text, &reply.finish), (&expected.text, &expected.finish), "job {place}");
    }
    let counts = scheduler.counts();
    assert_eq!((counts.ended, counts.waiting, counts.running), (10, 0, 0));
    assert_eq!(counts.prompt_tokens, lengths.iter().sum::<usize>() as u64);
}

#[test]
fn a_long_prompt_does_not_stop_the_others() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions { decode_steps: Some(1), ..DeviceOptions::default() });
    let model = tiny(&device, "llama3-rope-gqa");
    let scheduler = start(&model, 2, 64);
    let first = submit(&scheduler, vec![job(1, 4, 300)]);
    let (_, event, _) = first.recv().expect("a token");
    assert!(matches!(event, JobEvent::Token { .. }));
    let asked = Instant::now();
    let second = submit(&scheduler, vec![job(2, 390, 2)]);
    let (_, _, answered) = second.recv().expect("a token");
    let meanwhile = first.iter().filter(|(_, _, at)| (asked..answered).contains(at)).count();
    // The prompt takes several passes, and a token is drawn after each.
    let passes = 390 / device.tuning().chunk_tokens;
    assert!(meanwhile + 1 >= passes, "{meanwhile} tokens in {passes} passes");
}

#[test]
fn jobs_of_one_prompt_compute_it_once() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let scheduler = start(&tiny(&device, "llama3-rope-gqa"), 4, 64);
    let jobs: Vec<Job> = (0..4)
        .map(|seed| {
            let mut one = job(7, 120, 4);
            one.request.sampling.seed = seed;
            one
        })
        .collect();
    let replies = scheduler.generate(jobs, &mut |_| {}).expect("sound jobs");
    let reused: Vec<usize> = replies.iter().map(|reply| reply.reused_tokens).collect();
    assert_eq!(reused, [0, 119, 119, 119]);
}

#[test]
fn a_full_queue_refuses_and_takes_jobs_later() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let scheduler = start(&tiny(&device, "llama3-rope-gqa"), 1, 2);
    let first = submit(&scheduler, vec![job(0, 5, 200)]);
    first.recv().expect("it runs");
    let waiting = submit(&scheduler, vec![job(1, 5, 2), job(2, 5, 2)]);
    let refused = scheduler.submit(vec![job(3, 5, 2)], Box::new(|_, _| {}));
    assert_eq!(refused, Err(SchedulerError::Busy { waiting: 2, most: 2 }));
    let done = |events: Receiver<(usize, JobEvent, Instant)>| {
        events.iter().filter(|(_, event, _)| matches!(event, JobEvent::Done(_))).count()
    };
    assert_eq!((done(first), done(waiting)), (1, 2));
    assert_eq!(done(submit(&scheduler, vec![job(3, 5, 2)])), 1);
}

#[test]
fn jobs_end_at_a_cancel_and_at_their_deadline() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let scheduler = start(&tiny(&device, "llama3-rope-gqa"), 1, 8);
    let cancel = CancelToken::new();
    let stopped = submit(&scheduler, vec![Job { cancel: cancel.clone(), ..job(0, 5, 390) }]);
    let late = submit(&scheduler, vec![Job { deadline: Some(Instant::now()), ..job(1, 5, 390) }]);
    let next = submit(&scheduler, vec![job(2, 5, 3)]);
    stopped.recv().expect("it runs");
    cancel.cancel();
    let finish = |events: Receiver<(usize, JobEvent, Instant)>| {
        events.iter().find_map(|(_, event, _)| match event {
            JobEvent::Done(reply) => Some((reply.finish, reply.tokens.len())),
            _ => None,
        })
    };
    let (why, tokens) = finish(stopped).expect("it ends");
    assert_eq!(why, Finish::Cancelled);
    assert!((1..390).contains(&tokens), "{tokens}");
    assert_eq!(finish(late), Some((Finish::Deadline, 0)));
    assert_eq!(finish(next), Some((Finish::Length, 3)));
}

#[test]
fn jobs_that_cannot_run_fail_alone() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let scheduler = start(&tiny(&device, "llama3-rope-gqa"), 2, 8);
    let error = |job: Job| scheduler.generate(vec![job], &mut |_| {}).unwrap_err().to_string();
    assert_eq!(error(Job { adapter: Some("x".to_owned()), ..job(0, 4, 2) }), "no adapter is called \"x\"");
    assert!(error(job(0, CONTEXT, 2)).contains("context of 401 tokens, but it has 400"));
    let mut unknown = job(0, 4, 2);
    unknown.request.prompt[2] = 512;
    assert!(error(unknown).contains("token id 512"));
    let replies = scheduler.generate(vec![job(0, 4, 2)], &mut |_| {}).expect("others run");
    assert_eq!(replies[0].tokens.len(), 2);
}

#[test]
fn a_drained_scheduler_ends_what_it_has() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let scheduler = start(&tiny(&device, "llama3-rope-gqa"), 1, 8);
    let events = submit(&scheduler, vec![job(0, 5, 20), job(1, 5, 20)]);
    scheduler.drain();
    let ended = events.iter().filter(|(_, event, _)| matches!(event, JobEvent::Done(_))).count();
    assert_eq!(ended, 2);
    let refused = scheduler.submit(vec![job(2, 5, 2)], Box::new(|_, _| {}));
    assert_eq!(refused, Err(SchedulerError::Stopped));
}

/// The logits after `ids`.
fn last_logits(model: &Model, ids: &[u32]) -> Vec<f32> {
    let mut rows: Vec<Vec<f32>> = Vec::new();
    let mut alone = generator(model, 1, CONTEXT, GeneratorOptions::default().kv);
    alone
        .logits(ids, None, &CancelToken::new(), &mut |part| rows.push(part.to_vec()))
        .expect("known ids have logits");
    rows.pop().expect("one row a token")
}

fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    logits.iter().map(|logit| logit - largest - sum.ln()).collect()
}

#[test]
fn the_most_probable_tokens_are_reported_with_each_token() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let model = tiny(&device, "llama3-rope-gqa");
    let plain = job(3, 9, 4);
    let mut asked = plain.clone();
    asked.request.logits.top_logprobs = 3;
    let scheduler = start(&model, 2, 8);
    // Beside a request that needs no logits.
    let replies = scheduler.generate(vec![asked, plain.clone()], &mut |_| {}).expect("sound jobs");
    assert_eq!(replies[0].tokens, replies[1].tokens, "the report changes nothing");
    assert!(replies[1].top_logprobs.is_empty());
    let mut ids = plain.request.prompt.clone();
    for (place, (token, top)) in replies[0].tokens.iter().zip(&replies[0].top_logprobs).enumerate() {
        let logprobs = log_softmax(&last_logits(&model, &ids));
        let mut order: Vec<u32> = (0..logprobs.len() as u32).collect();
        order.sort_by(|a, b| logprobs[*b as usize].total_cmp(&logprobs[*a as usize]));
        assert_eq!(top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), order[..3], "token {place}");
        for (id, logprob) in top {
            assert!((logprob - logprobs[*id as usize]).abs() < 1e-4, "token {place}");
        }
        assert!((replies[0].logprobs[place] - logprobs[*token as usize]).abs() < 1e-4, "token {place}");
        ids.push(*token);
    }
}

#[test]
fn a_bias_decides_and_does_not_change_the_reported_log_probability() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let model = tiny(&device, "llama3-rope-gqa");
    let mut biased = job(3, 9, 3);
    biased.request.logits = LogitOptions { bias: vec![(77, 500.0)], ..LogitOptions::default() };
    let mut varied = biased.clone();
    varied.request.logits.frequency_penalty = 100.0;
    varied.request.logits.bias = vec![(77, 90.0), (78, 80.0)];
    let replies =
        start(&model, 2, 8).generate(vec![biased.clone(), varied], &mut |_| {}).expect("sound jobs");
    assert_eq!(replies[0].tokens, [77, 77, 77]);
    assert_eq!(replies[1].tokens[..2], [77, 78]);
    let expected = log_softmax(&last_logits(&model, &biased.request.prompt))[77];
    assert!((replies[0].logprobs[0] - expected).abs() < 1e-4);
    let mut odd = job(3, 9, 3);
    odd.request.logits.presence_penalty = f32::NAN;
    let error = start(&model, 1, 8).generate(vec![odd], &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("presence_penalty is NaN"), "{error}");
}

/// Counts down: each token is one less than the one before, and after 70 nothing may follow.
struct Countdown(u32);

impl TokenConstraint for Countdown {
    fn allowed(&mut self) -> Result<Vec<u32>, String> {
        if self.0 < 70 {
            return Err("nothing comes after 70".to_owned());
        }
        let mut words = vec![0; 3];
        words[self.0 as usize / 32] |= 1 << (self.0 % 32);
        Ok(words)
    }

    fn accept(&mut self, token: u32) -> Result<(), String> {
        assert_eq!(token, self.0);
        self.0 -= 1;
        Ok(())
    }
}

#[test]
fn a_constraint_rules_and_its_end_fails_its_job_alone() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let scheduler = start(&tiny(&device, "llama3-rope-gqa"), 2, 8);
    let mut counting = job(3, 9, 3);
    counting.request.logits.constraint = Some(Constraint::new(|| Box::new(Countdown(72))));
    let replies = scheduler.generate(vec![counting.clone()], &mut |_| {}).expect("three tokens");
    assert_eq!(replies[0].tokens, [72, 71, 70]);
    counting.request.max_tokens = 4;
    let other = submit(&scheduler, vec![job(4, 9, 12)]);
    let error = scheduler.generate(vec![counting], &mut |_| {}).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("after 3 tokens, the constraint on the reply fails: nothing comes after 70")
    );
    let events: Vec<JobEvent> = other.iter().map(|(_, event, _)| event).collect();
    let tokens = events.iter().filter(|event| matches!(event, JobEvent::Token { .. })).count();
    assert_eq!(tokens, 12, "each token is told once, although the reply was started again");
    assert!(matches!(&events[12], JobEvent::Done(reply) if reply.tokens.len() == 12));
}
