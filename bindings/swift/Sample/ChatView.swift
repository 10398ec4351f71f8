// A sample SwiftUI app. Add the package to an Xcode project, and add this file to an app target.

import Parr
import SwiftUI

@MainActor
final class Chat: ObservableObject {
    @Published var messages: [ChatMessage] = []
    @Published var note = "loading"
    private var model: Model?
    private var session: ChatSession?
    private var reply: Task<Void, Never>?

    /// `file` is a GGUF model in the app's bundle or its documents.
    func load(file: URL) async {
        do {
            let model = try await Model.load(options: ModelOptions(model: file.path, memoryMib: 1024))
            (self.model, session) = (model, model.chat(options: ChatOptions(context: 1024)))
            note = ""
        } catch {
            note = "\(error)"
        }
    }

    func say(_ text: String) {
        guard let session else { return }
        messages.append(ChatMessage(role: "user", content: text))
        messages.append(ChatMessage(role: "assistant", content: ""))
        reply = Task {
            do {
                for try await part in session.replies(text) {
                    if case .text(let more) = part {
                        messages[messages.count - 1].content += more
                    }
                }
            } catch ParrError.DeviceLost {
                // The next reply opens the GPU again. The session keeps its messages.
                note = "interrupted, ask again"
            } catch {
                note = "\(error)"
            }
        }
    }

    func stop() {
        reply?.cancel()
    }

    /// Releases the memory when the app goes into the background. The next reply loads the weights again.
    func background() {
        model?.release()
    }
}

/// Trains only while the device is cool, and is charging or more than half charged.
final class Considerate: TrainingPolicy, @unchecked Sendable {
    func mayStep(step: UInt64) throws -> StepDecision {
        if ProcessInfo.processInfo.thermalState.rawValue >= ProcessInfo.ThermalState.serious.rawValue {
            return .wait(seconds: 30)
        }
        #if os(iOS)
        let (charging, level) = DispatchQueue.main.sync {
            UIDevice.current.isBatteryMonitoringEnabled = true
            return (UIDevice.current.batteryState == .charging, UIDevice.current.batteryLevel)
        }
        return charging || level > 0.5 ? .go : .wait(seconds: 120)
        #else
        return .go
        #endif
    }
}

struct ChatView: View {
    @StateObject private var chat = Chat()
    @State private var draft = ""
    @Environment(\.scenePhase) private var phase
    let model: URL

    var body: some View {
        VStack {
            if !chat.note.isEmpty { Text(chat.note).foregroundStyle(.red) }
            List(Array(chat.messages.enumerated()), id: \.offset) { _, message in
                Text("\(message.role): \(message.content)")
            }
            HStack {
                TextField("Say something", text: $draft)
                Button("Say") {
                    chat.say(draft)
                    draft = ""
                }.disabled(draft.isEmpty)
                Button("Stop") { chat.stop() }
            }.padding()
        }
        .task { await chat.load(file: model) }
        .onChange(of: phase) { phase in
            if phase == .background { chat.background() }
        }
    }
}
