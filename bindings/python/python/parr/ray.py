"""Alignment on the workers of a Ray cluster. Needs Ray: ``pip install 'parr[ray]'``.

    import parr, parr.ray

    outcome = parr.ray.align(
        parr.ModelOptions(model="smollm2"),
        parr.TrainingOptions(
            data=parr.TrainingData.PROMPTS(
                file="prompts.jsonl",
                principles=[parr.open_principles("style")],
                reward="reward-models/smollm2-style",
            ),
            out="runs/aligned",
        ),
        parr.ray.Cluster(workers=4, num_gpus=1),
    )

This process leads the run: it has the base model and the adapters too, takes the optimizer steps and writes the
folder of the run. Workers sample and score replies, read them, and compute gradients. The result does not depend on
the number of workers, nor on workers that die: their tasks are repeated. The run can resume with other workers, or
with none.

Every worker opens the model, the reward model and the adapter to start from, so their names and paths must mean the
same everywhere. All workers need the same kind of GPU, driver and kernels.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from dataclasses import dataclass
from typing import Any, Callable, Deque, Dict, List, Optional, Union

import ray
from ray.exceptions import RayError, RayTaskError

from . import (
    Adapter,
    Model,
    ModelOptions,
    ParrError,
    TrainingData,
    TrainingListener,
    TrainingOptions,
    TrainingOutcome,
    TrainingPolicy,
    TrainingWorkers,
    error_code,
)

__all__ = ["Cluster", "align"]


@dataclass
class Cluster:
    """The workers of a run."""

    workers: Union[int, Callable[[], int]] = 2
    """Number of workers, or a function that returns it. It is asked before the tasks of each part of a step, so workers
    can join and leave during the run."""

    num_cpus: float = 1
    """CPU cores that Ray reserves for each worker."""

    num_gpus: float = 0
    """GPUs that Ray reserves for each worker. On NVIDIA GPUs Ray shows each worker its own by CUDA_VISIBLE_DEVICES, which
    Vulkan does not read: with several GPUs in a machine, name each worker's by ``gpu_of``."""

    gpu_of: Optional[Callable[[int], str]] = None
    """The name or index of the GPU of worker N, for ``ModelOptions.gpu``."""

    resources: Optional[Dict[str, float]] = None
    """Custom resources of Ray that each worker needs."""

    max_replacements: int = 100
    """The run fails after this number of workers have died."""


class _Worker:
    """An actor: one worker with its model."""

    def __init__(self, model: Dict[str, Any], setup: bytes, reward: Optional[str], start: Optional[str]) -> None:
        async def opened() -> Any:
            base = await Model.load(ModelOptions(**model))
            adapter = await base.open_adapter(start) if start else None
            return await base.training_worker(setup, reward, adapter)

        self._worker = asyncio.run(opened())

    def run(self, shared: bytes, task: bytes) -> bytes:
        try:
            return asyncio.run(self._worker.run(shared, task))
        except ParrError.DeviceLost:
            # Another process opens the GPU again.
            os._exit(1)
        except ParrError as error:
            raise RuntimeError(f"{error_code(error)}: {error}") from None


class _Workers(TrainingWorkers):
    """Gives the tasks of a run to actors, and replaces those that die."""

    def __init__(self, cluster: Cluster, model: ModelOptions, reward: Optional[str], start: Optional[str]) -> None:
        self._cluster = cluster
        self._model = {name: getattr(model, name) for name in ("model", "gpu", "memory_mib", "quant")}
        self._reward, self._start = reward, start
        self._setup: Optional[ray.ObjectRef] = None
        self._actors: List[Any] = []
        self._started = self._replaced = 0

    def begin(self, setup: bytes) -> None:
        self._setup = ray.put(setup)
        self._resize()

    def run(self, shared: bytes, tasks: List[bytes]) -> List[bytes]:
        self._resize()
        shared_ref = ray.put(shared)
        results: List[Optional[bytes]] = [None] * len(tasks)
        waiting: Deque[int] = deque(range(len(tasks)))
        idle: Deque[Any] = deque(self._actors)
        running: Dict[ray.ObjectRef, Any] = {}
        while waiting or running:
            while waiting and idle:
                place, actor = waiting.popleft(), idle.popleft()
                running[actor.run.remote(shared_ref, tasks[place])] = (place, actor)
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                place, actor = running.pop(reference)
                try:
                    results[place] = ray.get(reference)
                except RayTaskError as error:
                    raise RuntimeError(f"a task failed: {error.cause}") from error
                except RayError as error:
                    # The worker died, or its machine. The same task gives the same result elsewhere.
                    waiting.appendleft(place)
                    actor = self._replace(actor, error)
                idle.append(actor)
        return [result for result in results if result is not None]

    def stop(self) -> None:
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []

    def _resize(self) -> None:
        wanted = self._cluster.workers
        wanted = max(1, wanted() if callable(wanted) else wanted)
        while len(self._actors) < wanted:
            self._actors.append(self._hire())
        while len(self._actors) > wanted:
            ray.kill(self._actors.pop())

    def _hire(self) -> Any:
        cluster, model = self._cluster, dict(self._model)
        if cluster.gpu_of is not None:
            model["gpu"] = cluster.gpu_of(self._started)
        self._started += 1
        actor = ray.remote(_Worker).options(
            num_cpus=cluster.num_cpus, num_gpus=cluster.num_gpus, resources=cluster.resources
        )
        return actor.remote(model, self._setup, self._reward, self._start)

    def _replace(self, actor: Any, error: Exception) -> Any:
        self._replaced += 1
        if self._replaced > self._cluster.max_replacements:
            raise RuntimeError(f"{self._replaced} workers died, the last one so: {error}") from error
        ray.kill(actor)
        fresh = self._hire()
        self._actors[self._actors.index(actor)] = fresh
        return fresh


def align(
    model: ModelOptions,
    options: TrainingOptions,
    cluster: Optional[Cluster] = None,
    *,
    start: Optional[str] = None,
    listener: Optional[TrainingListener] = None,
    policy: Optional[TrainingPolicy] = None,
) -> TrainingOutcome:
    """Aligns ``model`` as ``Model.train`` does, with the workers of a Ray cluster.

    ``options.data`` is ``TrainingData.PROMPTS``. ``start`` is the path of an adapter to start from, instead of
    ``options.start``. If Ray is not initialized, a local one is started. An interrupt (Ctrl-C) saves the state of the
    run and ends it; call again with ``resume`` to continue.

    Raises the errors of ``TrainingJob.wait``; ``ParrError.Network`` if workers fail.
    """
    if not isinstance(options.data, TrainingData.PROMPTS):
        raise ParrError.Argument("parr.ray.align needs TrainingData.PROMPTS")
    if not ray.is_initialized():
        ray.init()
    workers = _Workers(cluster or Cluster(), model, options.data.reward, start)

    async def run() -> TrainingOutcome:
        base = await Model.load(model)
        adapter: Optional[Adapter] = await base.open_adapter(start) if start else options.start
        options.start = adapter
        job = base.train(options, listener, policy, workers)
        waiting = asyncio.ensure_future(job.wait())
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            job.cancel()
            await waiting
            raise

    try:
        return asyncio.run(run())
    finally:
        workers.stop()
