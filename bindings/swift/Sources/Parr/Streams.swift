// What is better said in Swift than generated: streams, and cancellation that reaches the work. uniffi does not
// drop a call when its Swift task is cancelled, so everything here carries a token.

import Foundation

/// What a streamed reply consists of: its pieces, and the whole of it last.
public enum ReplyPart: Sendable {
    /// More text.
    case text(String)
    /// The end.
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

/// Runs `work` under a token that the cancellation of the task uses.
public func withCancelToken<T>(_ work: (CancelToken) async throws -> T) async throws -> T {
    let token = CancelToken()
    return try await withTaskCancellationHandler {
        try await work(token)
    } onCancel: {
        token.cancel()
    }
}

extension ChatSession {
    /// Says `text` and gives the reply as it is made. Who leaves the loop, or cancels the task around it, cancels
    /// the reply; what was made by then stays in the conversation.
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

/// What happens in a training run, and how it ended.
public enum TrainingPart: Sendable {
    /// Something happened.
    case event(TrainingEvent)
    /// The end.
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
    /// Runs a training and gives its events. Who leaves the loop, or cancels the task around it, cancels the run,
    /// with its state saved.
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
