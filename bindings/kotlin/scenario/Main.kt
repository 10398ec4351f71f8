// The scenario of the bindings on the JVM; `bindings/test` compiles and runs it, and the same in Python and
// Swift: MainKt MODEL REWARD WORK, with `-` for no reward model. Each part prints one line, `ok NAME SECONDS
// DETAIL` or `skipped`. The run ends at the first part that fails.

import dev.parr.*
import java.io.File
import kotlin.system.exitProcess
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

const val PROMPT = "Why is the sky blue?"
const val SHORT = "Air scatters blue light."
const val LONG = "That is a good question, and there is much to say. The sky looks blue because air scatters blue " +
    "light more than red light, and so the light that reaches us from all sides is blue."
const val SETTINGS = """
steps = 3
lora = { rank = 4, targets = "q,v" }
batch = { sequences = 1 }
evaluation = { held_out = 1, every = 0 }
checkpoint = { every = 1 }
"""
const val ALIGNMENT = """
algorithm = "rloo"
steps = 3
lora = { rank = 4, targets = "q,v" }
rollout = { prompts = 2, replies = 2, max_reply_tokens = 8 }
update = { epochs = 1 }
checkpoint = { every = 1 }
"""
val GREEDY = ReplyOptions(maxTokens = 12u, temperature = 0f, topP = 1f)

class Failed(what: String) : Exception(what)

fun check(held: Boolean, what: () -> String) {
    if (!held) throw Failed(what())
}

fun residentBytes(): Long = File("/proc/self/statm").readText().split(' ')[1].toLong() * 4096

class Pieces(val cancel: CancelToken? = null, val throws: Boolean = false) : TokenListener {
    var count = 0

    override fun onPiece(piece: Piece) {
        count += 1
        if (throws) throw IllegalStateException("the screen is gone")
        if (count >= 3) cancel?.cancel()
    }
}

class Events(val onStep: (ULong) -> Unit = {}) : TrainingListener {
    val steps = mutableListOf<ULong>()

    override fun onEvent(event: TrainingEvent) {
        if (event is TrainingEvent.Step) {
            steps += event.report.step
            onStep(event.report.step)
        }
    }
}

/** Delays the second step once, like an app whose battery is low. */
class Battery : TrainingPolicy {
    val asked = mutableListOf<ULong>()

    override fun mayStep(step: ULong): StepDecision {
        asked += step
        return if (step == 1uL && asked.count { it == 1uL } == 1) StepDecision.Wait(0.1) else StepDecision.Go
    }
}

class Scenario(val named: String, val rewards: String, val work: File) {
    lateinit var model: Model
    lateinit var judge: RewardModel
    lateinit var adapter: Adapter
    lateinit var greedy: String
    lateinit var brief: PrincipleSet
    lateinit var thorough: PrincipleSet
    val run get() = File(work, "run").path
    val rows get() = File(work, "rows.jsonl").path

    fun chat(context: UInt = 512u) = model.chat(ChatOptions(context = context))

    suspend fun load(): String {
        val done = mutableListOf<ULong>()
        val progress = object : ProgressListener {
            override fun onProgress(doneBytes: ULong, totalBytes: ULong?) {
                done += doneBytes
            }
        }
        model = Model.load(ModelOptions(named, memoryMib = 2048u), progress)
        val info = model.info()
        check(info.chat && done.isNotEmpty() && done == done.sorted()) { "progress while loading" }
        check(gpus().isNotEmpty()) { "a GPU in the list" }
        return "${info.weightBytes shr 20} MiB on ${info.gpu}"
    }

    suspend fun streaming(): String {
        val session = chat()
        val parts = session.replies(PROMPT, GREEDY).toList()
        val reply = (parts.last() as ReplyPart.Done).reply
        val pieces = parts.filterIsInstance<ReplyPart.Text>()
        check(pieces.joinToString("") { it.text }.trimEnd() == reply.text) { "pieces are the reply" }
        check(session.messages().takeLast(2).map { it.role } == listOf("user", "assistant")) { "both turns are kept" }
        check(chat().reply(PROMPT, GREEDY).text == reply.text) { "the same again" }
        val prompt = Prompt(listOf(ChatMessage("user", PROMPT)), GREEDY)
        val batch = model.generate(listOf(prompt, prompt), context = 512u)
        check(batch.map { it.text } == listOf(reply.text, reply.text)) { "the same in a batch" }
        greedy = reply.text
        return "${pieces.size} pieces"
    }

    suspend fun cancelling(): String = kotlinx.coroutines.coroutineScope {
        val session = chat()
        val long = ReplyOptions(maxTokens = 400u, temperature = 0f)
        val token = CancelToken()
        val reply = session.reply("Count to a thousand.", long, Pieces(token), token)
        check(reply.finish == FinishReason.CANCELLED && reply.tokens < 400u) { "${reply.finish}" }
        // Cancelling a coroutine also cancels its call, so the session is free again immediately.
        val task = launch(start = CoroutineStart.UNDISPATCHED) { session.reply("Once more.", long) }
        delay(500)
        task.cancelAndJoin()
        val started = System.nanoTime()
        session.reply("Hello.", ReplyOptions(maxTokens = 2u))
        check(System.nanoTime() - started < 20_000_000_000) { "the lost reply went on" }
        // The same holds for a flow whose collector has stopped.
        check(session.replies("And again.", long).first() is ReplyPart.Text) { "a first piece" }
        "after ${reply.tokens} tokens"
    }

    /** Two sets of principles as values: a shipped set reduced to one principle, and the same set with its negative. */
    fun briefAndThorough() {
        val principle = openPrinciples("style").principles.first { it.id == "style-concise" }
        val edited = principle.copy(id = "thorough", dimension = "Thorough", definition = principle.negative!!)
        val sets = listOf("short" to principle, "long" to edited).map { (name, one) ->
            val plain = one.copy(negative = null, check = null, decides = true)
            val set = PrincipleSet(name, "Replies that are $name", "Edited by an app.", PrincipleUse.Always, listOf(plain))
            check(checkPrinciples(principlesToToml(set)).isEmpty()) { "an edited set is sound" }
            set
        }
        brief = sets[0]
        thorough = sets[1]
    }

    suspend fun scoring(): String {
        judge = model.openReward(rewards)
        briefAndThorough()
        val short = judge.score(PROMPT, listOf(SHORT, LONG), drawPrinciples(brief, 0u))
        val long = judge.score(PROMPT, listOf(SHORT, LONG), drawPrinciples(thorough, 0u))
        val margins = listOf(short[0].value - short[1].value, long[0].value - long[1].value)
        check(margins[0] > 0 && margins[1] < 0) { "the ranking does not turn: $margins" }
        return "%+.2f under brief, %+.2f under thorough".format(margins[0], margins[1])
    }

    suspend fun best(): String {
        val session = chat()
        val options = ReplyOptions(maxTokens = 12u, temperature = 1f, seed = 7u)
        val steering = Steering(brief, Search.BestOf(2u))
        val answer = session.steeredReply(PROMPT, steering, judge, options)
        val values = answer.candidates.map { it.score!!.value }
        check(values.size == 2 && values[answer.chosen.toInt()] == values.max()) { "$values" }
        check(session.messages().last().content == answer.reply.text) { "the best is kept" }
        return "scores %+.2f %+.2f".format(values[0], values[1])
    }

    suspend fun training(): String {
        File(rows).writeText(listOf("one", "two", "three", "four").joinToString("") {
            "{\"prompt\": \"Say $it.\", \"response\": \"$it it is.\"}\n"
        })
        val options = TrainingOptions(TrainingData.Examples(rows, null), run, SETTINGS)
        val policy = Battery()
        var started: TrainingJob? = null
        val first = Events { step -> if (step == 2uL) started!!.cancel() }
        val job = model.train(options, first, policy)
        started = job
        job.pause()
        check(job.status().step == 0uL) { "nothing is done while it is paused" }
        job.resume()
        check(job.wait() is TrainingOutcome.Cancelled) { "the first run was cancelled" }
        check(first.steps == listOf(1uL, 2uL) && policy.asked == listOf(0uL, 1uL, 1uL)) { "${first.steps} ${policy.asked}" }
        val parts = model.training(options.copy(resume = true)).toList()
        val outcome = (parts.last() as TrainingPart.Ended).outcome
        val steps = parts.mapNotNull { ((it as? TrainingPart.Event)?.event as? TrainingEvent.Step)?.report?.step }
        check(outcome is TrainingOutcome.Done && steps == listOf(3uL)) { "$outcome $steps" }
        adapter = model.openAdapter((outcome as TrainingOutcome.Done).adapter)
        return "cancelled after 2, resumed, done after 3"
    }

    /** Three steps of RL with the reward model, under an edited set. Cancelled after one step, then resumed. */
    suspend fun alignment(): String {
        val prompts = File(work, "prompts.jsonl")
        prompts.writeText(listOf("one", "two").joinToString("") {
            "{\"id\": \"$it\", \"type\": \"general\", \"prompt\": \"Say $it.\"}\n"
        })
        val data = TrainingData.Prompts(prompts.path, listOf(brief), rewards)
        val options = TrainingOptions(data, File(work, "aligned").path, ALIGNMENT)
        var started: TrainingJob? = null
        val first = Events { started!!.cancel() }
        val job = model.train(options, first)
        started = job
        check(job.wait() is TrainingOutcome.Cancelled && first.steps == listOf(1uL)) { "${first.steps}" }
        val parts = model.training(options.copy(resume = true)).toList()
        val events = parts.mapNotNull { (it as? TrainingPart.Event)?.event }
        val steps = events.mapNotNull { (it as? TrainingEvent.Step)?.report?.step }
        val samples = events.filterIsInstance<TrainingEvent.Rollout>().map { it.samples.size }
        val outcome = (parts.last() as TrainingPart.Ended).outcome
        check(outcome is TrainingOutcome.Done && steps == listOf(2uL, 3uL) && samples == listOf(4, 4)) {
            "$outcome $steps $samples"
        }
        model.openAdapter((outcome as TrainingOutcome.Done).adapter)
        return "cancelled after 1, resumed, done after 3"
    }

    suspend fun adapters(): String {
        val info = adapter.info()
        val blend = blendAdapters(listOf(AdapterShare(adapter, 0.5f), AdapterShare(adapter, -0.5f)))
        check(blend.info().rank == info.rank * 2u) { "${blend.info()}" }
        val session = chat()
        session.attach(blend)
        check(session.reply(PROMPT, GREEDY).text == greedy) { "halves that cancel out change nothing" }
        session.detach()
        adapter.exportPeft(File(work, "peft").path, half = true)
        adapter.exportGguf(File(work, "adapter.gguf").path)
        for (name in listOf("peft", "adapter.gguf")) {
            check(model.openAdapter(File(work, name).path).info().rank == info.rank) { name }
        }
        return "rank ${info.rank}, ${info.parameters} values"
    }

    suspend fun errors(): String {
        val seen = mutableSetOf<String>()
        suspend fun provoke(code: String, work: suspend () -> Unit) {
            try {
                work()
            } catch (error: ParrException) {
                check(error.code == code && !error.message.isNullOrEmpty()) { "$code: got ${error.code}: ${error.message}" }
                seen += code
                return
            }
            throw Failed("$code was not provoked")
        }
        suspend fun trained(data: String, out: String, settings: String) {
            model.train(TrainingOptions(TrainingData.Examples(data, null), File(work, out).path, settings)).wait()
        }
        val session = chat(128u)
        val used = CancelToken().apply { cancel() }
        val junk = File(work, "junk.gguf").apply { writeText("GGUF, or so it says") }
        val badRows = File(work, "bad.jsonl").apply { writeText("{\"prompt\": 1}\n") }
        if (rewards != "-") provoke("Cancelled") { judge.score(PROMPT, listOf(SHORT), listOf(), used) }
        provoke("NotFound") { Model.load(ModelOptions("no-such-model")) }
        provoke("Format") { Model.load(ModelOptions(junk.path)) }
        provoke("Gpu") { Model.load(ModelOptions(named, gpu = "no such GPU")) }
        provoke("Memory") { Model.load(ModelOptions(named, memoryMib = 10u)) }
        val nowhere = PullOptions(cache = File(work, "cache").path, endpoint = "http://127.0.0.1:9")
        provoke("Network") { pullModel("org/repository", nowhere) }
        provoke("Storage") { adapter.exportGguf("/dev/null/adapter.gguf") }
        provoke("Principles") { parsePrinciples("id = 1") }
        provoke("Argument") { session.reply(PROMPT, ReplyOptions(temperature = -1f)) }
        provoke("Context") { session.reply(PROMPT.repeat(40)) }
        provoke("Mismatch") { model.openReward(run) }
        provoke("Data") { trained(badRows.path, "bad", "") }
        provoke("Run") { trained(rows, "run", SETTINGS) }
        provoke("Diverged") {
            trained(rows, "steep", SETTINGS + "optimizer = { learning_rate = 1e30 }\nschedule = { warmup = 0 }\n")
        }
        provoke("Callback") { session.reply(PROMPT, GREEDY, Pieces(throws = true)) }
        val faults = checkPrinciples("id = \"x\"\ntitle = 3\n")
        check(faults.any { it.line == 2u && it.column == 9u }) { "$faults" }
        return "${seen.size} codes"
    }

    suspend fun lost(): String {
        val session = chat()
        session.reply("Hello.", ReplyOptions(maxTokens = 2u))
        val release = object : TokenListener {
            override fun onPiece(piece: Piece) = model.release()
        }
        val gone = try {
            session.reply("Count to a thousand.", ReplyOptions(maxTokens = 200u), release)
            false
        } catch (error: ParrException.DeviceLost) {
            true
        }
        check(gone) { "the reply outlived its device" }
        val reply = session.reply(PROMPT, ReplyOptions(maxTokens = 4u))
        check(reply.tokens > 0u && session.messages().size >= 4) { "the session goes on" }
        if (rewards != "-") judge.score(PROMPT, listOf(SHORT), listOf())
        return "the next call opened it again"
    }

    suspend fun cycles(): String {
        val used = CancelToken().apply { cancel() }
        fun once() {
            chat().use { session ->
                session.setMessages(session.messages())
                blendAdapters(listOf(AdapterShare(adapter, 1f))).use { session.attach(it) }
            }
            principlesToToml(openPrinciples("policy"))
            try {
                parsePrinciples("id = 1")
            } catch (error: ParrException.Principles) {
                // Expected.
            }
        }
        suspend fun replying() = chat(128u).use { it.reply("Hello.", ReplyOptions(maxTokens = 1u), null, used) }
        fun settled(): Long {
            repeat(3) { System.gc(); Thread.sleep(50) }
            return residentBytes()
        }
        repeat(100) { once() }
        repeat(5) { replying() }
        val held = model.memory().currentBytes
        // The heap has a fixed size (bindings/test), but compiled code and arenas reach theirs after a while. A leak
        // grows every time.
        val grown = List(3) {
            val before = settled()
            repeat(1000) { once() }
            repeat(20) { replying() }
            (settled() - before) / 1e6
        }
        check(grown.min() < 10.0) { "grew by $grown MB" }
        check(model.memory().currentBytes <= held) { "device memory came back" }
        return "1000 objects and 20 caches: %+.1f, %+.1f, %+.1f MB".format(*grown.toTypedArray())
    }

    suspend fun threads(): String = kotlinx.coroutines.coroutineScope {
        val replies = List(8) { async(Dispatchers.IO) { chat(128u).use { it.reply(PROMPT, GREEDY).text } } }.awaitAll()
        check(replies.all { it == greedy }) { "${replies.toSet()}" }
        "8 replies, all the same"
    }
}

fun main(arguments: Array<String>): Unit = runBlocking {
    val (model, reward, work) = arguments
    val scenario = Scenario(model, reward, File(work).apply { mkdirs() })
    val parts = listOf<Pair<String, suspend () -> String>>(
        "load" to scenario::load,
        "streaming" to scenario::streaming,
        "cancelling" to scenario::cancelling,
        "scoring" to scenario::scoring,
        "best" to scenario::best,
        "training" to scenario::training,
        "alignment" to scenario::alignment,
        "adapters" to scenario::adapters,
        "errors" to scenario::errors,
        "lost" to scenario::lost,
        "cycles" to scenario::cycles,
        "threads" to scenario::threads,
    )
    for ((name, part) in parts) {
        if (reward == "-" && name in listOf("scoring", "best", "alignment")) {
            println("skipped $name - no reward model")
            continue
        }
        val started = System.nanoTime()
        try {
            val detail = part()
            println("ok $name %.1f $detail".format((System.nanoTime() - started) / 1e9))
        } catch (failure: Throwable) {
            failure.printStackTrace()
            exitProcess(1)
        }
    }
    exitProcess(0)
}
