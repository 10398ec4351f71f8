#!/usr/bin/env python3
"""Serves a model to 64 clients that misbehave, and checks that nothing is lost. Needs Python 3.9 and nothing else.

    tests/serve/soak.py PARR [--minutes 10] [--clients 64] [--model smollm2] [--seed 0]

A client streams a reply to its end, leaves in the middle, reads slowly, sends a body that is too large, broken JSON, half
a request, or wrong fields. Each reply that ends must be the text that `parr generate` gives for its prompt and seed. At
the end the server's memory must be within 5% of what it was before the load, the server must not have panicked, and must
end with exit code 0.
"""

import argparse
import collections
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

WORDS = "river stone cloud lamp paper green bread window garden winter orange silver".split()
TEMPERATURE, TOP_P = 0.8, 0.95
SLOTS = 16
CONTEXT = 512
QUEUE = 48
TIMEOUT = 300


def requests(n):
    """`n` prompts with their seeds and lengths."""
    drawn = random.Random(1)
    return [
        {
            "prompt": f"A short text about a {drawn.choice(WORDS)} and a {drawn.choice(WORDS)}, number {place}:",
            "seed": drawn.randrange(2**32),
            "max_tokens": drawn.choice([4, 8, 16, 32]),
        }
        for place in range(n)
    ]


def expected(parr, model, rows):
    """The text of each request by `parr generate`."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    command = [parr, "generate", "--model", model, "--raw", "--jsonl", "-", "--context", str(CONTEXT)]
    command += ["--temperature", str(TEMPERATURE), "--top-p", str(TOP_P), "--batch", str(SLOTS)]
    done = subprocess.run(command, input=lines, check=True, capture_output=True, text=True)
    return [json.loads(line)["text"] for line in done.stdout.splitlines()]


class Server:
    def __init__(self, parr, model, folder):
        self.log_path = os.path.join(folder, "log")
        command = [parr, "serve", model, "--port", "0", "--slots", str(SLOTS), "--context", str(CONTEXT)]
        command += ["--queue", str(QUEUE), "--runs", os.path.join(folder, "runs")]
        command += ["--principles", os.path.join(folder, "principles")]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 180
        while True:
            found = re.search(r"^serving .* on http://127\.0\.0\.1:(\d+)", self.log(), re.MULTILINE)
            if found:
                self.port = int(found[1])
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start:\n{self.log()}")
            time.sleep(0.1)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def connect(self, receive_buffer=None):
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(TIMEOUT)
        client.connect(("127.0.0.1", self.port))
        return client

    def memory(self):
        """Resident memory in bytes."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) * 1024

    def threads_and_files(self):
        pid = self.process.pid
        return len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))

    def metric(self, name):
        with self.connect() as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            text = read_all(client).decode()
        return float(re.search(rf"^{name} (\S+)", text, re.MULTILINE)[1])

    def wait_until_idle(self):
        deadline = time.monotonic() + 300
        while self.metric("parr_running") + self.metric("parr_waiting") > 0:
            if time.monotonic() > deadline:
                raise SystemExit("replies of clients that have left still run after five minutes")
            time.sleep(0.5)


def read_all(client):
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def head(length, extra=""):
    return f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{extra}\r\n".encode()


def post(client, body):
    client.sendall(head(len(body), "Content-Type: application/json\r\nConnection: close\r\n") + body)


def status_of(reply):
    return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.1 ") else None


def body_of(row):
    return json.dumps({**row, "temperature": TEMPERATURE, "top_p": TOP_P, "stream": True}).encode()


def text_of(reply):
    """The text of a streamed reply, or None if it was cut off."""
    pieces = []
    for line in reply.split(b"\n"):
        line = line.strip()
        if line == b"data: [DONE]":
            return "".join(pieces)
        if line.startswith(b"data: {"):
            pieces += [choice.get("text", "") for choice in json.loads(line[6:]).get("choices", [])]
    return None


class Soak:
    def __init__(self, server, rows, texts):
        self.server, self.rows, self.texts = server, rows, texts
        self.counts = collections.Counter()
        self.wrong = []
        self.lock = threading.Lock()

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def complain(self, what):
        with self.lock:
            self.wrong.append(what)

    def check(self, reply, place, kind):
        """Looks at a whole reply. Returns False if the queue was full."""
        status = status_of(reply)
        if status == 429:
            self.count("refused with 429")
            if b"retry-after" not in reply.lower():
                self.complain("a 429 without Retry-After")
            return False
        text = text_of(reply)
        if status != 200 or text is None:
            self.complain(f"{kind}: {reply[-300:]!r}")
        elif text != self.texts[place]:
            self.complain(f"{kind}: {text!r} instead of {self.texts[place]!r}")
        else:
            self.count(kind)
        return True

    def whole(self, drawn):
        place = drawn.randrange(len(self.rows))
        with self.server.connect() as client:
            post(client, body_of(self.rows[place]))
            if not self.check(read_all(client), place, "whole replies"):
                time.sleep(1)

    def slow(self, drawn):
        """Reads a few bytes at a time, with pauses."""
        place = drawn.randrange(len(self.rows))
        with self.server.connect(receive_buffer=2048) as client:
            post(client, body_of(self.rows[place]))
            parts = []
            while part := client.recv(drawn.choice([16, 64, 256])):
                parts.append(part)
                if drawn.random() < 0.1:
                    time.sleep(drawn.random())
            self.check(b"".join(parts), place, "whole replies, read slowly")

    def leaves(self, drawn):
        place = drawn.randrange(len(self.rows))
        with self.server.connect() as client:
            post(client, body_of({**self.rows[place], "max_tokens": 200}))
            client.settimeout(drawn.random() * 10)
            try:
                for _ in range(drawn.randrange(12)):
                    if not client.recv(512):
                        break
            except TimeoutError:
                pass
        self.count("left in the middle")

    def refused(self, body, wanted, kind):
        with self.server.connect() as client:
            try:
                post(client, body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # It need not read a body that it refuses.
            try:
                status = status_of(read_all(client))
            except ConnectionResetError:
                status = None
        if status in (wanted, 429) or (status is None and wanted == 413):
            self.count(kind)
        else:
            self.complain(f"{kind}: status {status} instead of {wanted}")

    def oversized(self, _drawn):
        self.refused(b'{"prompt": "' + b"a" * (5 << 20) + b'"}', 413, "bodies over the limit")

    def malformed(self, drawn):
        whole = body_of(self.rows[drawn.randrange(len(self.rows))])
        cut = drawn.randrange(1, len(whole) - 1)
        broken = drawn.choice([whole[:cut], whole[:cut] + b"\xff\xfe" + whole[cut:], b"[" * 100_000, b"null", b""])
        self.refused(broken, 400, "malformed JSON")

    def wrong_fields(self, drawn):
        row = self.rows[drawn.randrange(len(self.rows))]
        fields = drawn.choice([
            {"max_tokens": -1}, {"temperature": "hot"}, {"prompt": {"a": 1}}, {"n": 10**9}, {"stop": [1]},
            {"top_p": 7}, {"logit_bias": {"x": 1}},
        ])
        self.refused(json.dumps({**row, **fields}).encode(), 400, "wrong fields")

    def half(self, drawn):
        """Leaves before the request is whole."""
        with self.server.connect() as client:
            body = body_of(self.rows[0])
            sent = head(len(body)) + body
            client.sendall(sent[: drawn.randrange(1, len(sent) - 1)])
            time.sleep(drawn.random())
        self.count("left before the request was whole")

    def client(self, number, seed, until):
        drawn = random.Random(f"{seed} {number}")
        kinds = [self.whole, self.slow, self.leaves, self.oversized, self.malformed, self.wrong_fields, self.half]
        weights = [40, 15, 20, 3, 8, 8, 6]
        while time.monotonic() < until:
            (kind,) = drawn.choices(kinds, weights)
            try:
                kind(drawn)
            except Exception as error:  # Anything here is a finding.
                self.complain(f"{kind.__name__}: {error!r}")
                time.sleep(1)

    def run(self, clients, seconds, seed):
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=self.client, args=(n, seed, until)) for n in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.server.wait_until_idle()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("parr")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    rows = requests(96)
    texts = expected(options.parr, options.model, rows)
    assert len(texts) == len(rows)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.parr, options.model, folder)
        try:
            # Kernels are compiled and buffers are made at the first requests of each kind.
            warm = Soak(server, rows, texts)
            warm.run(options.clients, min(60, 60 * options.minutes / 4), options.seed + 1)
            before, (threads, files) = server.memory(), server.threads_and_files()
            soak = Soak(server, rows, texts)
            soak.run(options.clients, 60 * options.minutes, options.seed)
            time.sleep(5)
            after, (threads_after, files_after) = server.memory(), server.threads_and_files()
        finally:
            server.process.terminate()
            code = server.process.wait(120)
        log = server.log()
    for what, count in sorted(soak.counts.items()):
        print(f"{count:6} {what}")
    print(f"memory {before / 2**20:.0f} MiB before, {after / 2**20:.0f} MiB after, ratio {after / before:.3f}")
    print(f"threads {threads}, {threads_after} after; open files {files}, {files_after} after")
    wrong = warm.wrong + soak.wrong
    if "panicked" in log:
        wrong.append("the server panicked:\n" + "\n".join(log.splitlines()[-20:]))
    if code != 0:
        wrong.append(f"the server ended with {code}")
    if after > 1.05 * before:
        wrong.append("the server's memory grew by more than 5%")
    if threads_after > threads + 4 or files_after > files + 4:
        wrong.append("threads or open files were left over")
    if min(soak.counts["whole replies"], soak.counts["left in the middle"]) == 0:
        wrong.append("no reply ended, or no client left")
    for finding in wrong[:20]:
        print(f"wrong: {finding}", file=sys.stderr)
    if wrong:
        raise SystemExit(f"{len(wrong)} findings")
    print("nothing is wrong")


if __name__ == "__main__":
    main()
