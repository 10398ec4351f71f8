"""lm-evaluation-harness against `parr serve`, with a task of its own, so that nothing is downloaded.

The arguments are the address and the program. The tokenizer is that of the server. The log-likelihoods must be those of
`parr logprobs`.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import lm_eval
from lm_eval.tasks import TaskManager

ROWS = [
    ("The capital of France is", [" Paris", " bread"]),
    ("Two plus two is", [" four", " river"]),
    ("The opposite of hot is", [" cold", " table"]),
    ("Grass is usually", [" green", " loud"]),
    ("A week has seven", [" days", " oceans"]),
    ("Water freezes into", [" ice", " wood"]),
]

TASK = """
task: parr_facts
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: 0
target_delimiter: ""
metric_list:
  - metric: acc
"""

with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    data = folder / "facts.jsonl"
    with data.open("w") as file:
        for question, choices in ROWS:
            file.write(json.dumps({"question": question, "choices": choices}) + "\n")
    (folder / "parr_facts.yaml").write_text(TASK.format(data=data))
    results = lm_eval.simple_evaluate(
        model="local-completions",
        model_args={
            "model": "smollm2",
            "base_url": sys.argv[1] + "/v1/completions",
            "num_concurrent": 4,
            "max_retries": 1,
            "tokenizer_backend": "remote",
        },
        tasks=["parr_facts"],
        task_manager=TaskManager(include_path=str(folder)),
        bootstrap_iters=0,
    )
accuracy = results["results"]["parr_facts"]["acc,none"]
assert accuracy > 0.8, results["results"]

address, program = sys.argv[1:3]
pairs = [(question, question + choice) for question, choices in ROWS for choice in choices]
lines = "".join(json.dumps({"text": text}) + "\n" for pair in pairs for text in pair)
command = [program, "logprobs", "-", "--context", "1024"]
output = subprocess.run(command, input=lines, check=True, capture_output=True, text=True).stdout
rows = [json.loads(line) for line in output.splitlines()]
wanted = []
for prompt, whole in zip(rows[::2], rows[1::2]):
    continuation = len(whole["ids"]) - len(prompt["ids"])
    assert continuation > 0 and whole["ids"][: len(prompt["ids"])] == prompt["ids"]
    wanted.append(sum(whole["logprobs"][-continuation:]))
found = []
for sample in sorted(results["samples"]["parr_facts"], key=lambda sample: sample["doc_id"]):
    found += [float(value) for ((value, _greedy),) in sample["resps"]]
assert len(found) == len(wanted)
apart = max(abs(one - other) for one, other in zip(found, wanted))
assert apart < 1e-3, list(zip(found, wanted))
print(f"lm-evaluation-harness: passed, accuracy {accuracy:.2f}, log-likelihoods within {apart:.1e} of parr logprobs")
