"""A chat, scores under principles, and a small training run, in one file.

    python tour.py [--model smollm2] [--reward DIR]
"""

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Optional

import parr


async def chat(model: parr.Model) -> str:
    session = model.chat(parr.ChatOptions(system="Answer in one sentence.", context=512))
    print("> Why is the sky blue?")
    text = ""
    async for part in parr.stream(session, "Why is the sky blue?", parr.ReplyOptions(max_tokens=60)):
        if isinstance(part, parr.Piece):
            print(part.text, end="", flush=True)
        else:
            text = part.text
            print(f"\n({part.tokens} tokens, {part.finish.name.lower()})")
    return text


async def score(model: parr.Model, reward: str, reply: str) -> None:
    judge = await model.open_reward(reward)
    terse = "Because air scatters blue light most."
    for principle in parr.open_principles("style").principles[:3]:
        first, second = await judge.score("Why is the sky blue?", [reply, terse], [principle.definition])
        print(f"{principle.dimension:20} {first.value:+.2f} {second.value:+.2f}")


class Printed(parr.TrainingListener):
    def on_event(self, event: parr.TrainingEvent) -> None:
        if isinstance(event, parr.TrainingEvent.STEP) and event.report.loss is not None:
            print(f"step {event.report.step}: loss {event.report.loss:.3f}")


async def train(model: parr.Model) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, "rows.jsonl")
        rows.write_text("".join(json.dumps({"prompt": f"Say {n}.", "response": f"{n}, ahoy!"}) + "\n" for n in range(8)))
        options = parr.TrainingOptions(
            data=parr.TrainingData.EXAMPLES(file=str(rows), held_out=None),
            out=str(Path(folder, "run")),
            settings="steps = 3\nlora = { rank = 8 }\nbatch = { sequences = 2 }\n",
        )
        outcome = await model.train(options, Printed()).wait()
        if isinstance(outcome, parr.TrainingOutcome.DONE):
            session = model.chat(parr.ChatOptions(context=256))
            session.attach(await model.open_adapter(outcome.adapter))
            print((await session.reply("Say 9.", parr.ReplyOptions(max_tokens=12))).text)


async def main(name: str, reward: Optional[str]) -> None:
    model = await parr.Model.load(parr.ModelOptions(model=await parr.pull_model(name)))
    reply = await chat(model)
    if reward:
        await score(model, reward, reply)
    await train(model)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--reward", help="folder of a reward model")
    asked = parser.parse_args()
    asyncio.run(main(asked.model, asked.reward))
