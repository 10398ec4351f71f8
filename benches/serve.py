#!/usr/bin/env python3
"""Measures `parr serve` beside `parr bench`, on one machine in one run. Needs Python 3.9 and nothing else.

    benches/serve.py target/release/parr [MODEL] [--other NAME='COMMAND ... {port}']...

`--other` measures a further server with OpenAI's interface in the same way, such as llama-server with 16 slots.

Prints ratios:

* 16 streams together, against the decode rate of `parr bench --decode 16`;
* one stream, against the decode rate of `parr bench --decode 1`;
* the time to the first token of a new prompt of about 64 tokens while 8 others decode, against that time when the
  server is idle.
"""

import argparse
import http.client
import json
import shlex
import statistics
import subprocess
import threading
import time

PORT = 8971
WORDS = "river stone cloud lamp paper green bread window garden winter orange silver".split()


def stream(prompt, max_tokens, seed, started=None):
    """Runs one streaming completion. Returns when it was sent, and the times of its tokens."""
    body = {
        "prompt": prompt, "max_tokens": max_tokens, "seed": seed, "stream": True, "temperature": 1, "logprobs": 0,
    }
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=900)
    sent = time.monotonic()
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"{response.status}: {response.read().decode()}")
    times = []
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        choices = json.loads(line[6:]).get("choices")
        if choices and choices[0].get("text"):
            times.append(time.monotonic())
            if started is not None and len(times) == 1:
                started.release()
    connection.close()
    return sent, times


def decode_rate(n, max_tokens):
    """Tokens per second of `n` streams while all of them run."""
    results = [None] * n

    def run(place):
        results[place] = stream(f"{WORDS[place % 12]} {place}: a list of many things:", max_tokens, place)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    begin = max(times[0] for _, times in results)
    end = min(times[-1] for _, times in results)
    return sum(begin < at <= end for _, times in results for at in times) / (end - begin)


def first_token(seed):
    """Seconds from the request to the first token of a prompt that the cache does not know."""
    prompt = " ".join(WORDS[(seed * 7 + place * place) % 12] for place in range(60)) + f" {seed}"
    sent, times = stream(prompt, 2, seed)
    return times[0] - sent


def first_token_while(n, rounds):
    """The same while `n` others decode."""
    started = threading.Semaphore(0)
    others = [
        threading.Thread(target=stream, args=(f"Story {place}:", 220, place, started)) for place in range(n)
    ]
    for thread in others:
        thread.start()
    for _ in range(n):
        started.acquire()
    found = [first_token(100 + place) for place in range(rounds)]
    alive = sum(thread.is_alive() for thread in others)
    for thread in others:
        thread.join()
    return found, alive


def bench(parr, model, decode):
    command = [parr, "bench", model, "--prefill", "64", "--decode", str(decode), "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return report


def measure(command):
    """Starts a server, and returns its figures: rates of one and of 16 streams, and seconds to a first token."""
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for _ in range(900):
            if server.poll() is not None:
                raise SystemExit(f"{shlex.join(command)} ended with {server.returncode}")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                pass
            time.sleep(0.2)
        stream("Warm up:", 4, 0)
        decode_rate(16, 8)
        one = statistics.median(decode_rate(1, 64) for _ in range(3))
        many = statistics.median(decode_rate(16, 64) for _ in range(3))
        idle = statistics.median(first_token(place) for place in range(5))
        busy, alive = first_token_while(8, 3)
        return one, many, idle, statistics.median(busy), alive
    finally:
        server.terminate()
        server.wait(60)


def show(name, figures, rates):
    one, many, idle, busy, alive = figures
    print(name)
    print(f"  1 stream      {one:7.1f} tok/s, ratio to parr bench {one / rates[1]:.2f}")
    print(f"  16 streams    {many:7.1f} tok/s, ratio to parr bench {many / rates[16]:.2f}")
    print(
        f"  first token   {idle:7.2f} s idle, {busy:.2f} s beside 8 streams ({alive} still running), "
        f"ratio {busy / idle:.2f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("parr")
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=COMMAND")
    options = parser.parse_args()
    report = bench(options.parr, options.model, "1,16")
    rates = {row["sequences"]: row["tokens_per_second"] for row in report["decode"]}
    print(f"{report['adapter']}, {options.model}")
    print(f"parr bench: {rates[1]:.1f} tok/s of one sequence, {rates[16]:.1f} of 16", flush=True)
    command = [options.parr, "serve", options.model, "--port", str(PORT), "--slots", "16", "--context", "512"]
    show("parr serve", measure([*command, "--adapter-slots", "0"]), rates)
    for other in options.other:
        name, _, command = other.partition("=")
        show(name, measure(shlex.split(command.replace("{port}", str(PORT)))), rates)
    # The machine may have been busier at one time than at another.
    report = bench(options.parr, options.model, "1,16")
    again = {row["sequences"]: row["tokens_per_second"] for row in report["decode"]}
    print(f"parr bench again: {again[1]:.1f} and {again[16]:.1f} tok/s")


if __name__ == "__main__":
    main()
