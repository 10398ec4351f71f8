"""Generates replies to many prompts on the workers of a Ray cluster, and compares them with programs.

    pip install './bindings/python[ray]'
    python collect_ray.py prompts.jsonl comparisons.jsonl [--workers 2] [--model smollm2]
    python collect_ray.py prompts.jsonl comparisons.jsonl --workers 0        without Ray

Each worker has its own model. A record depends only on its prompt: seeds are hashes of the prompts' ids, and a reply
does not depend on its batch. So the records are the same for any worker and any order. They are written sorted by id.
`parr reward train --comparisons` reads them.
"""

import argparse
import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List

import parr

PRINCIPLES = [principle for principle in parr.open_principles("style").principles if principle.check]


def seed_of(identity: str, place: int) -> int:
    digest = hashlib.sha256(f"{identity}/{place}".encode()).digest()
    # JSON readers elsewhere keep 53 bits.
    return int.from_bytes(digest[:6], "big")


def record(row: Dict[str, Any], model: str, replies: List[parr.Reply]) -> Dict[str, Any]:
    first, second = (reply.text for reply in replies)
    verdicts = []
    for principle in PRINCIPLES:
        better = parr.compare_replies(principle, first, second)
        wording = parr.principle_wording(principle)
        verdicts.append({"principle": principle.id, "wording": wording, "scores": [float(better or 0)] * 2})
    return {
        "id": row["id"],
        "prompt": {"id": row["id"], "prompt": row["prompt"]},
        "replies": [{"text": reply.text, "seed": seed_of(row["id"], n)} for n, reply in enumerate(replies)],
        "judge": "check",
        "model": model,
        "seed": 0,
        "verdicts": verdicts,
    }


class Collector:
    """A model that answers batches of prompts."""

    def __init__(self, model: str, max_tokens: int) -> None:
        self.name, self.max_tokens = model, max_tokens
        self.model = asyncio.run(parr.Model.load(parr.ModelOptions(model=model)))

    def prompts(self, row: Dict[str, Any]) -> List[parr.Prompt]:
        messages = [parr.ChatMessage(role="user", content=row["prompt"])]
        options = [
            parr.ReplyOptions(max_tokens=self.max_tokens, temperature=1.0, seed=seed_of(row["id"], place))
            for place in range(2)
        ]
        return [parr.Prompt(messages=messages, options=one) for one in options]

    def __call__(self, batch: Dict[str, Any]) -> Dict[str, List[str]]:
        rows = [{"id": str(identity), "prompt": str(prompt)} for identity, prompt in zip(batch["id"], batch["prompt"])]
        prompts = [prompt for row in rows for prompt in self.prompts(row)]
        replies = asyncio.run(self.model.generate(prompts, slots=len(prompts), context=512))
        pairs = zip(rows, zip(replies[::2], replies[1::2]))
        # Two equal replies cannot be compared. Empty replies do not count.
        made = [
            record(row, self.name, list(pair))
            for row, pair in pairs
            if pair[0].text != pair[1].text and all(reply.text for reply in pair)
        ]
        return {"record": [json.dumps(one) for one in made]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--batch", type=int, default=4, help="prompts per batch of a worker")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--first", type=int, help="use only the first N prompts")
    asked = parser.parse_args()

    lines = asked.prompts.read_text().splitlines()[: asked.first]
    rows = [{key: json.loads(line)[key] for key in ("id", "prompt")} for line in lines]
    if asked.workers == 0:
        collector = Collector(asked.model, asked.max_tokens)
        chunks = [rows[at : at + asked.batch] for at in range(0, len(rows), asked.batch)]
        batches = [{key: [row[key] for row in chunk] for key in ("id", "prompt")} for chunk in chunks]
        records = [one for batch in batches for one in collector(batch)["record"]]
    else:
        import ray

        ray.init(num_cpus=asked.workers, include_dashboard=False)
        made = ray.data.from_items(rows).map_batches(
            Collector,
            fn_constructor_args=(asked.model, asked.max_tokens),
            batch_size=asked.batch,
            concurrency=asked.workers,
        )
        records = [row["record"] for row in made.iter_rows()]
    records.sort(key=lambda one: json.loads(one)["id"])
    asked.out.write_text("".join(one + "\n" for one in records))
    print(f"{len(records)} comparisons of {len(rows)} prompts in {asked.out}")


if __name__ == "__main__":
    main()
