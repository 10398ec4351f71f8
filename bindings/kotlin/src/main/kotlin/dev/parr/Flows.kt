package dev.parr

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.launch

/** A part of a streamed reply: a piece of text, or at the end the whole reply. */
sealed interface ReplyPart {
    /** More text. */
    data class Text(val text: String) : ReplyPart

    /** The whole reply. */
    data class Done(val reply: Reply) : ReplyPart
}

/**
 * Sends [text] and emits the reply as it is generated. Cancelling the collector cancels the reply. The text so far
 * stays in the conversation.
 */
fun ChatSession.replies(text: String, options: ReplyOptions? = null): Flow<ReplyPart> = channelFlow {
    val cancel = CancelToken()
    val listener = object : TokenListener {
        override fun onPiece(piece: Piece) {
            // The channel is unbounded, so the thread that generates the reply never waits for the collector.
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

/** A part of a training run: an event, or at the end the outcome. */
sealed interface TrainingPart {
    /** An event. */
    data class Event(val event: TrainingEvent) : TrainingPart

    /** The outcome of the run. */
    data class Ended(val outcome: TrainingOutcome) : TrainingPart
}

/** Starts a training run and emits its events. Cancelling the collector cancels the run, which saves its state. */
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
                    // The call to wait() below throws the same error.
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
