// Hand-written additions to the generated Swift: streams, and cancellation of running calls. uniffi does not drop a
// call when its Swift task is cancelled, so every function here uses a token.

import Foundation

/// A part of a streamed reply: a piece of text, or at the end the whole reply.
public enum ReplyPart: Sendable {
    /// More text.
    case text(String)
    /// The whole reply.
    case done(Reply)
}

private final class Pieces: TokenListener, @unchecked Sendable {
    let take: @Sendable (String) -> Void

    init(_ take: @escaping @Sendable (String) -> Void) {
        self.take = take
    }

    func onPiece(piece: Piece) throws {
        take(piece.text)
    }
}

/// Runs `work` with a token. Cancelling the task cancels the token.
public func withCancelToken<T>(_ work: (CancelToken) async throws -> T) async throws -> T {
    let token = CancelToken()
    return try await withTaskCancellationHandler {
        try await work(token)
    } onCancel: {
        token.cancel()
    }
}

extension ChatSession {
    /// Sends `text` and yields the reply as it is generated. Leaving the loop, or cancelling the task around it,
    /// cancels the reply. The text so far stays in the conversation.
    public func replies(_ text: String, options: ReplyOptions? = nil) -> AsyncThrowingStream<ReplyPart, Error> {
        AsyncThrowingStream { continuation in
            let token = CancelToken()
            let task = Task {
                do {
                    let listener = Pieces { continuation.yield(.text($0)) }
                    let reply = try await self.reply(text: text, options: options, listener: listener, cancel: token)
                    continuation.yield(.done(reply))
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in
                token.cancel()
                task.cancel()
            }
        }
    }
}

/// A part of a training run: an event, or at the end the outcome.
public enum TrainingPart: Sendable {
    /// An event.
    case event(TrainingEvent)
    /// The outcome of the run.
    case ended(TrainingOutcome)
}

private final class Events: TrainingListener, @unchecked Sendable {
    let take: @Sendable (TrainingEvent) -> Void

    init(_ take: @escaping @Sendable (TrainingEvent) -> Void) {
        self.take = take
    }

    func onEvent(event: TrainingEvent) throws {
        take(event)
    }
}

extension Model {
    /// Starts a training run and yields its events. Leaving the loop, or cancelling the task around it, cancels the
    /// run, which saves its state.
    public func training(_ options: TrainingOptions, policy: TrainingPolicy? = nil) -> AsyncThrowingStream<TrainingPart, Error> {
        AsyncThrowingStream { continuation in
            do {
                let listener = Events { continuation.yield(.event($0)) }
                let job = try self.train(options: options, listener: listener, policy: policy)
                let task = Task {
                    do {
                        continuation.yield(.ended(try await job.wait()))
                        continuation.finish()
                    } catch {
                        continuation.finish(throwing: error)
                    }
                }
                continuation.onTermination = { _ in
                    job.cancel()
                    task.cancel()
                }
            } catch {
                continuation.finish(throwing: error)
            }
        }
    }
}

extension ParrError {
    /// The stable code of the error: the name of its case, such as `DeviceLost`.
    public var code: String {
        let text = String(describing: self)
        return String(text.prefix { $0 != "(" })
    }
}
