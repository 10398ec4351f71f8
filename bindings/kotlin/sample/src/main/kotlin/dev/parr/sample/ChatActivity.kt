package dev.parr.sample

import android.app.Application
import android.os.BatteryManager
import android.os.Bundle
import android.os.PowerManager
import androidx.activity.ComponentActivity
import androidx.activity.compose.setContent
import androidx.activity.viewModels
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.material3.Button
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateListOf
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.dp
import androidx.lifecycle.AndroidViewModel
import androidx.lifecycle.viewModelScope
import dev.parr.ChatMessage
import dev.parr.ChatOptions
import dev.parr.ChatSession
import dev.parr.Model
import dev.parr.ModelOptions
import dev.parr.ParrException
import dev.parr.ReplyPart
import dev.parr.StepDecision
import dev.parr.TrainingPolicy
import dev.parr.replies
import kotlinx.coroutines.Job
import kotlinx.coroutines.launch
import java.io.File

/** A conversation on the screen. The model file is in the app's files folder. */
class Chat(app: Application) : AndroidViewModel(app) {
    val messages = mutableStateListOf<ChatMessage>()
    var note by mutableStateOf("loading")
        private set
    private var model: Model? = null
    private var session: ChatSession? = null
    private var reply: Job? = null

    init {
        viewModelScope.launch {
            try {
                val file = File(app.filesDir, "model.gguf")
                model = Model.load(ModelOptions(file.path, memoryMib = 1024u))
                session = model?.chat(ChatOptions(context = 1024u))
                note = ""
            } catch (error: ParrException) {
                note = error.message.orEmpty()
            }
        }
    }

    fun say(text: String) {
        val session = session ?: return
        messages += ChatMessage("user", text)
        messages += ChatMessage("assistant", "")
        reply = viewModelScope.launch {
            try {
                session.replies(text).collect { part ->
                    if (part is ReplyPart.Text) {
                        val last = messages.last()
                        messages[messages.lastIndex] = last.copy(content = last.content + part.text)
                    }
                }
            } catch (error: ParrException.DeviceLost) {
                // The next reply opens the GPU again. The session keeps its messages.
                note = "interrupted, ask again"
            } catch (error: ParrException) {
                note = error.message.orEmpty()
            }
        }
    }

    fun stop() {
        reply?.cancel()
    }

    /** Releases the GPU memory when the app goes into the background. The next reply loads the weights again. */
    fun background() {
        model?.release()
    }
}

/** Trains only while the device is cool, and is charging or more than half charged. */
class Considerate(private val app: Application) : TrainingPolicy {
    override fun mayStep(step: ULong): StepDecision {
        val battery = app.getSystemService(BatteryManager::class.java)
        val power = app.getSystemService(PowerManager::class.java)
        val level = battery.getIntProperty(BatteryManager.BATTERY_PROPERTY_CAPACITY)
        return when {
            power.currentThermalStatus >= PowerManager.THERMAL_STATUS_MODERATE -> StepDecision.Wait(30.0)
            battery.isCharging || level > 50 -> StepDecision.Go
            else -> StepDecision.Wait(120.0)
        }
    }
}

class ChatActivity : ComponentActivity() {
    private val chat: Chat by viewModels()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContent { MaterialTheme { ChatScreen(chat) } }
    }

    override fun onStop() {
        super.onStop()
        chat.background()
    }
}

@Composable
fun ChatScreen(chat: Chat) {
    var draft by remember { mutableStateOf("") }
    Column(Modifier.fillMaxSize().padding(16.dp)) {
        if (chat.note.isNotEmpty()) Text(chat.note, color = MaterialTheme.colorScheme.error)
        LazyColumn(Modifier.weight(1f)) {
            items(chat.messages) { message -> Text("${message.role}: ${message.content}", Modifier.padding(4.dp)) }
        }
        Row {
            OutlinedTextField(draft, { draft = it }, Modifier.weight(1f))
            Button(onClick = { chat.say(draft); draft = "" }, enabled = draft.isNotBlank()) { Text("Say") }
            Button(onClick = chat::stop) { Text("Stop") }
        }
    }
}
