"""Trains the smallest reward model that turns a ranking, for the scenario of the bindings: it has seen one short
and one long reply, under one principle and its negative, and knows nothing else.

    python small_reward.py MODEL OUT
"""

import asyncio
import json
import sys
from pathlib import Path

import parr

MODEL, OUT = sys.argv[1], Path(sys.argv[2])
PROMPT = "Why is the sky blue?"
REPLIES = [
    "Air scatters blue light.",
    "That is a good question, and there is much to say. The sky looks blue because air scatters blue light more "
    "than red light, and so the light that reaches us from all sides is blue.",
]
SETTINGS = """
steps = 16
seed = 1
lora = { rank = 8, alpha = 16.0, last_layers = 6 }
optimizer = { learning_rate = 2e-3 }
schedule = { warmup = 0, decay = "constant" }
batch = { pairs = 2 }
limits = { tokens = 192, request = 16, reply = 64 }
aggregate = { noise = 0.0, held_out = 0.0, rules = false }
evaluation = { every = 0 }
checkpoint = { every = 2 }
"""


class Printed(parr.TrainingListener):
    def on_event(self, event: parr.TrainingEvent) -> None:
        if isinstance(event, parr.TrainingEvent.STEP) and event.report.loss is not None:
            print(f"step {event.report.step}: loss {event.report.loss:.4f}", flush=True)


async def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    concise = next(one for one in parr.open_principles("style").principles if one.id == "style-concise")
    chosen = parr.PrincipleSet(
        id="concise", title="Short or long", description="One principle.", uses=parr.PrincipleUse.JUDGE(),
        principles=[concise],
    )
    principles = OUT / "concise.toml"
    principles.write_text(parr.principles_to_toml(chosen))
    comparisons = OUT / "comparisons.jsonl"
    with comparisons.open("w") as lines:
        for number in range(4):
            replies = REPLIES if number % 2 == 0 else REPLIES[::-1]
            record = {
                "id": f"pair-{number}",
                "prompt": {"id": f"prompt-{number}", "prompt": PROMPT},
                "replies": [{"text": text, "seed": 0} for text in replies],
                "judge": "none",
                "model": "none",
                "seed": 0,
                "verdicts": [],
            }
            lines.write(json.dumps(record) + "\n")
    data = parr.TrainingData.COMPARISONS(files=[str(comparisons)], principles=[str(principles)], by_check=True)
    options = parr.TrainingOptions(data=data, out=str(OUT), settings=SETTINGS, resume=True)
    model = await parr.Model.load(parr.ModelOptions(model=MODEL))
    await model.train(options, Printed()).wait()


asyncio.run(main())
