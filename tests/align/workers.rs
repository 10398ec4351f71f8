//! A run with workers ends with the bits of a run without, whatever happens to the workers.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use parr::ErrorKind;
use parr::adapter::Adapter;
use parr::align::Align;
use parr::align::{
    Algorithm, AlignConfig, AlignError, AlignPrompts, Guidelines, Outcome, RewardRole, Worker, Workers,
};
use parr::generate::CancelToken;
use parr::gpu::{Device, DeviceOptions, KernelFamily};
use parr::model::Model;
use parr::principles::{PrincipleSet, Use};
use parr::train::Control;

use super::judged::{opinionated, prompts};
use super::{load, logged, settings, tiny, wanted};
use crate::reward::{rules, tiny_that_reads};
use crate::support::gpu;

/// Workers in this process, each with a model and a bank of its own.
struct Crew<'a> {
    size: usize,
    model: &'a Model,
    reward: Option<&'a Path>,
    setup: Vec<u8>,
    workers: Vec<Worker>,
    /// Tasks so far. Every seventh worker dies in its task.
    tasks: Rc<RefCell<usize>>,
    /// The task at which all workers are gone.
    fails_at: usize,
}

impl<'a> Crew<'a> {
    fn new(size: usize, model: &'a Model, reward: Option<&'a Path>) -> Crew<'a> {
        Crew {
            size,
            model,
            reward,
            setup: Vec::new(),
            workers: Vec::new(),
            tasks: Rc::default(),
            fails_at: usize::MAX,
        }
    }

    fn hire(&self) -> Worker {
        let reward =
            self.reward.map(|path| RewardRole::open(self.model, path, false).expect("it was written"));
        Worker::new(self.model, None, reward, &self.setup).expect("it has what the run has")
    }
}

impl Workers for Crew<'_> {
    fn begin(&mut self, setup: &[u8]) -> Result<(), String> {
        self.setup = setup.to_vec();
        self.workers = (0..self.size).map(|_| self.hire()).collect();
        Ok(())
    }

    fn run(
        &mut self,
        shared: &[u8],
        tasks: &[Vec<u8>],
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<u8>>, String> {
        let mut results = vec![Vec::new(); tasks.len()];
        // Not in their order.
        for (place, task) in tasks.iter().enumerate().rev() {
            let count = {
                let mut tasks = self.tasks.borrow_mut();
                *tasks += 1;
                *tasks
            };
            if count >= self.fails_at {
                return Err("the cluster is gone".to_owned());
            }
            let worker = count * 5 % self.size;
            let result = self.workers[worker].run(shared, task, cancel);
            results[place] = result.map_err(|error| error.to_string())?;
            if count.is_multiple_of(7) {
                // Its result is lost too.
                self.workers[worker] = self.hire();
                let result = self.workers[worker].run(shared, task, cancel);
                results[place] = result.map_err(|error| error.to_string())?;
            }
        }
        Ok(results)
    }
}

/// The files that a run leaves, but for the clock.
fn left(out: &Path, last: usize) -> Vec<Vec<u8>> {
    let mut files =
        vec![out.join("adapter/adapter_model.safetensors"), out.join("adapter/parr.json"), state(out, last)];
    files.extend((1..=last).map(|step| out.join(format!("rollouts/step-{step:08}.jsonl"))));
    files
        .iter()
        .map(|file| fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
        .collect()
}

fn state(out: &Path, step: usize) -> PathBuf {
    out.join(format!("checkpoints/step-{step:08}.safetensors"))
}

/// PPO with a critic of its own, whose updates take two passes.
fn many_passes(steps: usize) -> AlignConfig {
    let mut config = settings(Algorithm::PPO, 5, steps);
    config.rollout.prompts = 100;
    config.kl.adaptive = true;
    config.checkpoint.every = 1;
    config
}

fn toy<'a>(
    model: &'a Model,
    config: &AlignConfig,
    prompts: &'a AlignPrompts,
    guidelines: &'a Guidelines,
    out: &Path,
) -> Align<'a> {
    Align::new(model, prompts, guidelines, out).config(config).source(wanted()).resume(out.exists())
}

#[test]
fn any_number_of_workers_ends_with_the_bits_of_one_process(family: KernelFamily) {
    let _turn = gpu::turn();
    let device: Device = gpu::open(&DeviceOptions { family: Some(family), ..DeviceOptions::default() });
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    // The kernels of the other family take much longer here.
    let (steps, sizes): (usize, &[usize]) =
        if family == KernelFamily::Lane8 { (2, &[3, 5]) } else { (1, &[3]) };
    let (mut config, prompts, guidelines) = (many_passes(steps), super::prompts(24), Guidelines::default());
    if family == KernelFamily::Tiled {
        config.rollout.prompts = 64;
        config.update.epochs = 1;
    }
    let run = |name: &str, size: Option<usize>| {
        let out = folder.path().join(name);
        let mut align = toy(&model, &config, &prompts, &guidelines, &out);
        let tasks = Rc::default();
        if let Some(size) = size {
            align = align.workers(Crew { tasks: Rc::clone(&tasks), ..Crew::new(size, &model, None) });
        }
        let outcome = align.run(&Control::default(), &mut |_| {}).expect("sound settings");
        assert_eq!(outcome, Outcome::Done(out.join("adapter")));
        let tasks = *tasks.borrow();
        (left(&out, steps), logged(&out), tasks)
    };
    let two = run("two", Some(2));
    // On lane8 13 of samples, 1 + 2 of readings, and 2 epochs of 2 passes.
    let tasks = if family == KernelFamily::Lane8 { 13 + 3 + 4 } else { 8 + 3 + 2 };
    assert_eq!(two.2, steps * tasks);
    for &size in sizes {
        assert!(run(&size.to_string(), Some(size)) == two, "{size} workers end with other bits than two");
    }
    // Elsewhere, kernels go by the number of rows.
    if family == KernelFamily::Lane8 {
        let alone = run("alone", None);
        assert!(alone.0 == two.0, "workers end with other bits than one process");
        assert_eq!(alone.1, two.1);
    }
}

#[test]
fn so_do_workers_with_a_reward_model_and_groups() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions { family: Some(KernelFamily::Lane8), ..DeviceOptions::default() });
    let folder = tempfile::tempdir().expect("a scratch directory");
    let base = tiny_that_reads(folder.path());
    let model = load(&device, &base);
    let reward = opinionated(&model, folder.path());
    let mut config = settings(Algorithm::GRPO, 2, 2);
    config.checkpoint.every = 1;
    let always = PrincipleSet { uses: Use::Always, ..rules() };
    let (prompts, guidelines) = (prompts(&model), Guidelines::new(vec![always]));
    let run = |name: &str, size: Option<usize>| {
        let out = folder.path().join(name);
        let role = RewardRole::open(&model, &reward, false).expect("it was written");
        let mut align = Align::new(&model, &prompts, &guidelines, &out).config(&config).reward(role);
        if let Some(size) = size {
            align = align.workers(Crew::new(size, &model, Some(&reward)));
        }
        align.run(&Control::default(), &mut |_| {}).expect("sound settings");
        (left(&out, 2), logged(&out))
    };
    let alone = run("alone", None);
    let three = run("three", Some(3));
    assert!(alone.0 == three.0, "workers end with other bits than one process");
    assert_eq!(alone.1, three.1);
}

#[test]
fn a_run_that_has_lost_its_workers_resumes_without_them() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions { family: Some(KernelFamily::Lane8), ..DeviceOptions::default() });
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    let (config, prompts, guidelines) = (many_passes(2), super::prompts(24), Guidelines::default());
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let alone =
        |out: &Path| toy(&model, &config, &prompts, &guidelines, out).run(&Control::default(), &mut |_| {});
    alone(&whole).expect("sound settings");

    let crew = Crew { fails_at: 30, ..Crew::new(2, &model, None) };
    let failed = toy(&model, &config, &prompts, &guidelines, &parts).workers(crew);
    let error = failed.run(&Control::default(), &mut |_| {}).expect_err("no workers are left");
    assert_eq!(error.to_string(), "the workers of the run: the cluster is gone");
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(state(&parts, 1).exists(), "the first step was saved");
    alone(&parts).expect("it resumes");
    assert!(left(&parts, 2) == left(&whole, 2), "the resumed run ends with other bits");
}

#[test]
fn a_worker_of_another_run_is_refused() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    let (prompts, guidelines) = (super::prompts(8), Guidelines::default());
    let config = settings(Algorithm::GRPO, 0, 1);
    /// Keeps what a run sends.
    struct Listener<'a>(&'a RefCell<Vec<Vec<u8>>>);
    impl Workers for Listener<'_> {
        fn begin(&mut self, setup: &[u8]) -> Result<(), String> {
            self.0.borrow_mut().push(setup.to_vec());
            Ok(())
        }

        fn run(&mut self, shared: &[u8], tasks: &[Vec<u8>], _: &CancelToken) -> Result<Vec<Vec<u8>>, String> {
            self.0.borrow_mut().extend([shared.to_vec(), tasks[0].clone()]);
            Ok(tasks.to_vec())
        }
    }
    let heard = RefCell::default();
    let out = folder.path().join("run");
    let run = toy(&model, &config, &prompts, &guidelines, &out).workers(Listener(&heard));
    let error = run.run(&Control::default(), &mut |_| {}).expect_err("a task is not its result");
    assert!(matches!(error, AlignError::Workers { .. }), "{error}");
    let heard = heard.into_inner();
    let [setup, shared, task] = &heard[..] else { panic!("{} messages", heard.len()) };

    let refused = |model: &Model, init: Option<&Adapter>, setup: &[u8]| {
        Worker::new(model, init, None, setup).expect_err("another run").to_string()
    };
    let weights = config.lora.fresh(model.config(), 3).expect("sound settings");
    let other = Adapter { weights, head: None, card: parr::adapter::Card::default() };
    assert_eq!(
        refused(&model, Some(&other), setup),
        "the workers of the run: this worker has another adapter to start from than the run"
    );
    let reads = load(&device, &tiny_that_reads(folder.path()));
    assert!(refused(&reads, None, setup).ends_with("this worker has another base than the run"));
    assert!(refused(&model, None, &setup[..setup.len() - 1]).contains("the setup: a message of"));

    let mut worker = Worker::new(&model, None, None, setup).expect("the same run");
    let cancel = CancelToken::new();
    let mut fails =
        |shared: &[u8], task: &[u8]| worker.run(shared, task, &cancel).expect_err("damaged").to_string();
    assert!(fails(shared, &task[..9]).contains("the task: a message of 9 bytes"));
    assert!(fails(&shared[..shared.len() / 2], task).contains("the shared part of the tasks"));
    worker.run(shared, task, &cancel).expect("the task itself");
}
