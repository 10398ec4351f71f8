#!/usr/bin/env python3
"""Renders docs/session.svg, the picture in the README: a real terminal session, recorded now.

    make picture            builds parr, then runs: docs/session.py target/release/parr

It needs SmolLM2 (`parr pull smollm2`) and the Python package `rich`. One line of a principles file is edited
between two questions to the same chat command; nothing else changes.
"""

import pathlib
import subprocess
import sys
import tempfile

from rich.console import Console
from rich.text import Text

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PARR = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "parr").resolve()
COLUMNS = 100
QUESTION = "What is a river?"
SHORT = "Keep the reply short: a sentence or two, and not a word more than needed."
LONG = "Make the reply long: many sentences, with every detail spelt out."
PRINCIPLES = """\
id = "mine"
title = "Mine"
description = "What a good reply is."
use = "sample"
draws = 1

[[principle]]
id = "mine-form"
dimension = "Form"
definition = "{}"
"""
OPTIONS = "--principles mine.toml --reward smollm2-style --tell nobody --best-of 8 --scores --temperature 0.9 --max-tokens 160 --seed 1"


def show(console, text, style=None):
    console.print(Text(text, style=style or ""), soft_wrap=False)


def prompt(console, command):
    console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))


def chat(console, folder, sentence):
    (folder / "mine.toml").write_text(PRINCIPLES.format(sentence))
    prompt(console, "grep definition mine.toml")
    show(console, f'definition = "{sentence}"')
    first, rest = OPTIONS.split(" --tell", 1)
    prompt(console, f"echo '{QUESTION}' | parr chat {first} \\")
    show(console, f"    --tell{rest}", "bold")
    reward = REPOSITORY / "reward-models" / "smollm2-style"
    command = [PARR, "chat", *OPTIONS.replace("smollm2-style", str(reward)).split(), "--quiet"]
    ran = subprocess.run(command, cwd=folder, input=QUESTION + "\n", capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(f"parr chat failed:\n{ran.stderr}")
    show(console, ran.stdout.rstrip())
    # Messages of the driver are not part of the session.
    scores = [line for line in ran.stderr.splitlines() if "XDG_RUNTIME_DIR" not in line]
    show(console, "\n".join(scores), "dim")


def main():
    console = Console(record=True, width=COLUMNS, file=open("/dev/null", "w"), force_terminal=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        chat(console, folder, SHORT)
        show(console, "")
        prompt(console, "$EDITOR mine.toml")
        chat(console, folder, LONG)
    svg = console.export_svg(title="One line of a file is edited, and the next reply differs")
    (REPOSITORY / "docs" / "session.svg").write_text(svg)


if __name__ == "__main__":
    main()
