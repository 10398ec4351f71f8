package dev.parr

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.launch

/** What a streamed reply consists of: its pieces, and the whole of it last. */
sealed interface ReplyPart {
    /** More text. */
    data class Text(val text: String) : ReplyPart

    /** The end. */
    data class Done(val reply: Reply) : ReplyPart
}

/**
 * Says [text] and gives the reply as it is made. Who stops collecting cancels it; what was made by then stays in
 * the conversation.
 */
fun ChatSession.replies(text: String, options: ReplyOptions? = null): Flow<ReplyPart> = channelFlow {
    val cancel = CancelToken()
    val listener = object : TokenListener {
        override fun onPiece(piece: Piece) {
            // The channel has no bound: the thread that makes the reply never waits for who shows it.
            trySend(ReplyPart.Text(piece.text))
        }
    }
    try {
        send(ReplyPart.Done(reply(text, options, listener, cancel)))
    } catch (stopped: CancellationException) {
        cancel.cancel()
        throw stopped
    }
}.buffer(Channel.UNLIMITED)

/** What happens in a training run, and how it ended. */
sealed interface TrainingPart {
    /** Something happened. */
    data class Event(val event: TrainingEvent) : TrainingPart

    /** The end. */
    data class Ended(val outcome: TrainingOutcome) : TrainingPart
}

/** Runs a training and gives its events. Who stops collecting cancels it, with its state saved. */
fun Model.training(options: TrainingOptions, policy: TrainingPolicy? = null): Flow<TrainingPart> = flow {
    coroutineScope {
        val events = Channel<TrainingEvent>(Channel.UNLIMITED)
        val listener = object : TrainingListener {
            override fun onEvent(event: TrainingEvent) {
                events.trySend(event)
            }
        }
        val job = train(options, listener, policy)
        try {
            launch {
                try {
                    job.wait()
                } catch (failed: ParrException) {
                    // Collected below, by asking again.
                } finally {
                    events.close()
                }
            }
            for (event in events) emit(TrainingPart.Event(event))
            emit(TrainingPart.Ended(job.wait()))
        } finally {
            job.cancel()
            job.close()
        }
    }
}

/** The stable code of an error: the name of its class, such as `DeviceLost`. */
val ParrException.code: String
    get() = this::class.java.simpleName
