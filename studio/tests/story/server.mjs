// The real server, in a scratch folder of its own.
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { once } from "node:events";
import { tmpdir } from "node:os";
import path from "node:path";

/** The first start on a software driver compiles kernels. */
const START_MS = 180_000;
/** `parr serve` waits 30 seconds for requests in progress. */
const STOP_MS = 60_000;

/**
 * Starts `PARR serve smollm2` on a free port, with empty folders for principles and runs.
 *
 * `stop()` ends it as ctrl-C does, and throws if the exit code is not 0 or a fault was logged. A refused
 * request is no fault: the page's own tests look at those.
 */
export async function startServer(parr) {
  const folder = await mkdtemp(path.join(tmpdir(), "parr-studio-"));
  const folders = { principles: path.join(folder, "principles"), runs: path.join(folder, "runs") };
  const options = ["--port", "0", "--slots", "4", "--context", "512", "--reward", "smollm2-principles"];
  const child = spawn(parr, ["serve", "smollm2", ...options, "--principles", folders.principles, "--runs", folders.runs], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise((resolve, reject) => {
    child.on("error", (error) => reject(new Error(`${parr} does not start: ${error.message}`)));
    child.on("exit", (code, signal) => resolve(signal ?? code));
  });
  ended.catch(() => {}); // whoever waits for it sees the error
  const clear = () => {
    child.kill("SIGKILL"); // does nothing once it has ended
    rmSync(folder, { recursive: true, force: true });
  };
  process.on("exit", clear);

  let log = "";
  const tail = () => log.split("\n").slice(-20).join("\n");
  const listening = new Promise((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        log += text;
        const address = log.match(/^serving .* on (http:\S+)/m);
        if (address) resolve(address[1]);
      });
    }
  });

  async function stop() {
    child.kill("SIGTERM");
    const code = await within(STOP_MS, ended, "the server does not end");
    process.off("exit", clear);
    clear();
    const faults = log.split("\n").filter((line) => / (ERROR|WARN) |panicked/.test(line) && !/ status=4\d\d /.test(line));
    if (code !== 0 || faults.length > 0) throw new Error(`the server ended with ${code}\n${faults.join("\n") || tail()}`);
  }

  const exit = ended.then((code) => Promise.reject(new Error(`the server ended with ${code} before it listened\n${tail()}`)));
  const origin = await within(START_MS, Promise.race([listening, exit]), "the server does not listen");
  exit.catch(() => {});
  return { origin, folders, tail, stop };
}

async function within(milliseconds, promise, complaint) {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), milliseconds);
  try {
    return await Promise.race([promise, once(late.signal, "abort").then(() => Promise.reject(new Error(complaint)))]);
  } finally {
    clearTimeout(timer);
  }
}
