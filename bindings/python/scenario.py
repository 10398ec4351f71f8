"""The scenario of the bindings in Python; `bindings/test` runs it, and the same in Kotlin and Swift.

    python scenario.py MODEL REWARD WORK

MODEL is a pulled name or a path, REWARD the folder of a reward model for it or `-`, WORK an empty folder. Each
part prints one line: `ok NAME SECONDS DETAIL`, or `skipped` if it needs a reward model and there is none. The run
ends at the first part that fails.
"""

import asyncio
import gc
import json
import os
import sys
import threading
import time
from pathlib import Path

import parr

MODEL, REWARD, WORK = sys.argv[1], sys.argv[2], Path(sys.argv[3])
PROMPT = "Why is the sky blue?"
SHORT = "Air scatters blue light."
LONG = (
    "That is a good question, and there is much to say. The sky looks blue because air scatters blue light more "
    "than red light, and so the light that reaches us from all sides is blue."
)
SETTINGS = """
steps = 3
lora = { rank = 4, targets = "q,v" }
batch = { sequences = 1 }
evaluation = { held_out = 1, every = 0 }
checkpoint = { every = 1 }
"""
ALIGNMENT = """
algorithm = "rloo"
steps = 3
lora = { rank = 4, targets = "q,v" }
rollout = { prompts = 2, replies = 2, max_reply_tokens = 8 }
update = { epochs = 1 }
checkpoint = { every = 1 }
"""
GREEDY = parr.ReplyOptions(max_tokens=12, temperature=0.0, top_p=1.0)


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def check(held: object, what: str) -> None:
    if not held:
        raise AssertionError(what)


class Pieces(parr.TokenListener):
    """Records pieces. Cancels or throws after some of them."""

    def __init__(self, cancel=None, after: int = 3, throws: bool = False) -> None:
        self.texts: list[str] = []
        self.cancel, self.after, self.throws = cancel, after, throws

    def on_piece(self, piece: parr.Piece) -> None:
        self.texts.append(piece.text)
        if self.throws:
            raise ValueError("the screen is gone")
        if self.cancel and len(self.texts) >= self.after:
            self.cancel.cancel()


class Events(parr.TrainingListener):
    """Records events, and calls back when a step is done."""

    def __init__(self, on_step=None) -> None:
        self.events: list = []
        self.on_step = on_step

    def on_event(self, event) -> None:
        self.events.append(event)
        if isinstance(event, parr.TrainingEvent.STEP) and self.on_step:
            self.on_step(event.report.step)

    def steps(self) -> list[int]:
        return [event.report.step for event in self.events if isinstance(event, parr.TrainingEvent.STEP)]


class Battery(parr.TrainingPolicy):
    """Delays the second step once, like an app whose battery is low."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def may_step(self, step: int):
        self.asked.append(step)
        if step == 1 and self.asked.count(1) == 1:
            return parr.StepDecision.WAIT(seconds=0.1)
        return parr.StepDecision.GO()


def brief_and_thorough() -> tuple[parr.PrincipleSet, parr.PrincipleSet]:
    """Two sets of principles as values: a shipped set reduced to one principle, and the same set with its negative."""
    shipped = parr.open_principles("style")
    brief = next(one for one in shipped.principles if one.id == "style-concise")
    edited = parr.Principle(
        id="thorough", dimension="Thorough", definition=brief.negative, negative=brief.definition
    )
    sets = []
    for name, principle in [("short", brief), ("long", edited)]:
        chosen = parr.PrincipleSet(
            id=name,
            title=f"Replies that are {name}",
            description="Edited by an app.",
            uses=parr.PrincipleUse.ALWAYS(),
            principles=[parr.Principle(id=principle.id, dimension=principle.dimension, definition=principle.definition)],
        )
        check(parr.check_principles(parr.principles_to_toml(chosen)) == [], "an edited set is sound")
        sets.append(chosen)
    return sets[0], sets[1]


async def load(state: dict) -> str:
    options = parr.ModelOptions(model=MODEL, memory_mib=2048)
    done: list[int] = []

    class Progress(parr.ProgressListener):
        def on_progress(self, done_bytes, total_bytes) -> None:
            done.append(done_bytes)

    model = state["model"] = await parr.Model.load(options, Progress())
    info = model.info()
    check(info.chat and done and done == sorted(done), "progress while loading")
    check(len(parr.gpus()) > 0, "a GPU in the list")
    return f"{info.weight_bytes >> 20} MiB on {info.gpu}"


async def streaming(state: dict) -> str:
    session = state["model"].chat(parr.ChatOptions(context=512))
    parts = [part async for part in parr.stream(session, PROMPT, GREEDY)]
    reply = parts.pop()
    check("".join(piece.text for piece in parts).rstrip() == reply.text, "pieces are the reply")
    check([message.role for message in session.messages()][-2:] == ["user", "assistant"], "both turns are kept")
    again = await state["model"].chat(parr.ChatOptions(context=512)).reply(PROMPT, GREEDY)
    check(again.text == reply.text, "the same again")
    batch = await state["model"].generate(
        [parr.Prompt(messages=[parr.ChatMessage(role="user", content=PROMPT)], options=GREEDY)] * 2, context=512
    )
    check([one.text for one in batch] == [reply.text] * 2, "the same in a batch")
    state["reply"] = reply.text
    return f"{len(parts)} pieces"


async def cancelling(state: dict) -> str:
    session = state["model"].chat(parr.ChatOptions(context=512))
    long = parr.ReplyOptions(max_tokens=400, temperature=0.0)
    token = parr.CancelToken()
    reply = await session.reply("Count to a thousand.", long, Pieces(token), token)
    check(reply.finish == parr.FinishReason.CANCELLED and reply.tokens < 400, f"{reply.finish}")
    # Cancelling a task also cancels its call, so the session is free again immediately.
    task = asyncio.ensure_future(session.reply("Once more.", long))
    await asyncio.sleep(0.5)
    task.cancel()
    started = time.monotonic()
    await session.reply("Hello.", parr.ReplyOptions(max_tokens=2))
    waited = time.monotonic() - started
    check(waited < 20.0, f"the lost reply went on for {waited:.1f} s")
    return f"after {reply.tokens} tokens"


async def scoring(state: dict) -> str:
    judge = state["judge"] = await state["model"].open_reward(REWARD)
    state["brief"], state["thorough"] = brief_and_thorough()
    short = await judge.score(PROMPT, [SHORT, LONG], parr.draw_principles(state["brief"], 0))
    long = await judge.score(PROMPT, [SHORT, LONG], parr.draw_principles(state["thorough"], 0))
    margins = [short[0].value - short[1].value, long[0].value - long[1].value]
    check(margins[0] > 0 > margins[1], f"the ranking does not turn: {margins}")
    return f"{margins[0]:+.2f} under brief, {margins[1]:+.2f} under thorough"


async def best(state: dict) -> str:
    session = state["model"].chat(parr.ChatOptions(context=512))
    options = parr.ReplyOptions(max_tokens=12, temperature=1.0, seed=7)
    steering = parr.Steering(principles=state["brief"], search=parr.Search.BEST_OF(n=2))
    answer = await session.steered_reply(PROMPT, steering, state["judge"], options)
    values = [candidate.score.value for candidate in answer.candidates]
    check(len(values) == 2 and values[answer.chosen] == max(values), f"{values}")
    check(session.messages()[-1].content == answer.reply.text, "the best is kept")
    return f"scores {values[0]:+.2f} {values[1]:+.2f}"


def write_rows() -> str:
    path = WORK / "rows.jsonl"
    rows = [{"prompt": f"Say {n}.", "response": f"{n} it is."} for n in ["one", "two", "three", "four"]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


async def training(state: dict) -> str:
    data = state["data"] = parr.TrainingData.EXAMPLES(file=write_rows(), held_out=None)
    out = state["run"] = str(WORK / "run")
    options = parr.TrainingOptions(data=data, out=out, settings=SETTINGS)
    first, policy, jobs = Events(), Battery(), []
    first.on_step = lambda step: jobs[0].cancel() if step == 2 else None
    jobs.append(state["model"].train(options, first, policy))
    jobs[0].pause()
    check(jobs[0].status().step == 0, "nothing is done while it is paused")
    jobs[0].resume()
    check((await jobs[0].wait()).is_cancelled(), "the first run was cancelled")
    check(first.steps() == [1, 2] and policy.asked == [0, 1, 1], f"{first.steps()} {policy.asked}")
    options.resume = True
    second = Events()
    job = state["model"].train(options, second)
    outcome = await job.wait()
    check(outcome.is_done() and second.steps() == [3], f"{outcome} {second.steps()}")
    check(job.status().state == parr.TrainingState.DONE, f"{job.status()}")
    state["adapter"] = await state["model"].open_adapter(outcome.adapter)
    return "cancelled after 2, resumed, done after 3"


async def alignment(state: dict) -> str:
    """Three steps of RL with the reward model, under an edited set. Cancelled after one step, then resumed."""
    prompts = WORK / "prompts.jsonl"
    prompts.write_text("".join(f'{{"id": "{n}", "type": "general", "prompt": "Say {n}."}}\n' for n in ["one", "two"]))
    data = parr.TrainingData.PROMPTS(file=str(prompts), principles=[state["brief"]], reward=REWARD)
    options = parr.TrainingOptions(data=data, out=str(WORK / "aligned"), settings=ALIGNMENT)
    first, jobs = Events(), []
    first.on_step = lambda step: jobs[0].cancel()
    jobs.append(state["model"].train(options, first))
    check((await jobs[0].wait()).is_cancelled() and first.steps() == [1], f"{first.steps()}")
    options.resume = True
    second = Events()
    outcome = await state["model"].train(options, second).wait()
    check(outcome.is_done() and second.steps() == [2, 3], f"{outcome} {second.steps()}")
    rollouts = [event for event in first.events + second.events if isinstance(event, parr.TrainingEvent.ROLLOUT)]
    judged_by = {principle for event in rollouts for sample in event.samples for principle in sample.principles}
    check([len(event.samples) for event in rollouts] == [4, 4, 4] and judged_by == {"style-concise"}, f"{judged_by}")
    await state["model"].open_adapter(outcome.adapter)
    return "cancelled after 1, resumed, done after 3"


async def adapters(state: dict) -> str:
    adapter = state["adapter"]
    blend = parr.blend_adapters(
        [parr.AdapterShare(adapter=adapter, weight=0.5), parr.AdapterShare(adapter=adapter, weight=-0.5)]
    )
    check(blend.info().rank == 2 * adapter.info().rank, f"{blend.info()}")
    session = state["model"].chat(parr.ChatOptions(context=512))
    session.attach(blend)
    check((await session.reply(PROMPT, GREEDY)).text == state["reply"], "halves that cancel out change nothing")
    session.detach()
    await adapter.export_peft(str(WORK / "peft"), half=True)
    await adapter.export_gguf(str(WORK / "adapter.gguf"))
    for name in ["peft", "adapter.gguf"]:
        again = await state["model"].open_adapter(str(WORK / name))
        check(again.info().rank == adapter.info().rank, name)
    return f"rank {adapter.info().rank}, {adapter.info().parameters} values"


async def errors(state: dict) -> str:
    model, seen = state["model"], set()

    async def provoke(code: str, awaitable) -> None:
        try:
            await awaitable
        except parr.ParrError as error:
            check(parr.error_code(error) == code and str(error), f"{code}: got {parr.error_code(error)}: {error}")
            seen.add(code)
        else:
            raise AssertionError(f"{code} was not provoked")

    async def called(work) -> None:
        work()

    async def trained(data: str, out: str, settings: str) -> None:
        examples = parr.TrainingData.EXAMPLES(file=data, held_out=None)
        await model.train(parr.TrainingOptions(data=examples, out=out, settings=settings)).wait()

    session = model.chat(parr.ChatOptions(context=128))
    used = parr.CancelToken()
    used.cancel()
    junk, bad_rows = WORK / "junk.gguf", WORK / "bad.jsonl"
    junk.write_bytes(b"GGUF, or so it says")
    bad_rows.write_text('{"prompt": 1}\n')
    load, options = parr.Model.load, parr.ModelOptions
    if "judge" in state:
        await provoke("Cancelled", state["judge"].score(PROMPT, [SHORT], [], used))
    await provoke("NotFound", load(options(model="no-such-model")))
    await provoke("Format", load(options(model=str(junk))))
    await provoke("Gpu", load(options(model=MODEL, gpu="no such GPU")))
    await provoke("Memory", load(options(model=MODEL, memory_mib=10)))
    nowhere = parr.PullOptions(cache=str(WORK / "cache"), endpoint="http://127.0.0.1:9")
    await provoke("Network", parr.pull_model("org/repository", nowhere))
    await provoke("Storage", state["adapter"].export_gguf("/dev/null/adapter.gguf"))
    await provoke("Principles", called(lambda: parr.parse_principles("id = 1")))
    await provoke("Argument", session.reply(PROMPT, parr.ReplyOptions(temperature=-1.0)))
    await provoke("Context", session.reply(PROMPT * 40))
    await provoke("Mismatch", model.open_reward(state["run"]))
    await provoke("Data", trained(str(bad_rows), str(WORK / "bad"), ""))
    await provoke("Run", trained(str(WORK / "rows.jsonl"), state["run"], SETTINGS))
    steep = SETTINGS + "optimizer = { learning_rate = 1e30 }\nschedule = { warmup = 0 }\n"
    await provoke("Diverged", trained(str(WORK / "rows.jsonl"), str(WORK / "steep"), steep))
    await provoke("Callback", session.reply(PROMPT, GREEDY, Pieces(throws=True)))
    faults = parr.check_principles('id = "x"\ntitle = 3\n')
    check(any((fault.line, fault.column) == (2, 9) for fault in faults), f"{faults}")
    return f"{len(seen)} codes"


async def lost(state: dict) -> str:
    model = state["model"]
    session = model.chat(parr.ChatOptions(context=512))
    await session.reply("Hello.", parr.ReplyOptions(max_tokens=2))

    class Release(parr.TokenListener):
        def on_piece(self, piece) -> None:
            model.release()

    try:
        await session.reply("Count to a thousand.", parr.ReplyOptions(max_tokens=200), Release())
    except parr.ParrError.DeviceLost:
        pass
    else:
        raise AssertionError("the reply outlived its device")
    reply = await session.reply(PROMPT, parr.ReplyOptions(max_tokens=4))
    check(reply.tokens > 0 and len(session.messages()) >= 4, "the session goes on")
    if "judge" in state:
        await state["judge"].score(PROMPT, [SHORT], [])
    return "the next call opened it again"


async def cycles(state: dict) -> str:
    model, used = state["model"], parr.CancelToken()
    used.cancel()

    async def once() -> None:
        session = model.chat(parr.ChatOptions(system="Be kind."))
        session.set_messages(session.messages())
        blend = parr.blend_adapters([parr.AdapterShare(adapter=state["adapter"], weight=1.0)])
        session.attach(blend)
        parr.principles_to_toml(parr.open_principles("policy"))
        try:
            parr.parse_principles("id = 1")
        except parr.ParrError.Principles:
            pass

    async def replying() -> None:
        session = model.chat(parr.ChatOptions(context=128))
        await session.reply("Hello.", parr.ReplyOptions(max_tokens=1), None, used)

    for _ in range(100):
        await once()
    for _ in range(5):
        await replying()
    gc.collect()
    before, held = resident_bytes(), model.memory().current_bytes
    for _ in range(1000):
        await once()
    for _ in range(20):
        await replying()
    gc.collect()
    grown = (resident_bytes() - before) / 1e6
    check(grown < 40.0, f"grew by {grown:.1f} MB")
    check(model.memory().current_bytes <= held, "device memory came back")
    return f"1000 objects and 20 caches: {grown:+.1f} MB"


async def threads(state: dict) -> str:
    model, results, failures = state["model"], [None] * 8, []

    def work(place: int) -> None:
        try:
            session = model.chat(parr.ChatOptions(context=128))
            results[place] = asyncio.run(session.reply(PROMPT, GREEDY)).text
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    workers = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    check(not failures, f"{failures}")
    check(results == [state["reply"]] * 8, f"{set(results)}")
    return "8 replies, all the same"


async def main() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    state: dict = {}
    for part in [load, streaming, cancelling, scoring, best, training, alignment, adapters, errors, lost, cycles, threads]:
        if REWARD == "-" and part in [scoring, best, alignment]:
            print(f"skipped {part.__name__} - no reward model", flush=True)
            continue
        started = time.monotonic()
        detail = await part(state)
        print(f"ok {part.__name__} {time.monotonic() - started:.1f} {detail}", flush=True)


asyncio.run(main())
