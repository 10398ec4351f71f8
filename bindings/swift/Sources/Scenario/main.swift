// The scenario of the bindings in Swift; `bindings/test` builds and runs it, and the same in Python and Kotlin:
// Scenario MODEL REWARD WORK, with `-` for no reward model. Each part prints one line, `ok NAME SECONDS DETAIL`,
// or `skipped`. The run ends at the first part that fails.

import Foundation
import Parr

let prompt = "Why is the sky blue?"
let short = "Air scatters blue light."
let long = "That is a good question, and there is much to say. The sky looks blue because air scatters blue light more "
    + "than red light, and so the light that reaches us from all sides is blue."
let settings = """
    steps = 3
    lora = { rank = 4, targets = "q,v" }
    batch = { sequences = 1 }
    evaluation = { held_out = 1, every = 0 }
    checkpoint = { every = 1 }

    """
let alignmentSettings = """
    algorithm = "rloo"
    steps = 3
    lora = { rank = 4, targets = "q,v" }
    rollout = { prompts = 2, replies = 2, max_reply_tokens = 8 }
    update = { epochs = 1 }
    checkpoint = { every = 1 }

    """
let greedyOptions = ReplyOptions(maxTokens: 12, temperature: 0, topP: 1)

struct Failed: Error {
    let what: String
}

func check(_ held: Bool, _ what: @autoclosure () -> String) throws {
    if !held { throw Failed(what: what()) }
}

func residentBytes() -> Int {
    let statm = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? "0 0"
    return (Int(statm.split(separator: " ")[1]) ?? 0) * 4096
}

/// Counts pieces. Cancels or calls back after some of them.
final class Pieces: TokenListener, @unchecked Sendable {
    let cancel: CancelToken?
    let call: () throws -> Void
    var count = 0

    init(cancel: CancelToken? = nil, call: @escaping () throws -> Void = {}) {
        self.cancel = cancel
        self.call = call
    }

    func onPiece(piece: Piece) throws {
        count += 1
        try call()
        if count >= 3 { cancel?.cancel() }
    }
}

final class Progress: ProgressListener, @unchecked Sendable {
    var done: [UInt64] = []

    func onProgress(doneBytes: UInt64, totalBytes: UInt64?) throws {
        done.append(doneBytes)
    }
}

/// Records steps. Cancels after one of them.
final class Events: TrainingListener, @unchecked Sendable {
    let last: UInt64
    var steps: [UInt64] = []
    var job: TrainingJob?

    init(last: UInt64) {
        self.last = last
    }

    func onEvent(event: TrainingEvent) throws {
        if case .step(let report) = event {
            steps.append(report.step)
            if report.step == last { job?.cancel() }
        }
    }
}

/// Delays the second step once, like an app whose battery is low.
final class Battery: TrainingPolicy, @unchecked Sendable {
    var asked: [UInt64] = []

    func mayStep(step: UInt64) throws -> StepDecision {
        asked.append(step)
        return step == 1 && asked.filter { $0 == 1 }.count == 1 ? .wait(seconds: 0.1) : .go
    }
}

final class Scenario {
    let named: String
    let rewards: String
    let work: String
    var model: Model!
    var judge: RewardModel!
    var adapter: Adapter!
    var greedy = ""
    var brief: PrincipleSet!
    var thorough: PrincipleSet!

    init(named: String, rewards: String, work: String) {
        (self.named, self.rewards, self.work) = (named, rewards, work)
    }

    func chat(_ context: UInt32 = 512) -> ChatSession {
        model.chat(options: ChatOptions(context: context))
    }

    func load() async throws -> String {
        let progress = Progress()
        model = try await Model.load(options: ModelOptions(model: named, memoryMib: 2048), listener: progress)
        let info = try model.info()
        try check(info.chat && !progress.done.isEmpty && progress.done == progress.done.sorted(), "progress")
        try check(!gpus().isEmpty, "a GPU in the list")
        return "\(info.weightBytes >> 20) MiB on \(info.gpu)"
    }

    func streaming() async throws -> String {
        let session = chat()
        var pieces: [String] = []
        var whole: Reply?
        for try await part in session.replies(prompt, options: greedyOptions) {
            switch part {
            case .text(let text): pieces.append(text)
            case .done(let reply): whole = reply
            }
        }
        guard let reply = whole else { throw Failed(what: "no reply") }
        let joined = pieces.joined().trimmingCharacters(in: .whitespacesAndNewlines)
        try check(joined == reply.text.trimmingCharacters(in: .whitespacesAndNewlines), "pieces are the reply")
        try check(session.messages().suffix(2).map(\.role) == ["user", "assistant"], "both turns are kept")
        let again = try await chat().reply(text: prompt, options: greedyOptions)
        try check(again.text == reply.text, "the same again")
        let one = Prompt(messages: [ChatMessage(role: "user", content: prompt)], options: greedyOptions)
        let batch = try await model.generate(prompts: [one, one], context: 512)
        try check(batch.map(\.text) == [reply.text, reply.text], "the same in a batch")
        greedy = reply.text
        return "\(pieces.count) pieces"
    }

    func cancelling() async throws -> String {
        let session = chat()
        let many = ReplyOptions(maxTokens: 400, temperature: 0)
        let token = CancelToken()
        let listener = Pieces(cancel: token)
        let reply = try await session.reply(text: "Count to a thousand.", options: many, listener: listener, cancel: token)
        try check(reply.finish == .cancelled && reply.tokens < 400, "\(reply.finish)")
        // Cancelling a task also cancels its call if the call has a token.
        let task = Task {
            try await withCancelToken { token in
                try await session.reply(text: "Once more.", options: many, cancel: token)
            }
        }
        try await Task.sleep(nanoseconds: 500_000_000)
        task.cancel()
        let ended = try await task.value
        try check(ended.finish == .cancelled, "the task went on: \(ended.finish)")
        // The same holds for a stream whose reader has stopped.
        for try await _ in session.replies("And again.", options: many) { break }
        let started = Date()
        _ = try await session.reply(text: "Hello.", options: ReplyOptions(maxTokens: 2))
        try check(Date().timeIntervalSince(started) < 20, "the lost reply went on")
        return "after \(reply.tokens) tokens"
    }

    /// Two sets of principles as values: a shipped set reduced to one principle, and the same set with its negative.
    func briefAndThorough() throws {
        guard let found = try openPrinciples(name: "style").principles.first(where: { $0.id == "style-concise" }),
            let negative = found.negative
        else { throw Failed(what: "style-concise and its negative") }
        let sets = try [("short", found.definition), ("long", negative)].map { name, definition in
            let one = Principle(id: name, dimension: found.dimension, definition: definition)
            let set = PrincipleSet(
                id: name, title: "Replies that are \(name)", description: "Edited by an app.", uses: .always,
                principles: [one])
            try check(checkPrinciples(toml: try principlesToToml(set: set)).isEmpty, "an edited set is sound")
            return set
        }
        (brief, thorough) = (sets[0], sets[1])
    }

    func scoring() async throws -> String {
        judge = try await model.openReward(folder: rewards)
        try briefAndThorough()
        let under = try await judge.score(prompt: prompt, replies: [short, long], principles: drawPrinciples(set: brief, seed: 0))
        let against = try await judge.score(prompt: prompt, replies: [short, long], principles: drawPrinciples(set: thorough, seed: 0))
        let margins = [under[0].value - under[1].value, against[0].value - against[1].value]
        try check(margins[0] > 0 && margins[1] < 0, "the ranking does not turn: \(margins)")
        return String(format: "%+.2f under brief, %+.2f under thorough", margins[0], margins[1])
    }

    func best() async throws -> String {
        let session = chat()
        let options = ReplyOptions(maxTokens: 12, temperature: 1, seed: 7)
        let steering = Steering(principles: brief, search: .bestOf(n: 2))
        let answer = try await session.steeredReply(text: prompt, steering: steering, judge: judge, options: options)
        let values = answer.candidates.compactMap { $0.score?.value }
        try check(values.count == 2 && values[Int(answer.chosen)] == values.max(), "\(values)")
        try check(session.messages().last?.content == answer.reply.text, "the best is kept")
        return String(format: "scores %+.2f %+.2f", values[0], values[1])
    }

    var rows: String { work + "/rows.jsonl" }
    var run: String { work + "/run" }

    func training() async throws -> String {
        let lines = ["one", "two", "three", "four"].map { "{\"prompt\": \"Say \($0).\", \"response\": \"\($0) it is.\"}\n" }
        try lines.joined().write(toFile: rows, atomically: true, encoding: .utf8)
        var options = TrainingOptions(data: .examples(file: rows, heldOut: nil), out: run, settings: settings)
        let (first, policy) = (Events(last: 2), Battery())
        let job = try model.train(options: options, listener: first, policy: policy)
        first.job = job
        job.pause()
        try check(job.status().step == 0, "nothing is done while it is paused")
        job.resume()
        try check(try await job.wait() == .cancelled, "the first run was cancelled")
        first.job = nil
        try check(first.steps == [1, 2] && policy.asked == [0, 1, 1], "\(first.steps) \(policy.asked)")
        options.resume = true
        var (steps, folder): ([UInt64], String?) = ([], nil)
        for try await part in model.training(options) {
            switch part {
            case .event(.step(let report)): steps.append(report.step)
            case .ended(.done(let adapter)): folder = adapter
            default: break
            }
        }
        guard let folder, steps == [3] else { throw Failed(what: "resumed: \(steps)") }
        adapter = try await model.openAdapter(path: folder)
        return "cancelled after 2, resumed, done after 3"
    }

    /// Three steps of RL with the reward model, under an edited set. Cancelled after one step, then resumed.
    func alignment() async throws -> String {
        let prompts = work + "/prompts.jsonl"
        let lines = ["one", "two"].map { "{\"id\": \"\($0)\", \"type\": \"general\", \"prompt\": \"Say \($0).\"}\n" }
        try lines.joined().write(toFile: prompts, atomically: true, encoding: .utf8)
        let data = TrainingData.prompts(file: prompts, principles: [brief], reward: rewards)
        var options = TrainingOptions(data: data, out: work + "/aligned", settings: alignmentSettings)
        let first = Events(last: 1)
        let job = try model.train(options: options, listener: first)
        first.job = job
        try check(try await job.wait() == .cancelled && first.steps == [1], "\(first.steps)")
        first.job = nil
        options.resume = true
        var (steps, samples, folder): ([UInt64], [Int], String?) = ([], [], nil)
        for try await part in model.training(options) {
            switch part {
            case .event(.step(let report)): steps.append(report.step)
            case .event(.rollout(_, let replies)): samples.append(replies.count)
            case .ended(.done(let adapter)): folder = adapter
            default: break
            }
        }
        guard let folder, steps == [2, 3], samples == [4, 4] else { throw Failed(what: "resumed: \(steps) \(samples)") }
        _ = try await model.openAdapter(path: folder)
        return "cancelled after 1, resumed, done after 3"
    }

    func adapters() async throws -> String {
        let info = adapter.info()
        let halves = [AdapterShare(adapter: adapter, weight: 0.5), AdapterShare(adapter: adapter, weight: -0.5)]
        let blend = try blendAdapters(parts: halves)
        try check(blend.info().rank == 2 * info.rank, "\(blend.info())")
        let session = chat()
        try session.attach(adapter: blend)
        let same = try await session.reply(text: prompt, options: greedyOptions)
        try check(same.text == greedy, "halves that cancel out change nothing")
        session.detach()
        try await adapter.exportPeft(folder: work + "/peft", half: true)
        try await adapter.exportGguf(file: work + "/adapter.gguf")
        for name in ["/peft", "/adapter.gguf"] {
            let again = try await model.openAdapter(path: work + name)
            try check(again.info().rank == info.rank, name)
        }
        return "rank \(info.rank), \(info.parameters) values"
    }

    func errors() async throws -> String {
        var seen: Set<String> = []
        func provoke(_ code: String, _ work: () async throws -> Void) async throws {
            do {
                try await work()
            } catch let error as ParrError {
                try check(error.code == code, "\(code): got \(error)")
                seen.insert(code)
                return
            }
            throw Failed(what: "\(code) was not provoked")
        }
        func trained(_ data: String, _ out: String, _ settings: String) async throws {
            let examples = TrainingData.examples(file: data, heldOut: nil)
            let options = TrainingOptions(data: examples, out: work + out, settings: settings)
            _ = try await model.train(options: options).wait()
        }
        func loaded(_ options: ModelOptions) async throws {
            _ = try await Model.load(options: options)
        }
        let session = chat(128)
        let used = CancelToken()
        used.cancel()
        let (junk, badRows) = (work + "/junk.gguf", work + "/bad.jsonl")
        try "GGUF, or so it says".write(toFile: junk, atomically: true, encoding: .utf8)
        try "{\"prompt\": 1}\n".write(toFile: badRows, atomically: true, encoding: .utf8)
        if rewards != "-" {
            try await provoke("Cancelled") { _ = try await judge.score(prompt: prompt, replies: [short], principles: [], cancel: used) }
        }
        try await provoke("NotFound") { try await loaded(ModelOptions(model: "no-such-model")) }
        try await provoke("Format") { try await loaded(ModelOptions(model: junk)) }
        try await provoke("Gpu") { try await loaded(ModelOptions(model: named, gpu: "no such GPU")) }
        try await provoke("Memory") { try await loaded(ModelOptions(model: named, memoryMib: 10)) }
        let nowhere = PullOptions(cache: work + "/cache", endpoint: "http://127.0.0.1:9")
        try await provoke("Network") { _ = try await pullModel(name: "org/repository", options: nowhere) }
        try await provoke("Storage") { try await adapter.exportGguf(file: "/dev/null/adapter.gguf") }
        try await provoke("Principles") { _ = try parsePrinciples(toml: "id = 1") }
        try await provoke("Argument") { _ = try await session.reply(text: prompt, options: ReplyOptions(temperature: -1)) }
        try await provoke("Context") { _ = try await session.reply(text: String(repeating: prompt, count: 40)) }
        try await provoke("Mismatch") { _ = try await model.openReward(folder: run) }
        try await provoke("Data") { try await trained(badRows, "/bad", "") }
        try await provoke("Run") { try await trained(rows, "/run", settings) }
        let steep = settings + "optimizer = { learning_rate = 1e30 }\nschedule = { warmup = 0 }\n"
        try await provoke("Diverged") { try await trained(rows, "/steep", steep) }
        let throwing = Pieces { throw Failed(what: "the screen is gone") }
        try await provoke("Callback") { _ = try await session.reply(text: prompt, options: greedyOptions, listener: throwing) }
        let faults = checkPrinciples(toml: "id = \"x\"\ntitle = 3\n")
        try check(faults.contains { $0.line == 2 && $0.column == 9 }, "\(faults)")
        return "\(seen.count) codes"
    }

    func lost() async throws -> String {
        let session = chat()
        _ = try await session.reply(text: "Hello.", options: ReplyOptions(maxTokens: 2))
        let release = Pieces { [model] in model?.release() }
        var gone = false
        do {
            _ = try await session.reply(text: "Count to a thousand.", options: ReplyOptions(maxTokens: 200), listener: release)
        } catch ParrError.DeviceLost {
            gone = true
        }
        try check(gone, "the reply outlived its device")
        let reply = try await session.reply(text: prompt, options: ReplyOptions(maxTokens: 4))
        try check(reply.tokens > 0 && session.messages().count >= 4, "the session goes on")
        if rewards != "-" { _ = try await judge.score(prompt: prompt, replies: [short], principles: []) }
        return "the next call opened it again"
    }

    func cycles() async throws -> String {
        let used = CancelToken()
        used.cancel()
        func once() throws {
            let session = chat()
            session.setMessages(messages: session.messages())
            try session.attach(adapter: try blendAdapters(parts: [AdapterShare(adapter: adapter, weight: 1)]))
            _ = try principlesToToml(set: try openPrinciples(name: "policy"))
            do { _ = try parsePrinciples(toml: "id = 1") } catch ParrError.Principles {}
        }
        func replying() async throws {
            _ = try await chat(128).reply(text: "Hello.", options: ReplyOptions(maxTokens: 1), cancel: used)
        }
        for _ in 0..<100 { try once() }
        for _ in 0..<5 { try await replying() }
        let (before, held) = (residentBytes(), model.memory().currentBytes)
        for _ in 0..<1000 { try once() }
        for _ in 0..<20 { try await replying() }
        let grown = Double(residentBytes() - before) / 1e6
        try check(grown < 40, "grew by \(grown) MB")
        try check(model.memory().currentBytes <= held, "device memory came back")
        return String(format: "1000 objects and 20 caches: %+.1f MB", grown)
    }

    func threads() async throws -> String {
        let sessions = (0..<8).map { _ in chat(128) }
        let texts = try await withThrowingTaskGroup(of: String.self) { group in
            for session in sessions {
                group.addTask { try await session.reply(text: prompt, options: greedyOptions).text }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        try check(texts == Array(repeating: greedy, count: 8), "\(Set(texts))")
        return "8 replies, all the same"
    }
}

let arguments = CommandLine.arguments
guard arguments.count == 4 else { fatalError("Scenario MODEL REWARD WORK") }
try FileManager.default.createDirectory(atPath: arguments[3], withIntermediateDirectories: true)
let scenario = Scenario(named: arguments[1], rewards: arguments[2], work: arguments[3])
let parts: [(String, () async throws -> String)] = [
    ("load", scenario.load), ("streaming", scenario.streaming), ("cancelling", scenario.cancelling),
    ("scoring", scenario.scoring), ("best", scenario.best), ("training", scenario.training),
    ("alignment", scenario.alignment), ("adapters", scenario.adapters), ("errors", scenario.errors), ("lost", scenario.lost),
    ("cycles", scenario.cycles), ("threads", scenario.threads),
]
for (name, part) in parts {
    if scenario.rewards == "-" && ["scoring", "best", "alignment"].contains(name) {
        print("skipped \(name) - no reward model")
        continue
    }
    let started = Date()
    do {
        let detail = try await part()
        print("ok \(name) \(String(format: "%.1f", Date().timeIntervalSince(started))) \(detail)")
        fflush(stdout)
    } catch {
        print("failed \(name): \(error)")
        exit(1)
    }
}
