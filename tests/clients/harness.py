"""lm-evaluation-harness against `parr serve`, with a task of its own, so that nothing is downloaded.

The first argument is the address. The tokenizer is that of the server.
"""

import json
import pathlib
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
print(f"lm-evaluation-harness: passed, accuracy {accuracy:.2f}")
