"""Aligns SmolLM2 in one process, then on two, three and five Ray workers, of which one is killed in its work, and
compares every file that the runs leave, to the last bit.

    python workers.py FOLDER
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List

import parr
import parr.ray
import ray

ROOT = Path(__file__).resolve().parents[2]
REWARD = str(ROOT / "reward-models/smollm2-principles")
PRINCIPLES = """
id = "short"
title = "Short replies"
description = "Two principles for this test."
use = "always"

[[principle]]
id = "short"
dimension = "length"
definition = "Be brief."

[[principle]]
id = "no-exclamation"
dimension = "punctuation"
definition = "Use no exclamation marks."
"""
STEPS = 2
SETTINGS = f"""
algorithm = "ppo"
seed = 3
steps = {STEPS}
lora = {{ rank = 4 }}
rollout = {{ prompts = 12, replies = 1, max_reply_tokens = 12, max_prompt_tokens = 64 }}
update = {{ epochs = 1, mini_batches = 1 }}
checkpoint = {{ every = 1 }}
"""


def options(folder: Path, name: str) -> parr.TrainingOptions:
    prompts = folder / "prompts.jsonl"
    rows = [{"id": f"p{number}", "prompt": f"What comes after {number}?"} for number in range(12)]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    principles = [parr.parse_principles(PRINCIPLES)]
    data = parr.TrainingData.PROMPTS(file=str(prompts), principles=principles, reward=REWARD)
    return parr.TrainingOptions(data=data, out=str(folder / name), settings=SETTINGS)


async def alone(folder: Path) -> None:
    model = await parr.Model.load(parr.ModelOptions(model="smollm2"))
    await model.train(options(folder, "alone")).wait()


def left(out: Path) -> Dict[str, Any]:
    """What a run leaves, without times."""
    files = ["adapter/adapter_model.safetensors", "adapter/parr.json"]
    files += [f"checkpoints/step-{step:08}.safetensors" for step in range(1, STEPS + 1)]
    files += [f"rollouts/step-{step:08}.jsonl" for step in range(1, STEPS + 1)]
    found: Dict[str, Any] = {file: (out / file).read_bytes() for file in files}
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found["metrics.jsonl"] = [
        {name: value for name, value in record.items() if "second" not in name and "runtime" not in name}
        for record in records
    ]
    return found


class Killer(parr.TrainingListener):
    """Kills a worker once, some seconds after the first step, so that it has a task."""

    def __init__(self) -> None:
        self.killed: List[int] = []

    def on_event(self, event: parr.TrainingEvent) -> None:
        if isinstance(event, parr.TrainingEvent.STEP) and not self.killed:
            self.killed.append(0)
            threading.Thread(target=self._kill).start()

    def _kill(self) -> None:
        time.sleep(3)
        for process in Path("/proc").glob("[0-9]*"):
            try:
                name = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if name.startswith(b"ray::_Worker.run"):
                self.killed[0] = int(process.name)
                os.kill(self.killed[0], signal.SIGKILL)
                return


class Counted(parr.ray._Workers):
    """Counts what goes over the wire."""

    def run(self, shared: bytes, tasks: List[bytes]) -> List[bytes]:
        begun = time.monotonic()
        results = super().run(shared, tasks)
        sent, received = len(shared) + sum(map(len, tasks)), sum(map(len, results))
        seconds = time.monotonic() - begun
        print(f"  {len(tasks)} tasks, {sent / 1e6:.2f} MB sent, {received / 1e6:.2f} MB received, {seconds:.1f} s")
        return results


def main(folder: Path) -> int:
    begun = time.monotonic()
    asyncio.run(alone(folder))
    print(f"one process: {time.monotonic() - begun:.0f} s", flush=True)
    parr.ray._Workers = Counted
    expected = left(folder / "alone")
    ray.init(num_cpus=5, include_dashboard=False, log_to_driver=False)
    failed = 0
    for workers in (2, 3, 5):
        name, killer = f"workers-{workers}", Killer()
        begun = time.monotonic()
        cluster = parr.ray.Cluster(workers=workers)
        parr.ray.align(parr.ModelOptions(model="smollm2"), options(folder, name), cluster, listener=killer)
        found = left(folder / name)
        other = [file for file in expected if found[file] != expected[file]]
        killed = killer.killed and killer.killed[0]
        verdict = f"other bits in {', '.join(other)}" if other else "the bits of one process"
        print(f"{workers} workers: {verdict}, {time.monotonic() - begun:.0f} s, killed process {killed}", flush=True)
        failed += bool(other) or not killed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
