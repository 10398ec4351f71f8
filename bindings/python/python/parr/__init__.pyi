"""Types of the package. Written by stubs.py; do not edit."""

import enum
import typing

__version__: str

class InternalError(Exception): ...

def error_code(error: ParrError) -> str: ...
def stream(
    session: ChatSession, text: str, options: typing.Optional[ReplyOptions] = None
) -> typing.AsyncIterator[typing.Union[Piece, Reply]]: ...

class AdapterInfo:
    rank: int
    scale: float
    targets: str
    parameters: int
    reward: bool
    base: typing.Optional[str]
    steps: typing.Optional[int]
    def __init__(self, *, rank: int, scale: float, targets: str, parameters: int, reward: bool, base: typing.Optional[str], steps: typing.Optional[int]) -> None: ...

class ParrError(Exception):
    Cancelled: typing.Type[_ParrError_Cancelled]
    NotFound: typing.Type[_ParrError_NotFound]
    Network: typing.Type[_ParrError_Network]
    Storage: typing.Type[_ParrError_Storage]
    Format: typing.Type[_ParrError_Format]
    Principles: typing.Type[_ParrError_Principles]
    Argument: typing.Type[_ParrError_Argument]
    Context: typing.Type[_ParrError_Context]
    Memory: typing.Type[_ParrError_Memory]
    Gpu: typing.Type[_ParrError_Gpu]
    DeviceLost: typing.Type[_ParrError_DeviceLost]
    Mismatch: typing.Type[_ParrError_Mismatch]
    Data: typing.Type[_ParrError_Data]
    Run: typing.Type[_ParrError_Run]
    Diverged: typing.Type[_ParrError_Diverged]
    Callback: typing.Type[_ParrError_Callback]
    Internal: typing.Type[_ParrError_Internal]

class _ParrError_Cancelled(ParrError):
    ...

class _ParrError_NotFound(ParrError):
    ...

class _ParrError_Network(ParrError):
    ...

class _ParrError_Storage(ParrError):
    ...

class _ParrError_Format(ParrError):
    ...

class _ParrError_Principles(ParrError):
    ...

class _ParrError_Argument(ParrError):
    ...

class _ParrError_Context(ParrError):
    ...

class _ParrError_Memory(ParrError):
    ...

class _ParrError_Gpu(ParrError):
    ...

class _ParrError_DeviceLost(ParrError):
    ...

class _ParrError_Mismatch(ParrError):
    ...

class _ParrError_Data(ParrError):
    ...

class _ParrError_Run(ParrError):
    ...

class _ParrError_Diverged(ParrError):
    ...

class _ParrError_Callback(ParrError):
    ...

class _ParrError_Internal(ParrError):
    ...

class Adapter:
    async def export_gguf(self, file: str, half: bool = ...) -> None: ...
    async def export_peft(self, folder: str, half: bool = ...) -> None: ...
    def info(self) -> AdapterInfo: ...

class AdapterShare:
    adapter: Adapter
    weight: float
    def __init__(self, *, adapter: Adapter, weight: float) -> None: ...

class OverrideRule:
    probability: float
    noise: float
    explained_by: str
    def __init__(self, *, probability: float, noise: float, explained_by: str) -> None: ...

class BoilerplateRule:
    rule: OverrideRule
    phrases: typing.List[str]
    def __init__(self, *, rule: OverrideRule, phrases: typing.List[str]) -> None: ...

class Boost:
    general: float
    reasoning: float
    red_team: float
    def __init__(self, *, general: float = ..., reasoning: float = ..., red_team: float = ...) -> None: ...

class Score:
    value: float
    parts: typing.List[float]
    tokens: int
    cut_prompt: int
    cut_reply: int
    def __init__(self, *, value: float, parts: typing.List[float], tokens: int, cut_prompt: int, cut_reply: int) -> None: ...

class Candidate:
    text: str
    seed: int
    score: typing.Optional[Score]
    def __init__(self, *, text: str, seed: int, score: typing.Optional[Score]) -> None: ...

class ChatMessage:
    role: str
    content: str
    def __init__(self, *, role: str, content: str) -> None: ...

class ChatOptions:
    system: typing.Optional[str]
    context: typing.Optional[int]
    def __init__(self, *, system: typing.Optional[str] = ..., context: typing.Optional[int] = ...) -> None: ...

class Figure:
    name: str
    value: float
    def __init__(self, *, name: str, value: float) -> None: ...

class GpuInfo:
    index: int
    name: str
    backend: str
    kind: str
    driver: str
    def __init__(self, *, index: int, name: str, backend: str, kind: str, driver: str) -> None: ...

class MemoryReport:
    current_bytes: int
    peak_bytes: int
    budget_bytes: typing.Optional[int]
    def __init__(self, *, current_bytes: int, peak_bytes: int, budget_bytes: typing.Optional[int]) -> None: ...

class ModelInfo:
    path: str
    layers: int
    vocabulary: int
    context: int
    weight_bytes: int
    chat: bool
    gpu: str
    def __init__(self, *, path: str, layers: int, vocabulary: int, context: int, weight_bytes: int, chat: bool, gpu: str) -> None: ...

class ModelOptions:
    model: str
    gpu: typing.Optional[str]
    memory_mib: typing.Optional[int]
    quant: typing.Optional[str]
    def __init__(self, *, model: str, gpu: typing.Optional[str] = ..., memory_mib: typing.Optional[int] = ..., quant: typing.Optional[str] = ...) -> None: ...

class Piece:
    text: str
    def __init__(self, *, text: str) -> None: ...

class Principle:
    id: str
    dimension: str
    definition: str
    negative: typing.Optional[str]
    weight: float
    tags: typing.List[str]
    boost: typing.Optional[Boost]
    decides: bool
    check: typing.Optional[str]
    def __init__(self, *, id: str, dimension: str, definition: str, negative: typing.Optional[str] = ..., weight: float = ..., tags: typing.List[str] = ..., boost: typing.Optional[Boost] = ..., decides: bool = ..., check: typing.Optional[str] = ...) -> None: ...

class PrincipleFault:
    line: int
    column: int
    reason: str
    def __init__(self, *, line: int, column: int, reason: str) -> None: ...

class PrincipleUse:
    JUDGE: typing.Type[_PrincipleUse_JUDGE]
    SAMPLE: typing.Type[_PrincipleUse_SAMPLE]
    ALWAYS: typing.Type[_PrincipleUse_ALWAYS]
    RULES: typing.Type[_PrincipleUse_RULES]
    def is_judge(self) -> bool: ...
    def is_sample(self) -> bool: ...
    def is_always(self) -> bool: ...
    def is_rules(self) -> bool: ...

class _PrincipleUse_JUDGE(PrincipleUse):
    def __init__(self) -> None: ...

class _PrincipleUse_SAMPLE(PrincipleUse):
    draws: int
    def __init__(self, draws: int) -> None: ...

class _PrincipleUse_ALWAYS(PrincipleUse):
    def __init__(self) -> None: ...

class _PrincipleUse_RULES(PrincipleUse):
    def __init__(self) -> None: ...

class PrincipleSet:
    id: str
    title: str
    description: str
    uses: PrincipleUse
    principles: typing.List[Principle]
    boilerplate: typing.Optional[BoilerplateRule]
    language: typing.Optional[OverrideRule]
    def __init__(self, *, id: str, title: str, description: str, uses: PrincipleUse, principles: typing.List[Principle], boilerplate: typing.Optional[BoilerplateRule] = ..., language: typing.Optional[OverrideRule] = ...) -> None: ...

class ReplyOptions:
    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    seed: int
    stop: typing.List[str]
    def __init__(self, *, max_tokens: int = ..., temperature: float = ..., top_k: int = ..., top_p: float = ..., min_p: float = ..., repetition_penalty: float = ..., seed: int = ..., stop: typing.List[str] = ...) -> None: ...

class Prompt:
    messages: typing.List[ChatMessage]
    options: typing.Optional[ReplyOptions]
    adapter: typing.Optional[Adapter]
    def __init__(self, *, messages: typing.List[ChatMessage], options: typing.Optional[ReplyOptions] = ..., adapter: typing.Optional[Adapter] = ...) -> None: ...

class PullOptions:
    cache: typing.Optional[str]
    endpoint: typing.Optional[str]
    token: typing.Optional[str]
    def __init__(self, *, cache: typing.Optional[str] = ..., endpoint: typing.Optional[str] = ..., token: typing.Optional[str] = ...) -> None: ...

class FinishReason(enum.Enum):
    END_OF_TURN = 0
    STOP = 1
    LENGTH = 2
    CONTEXT_FULL = 3
    CANCELLED = 4

class Reply:
    text: str
    finish: FinishReason
    tokens: int
    logprob: float
    prompt_tokens: int
    reused_tokens: int
    dropped_messages: int
    def __init__(self, *, text: str, finish: FinishReason, tokens: int, logprob: float, prompt_tokens: int, reused_tokens: int, dropped_messages: int) -> None: ...

class Sampled:
    prompt: str
    reply: str
    principles: typing.List[str]
    parts: typing.List[float]
    reward: float
    def __init__(self, *, prompt: str, reply: str, principles: typing.List[str], parts: typing.List[float], reward: float) -> None: ...

class SteeredReply:
    reply: Reply
    candidates: typing.List[Candidate]
    chosen: int
    generated_tokens: int
    scored_tokens: int
    def __init__(self, *, reply: Reply, candidates: typing.List[Candidate], chosen: int, generated_tokens: int, scored_tokens: int) -> None: ...

class Search:
    SAMPLE: typing.Type[_Search_SAMPLE]
    BEST_OF: typing.Type[_Search_BEST_OF]
    GUIDED: typing.Type[_Search_GUIDED]
    def is_sample(self) -> bool: ...
    def is_best_of(self) -> bool: ...
    def is_guided(self) -> bool: ...

class _Search_SAMPLE(Search):
    def __init__(self) -> None: ...

class _Search_BEST_OF(Search):
    n: int
    def __init__(self, n: int) -> None: ...

class _Search_GUIDED(Search):
    n: int
    block: int
    def __init__(self, n: int, block: int) -> None: ...

class Tell(enum.Enum):
    NOBODY = 0
    SYSTEM = 1
    QUESTION = 2

class Steering:
    principles: PrincipleSet
    search: Search
    tell: typing.Optional[Tell]
    interventions: typing.Optional[PrincipleSet]
    most: int
    def __init__(self, *, principles: PrincipleSet, search: Search, tell: typing.Optional[Tell] = ..., interventions: typing.Optional[PrincipleSet] = ..., most: int = ...) -> None: ...

class StepReport:
    step: int
    loss: typing.Optional[float]
    eval_loss: typing.Optional[float]
    learning_rate: float
    grad_norm: float
    tokens_per_second: float
    seconds: float
    figures: typing.List[Figure]
    def __init__(self, *, step: int, loss: typing.Optional[float], eval_loss: typing.Optional[float], learning_rate: float, grad_norm: float, tokens_per_second: float, seconds: float, figures: typing.List[Figure]) -> None: ...

class TrainingData:
    EXAMPLES: typing.Type[_TrainingData_EXAMPLES]
    COMPARISONS: typing.Type[_TrainingData_COMPARISONS]
    PREFERENCES: typing.Type[_TrainingData_PREFERENCES]
    PROMPTS: typing.Type[_TrainingData_PROMPTS]
    def is_examples(self) -> bool: ...
    def is_comparisons(self) -> bool: ...
    def is_preferences(self) -> bool: ...
    def is_prompts(self) -> bool: ...

class _TrainingData_EXAMPLES(TrainingData):
    file: str
    held_out: typing.Optional[str]
    def __init__(self, file: str, held_out: typing.Optional[str]) -> None: ...

class _TrainingData_COMPARISONS(TrainingData):
    files: typing.List[str]
    principles: typing.List[str]
    by_check: bool
    def __init__(self, files: typing.List[str], principles: typing.List[str], by_check: bool) -> None: ...

class _TrainingData_PREFERENCES(TrainingData):
    file: str
    def __init__(self, file: str) -> None: ...

class _TrainingData_PROMPTS(TrainingData):
    file: str
    principles: typing.List[PrincipleSet]
    reward: typing.Optional[str]
    def __init__(self, file: str, principles: typing.List[PrincipleSet], reward: typing.Optional[str]) -> None: ...

class TrainingOptions:
    data: TrainingData
    out: str
    settings: str
    resume: bool
    start: typing.Optional[Adapter]
    def __init__(self, *, data: TrainingData, out: str, settings: str = ..., resume: bool = ..., start: typing.Optional[Adapter] = ...) -> None: ...

class TrainingState(enum.Enum):
    PREPARING = 0
    RUNNING = 1
    PAUSED = 2
    WAITING = 3
    DONE = 4
    CANCELLED = 5
    FAILED = 6

class TrainingStatus:
    state: TrainingState
    step: int
    steps: int
    loss: typing.Optional[float]
    def __init__(self, *, state: TrainingState, step: int, steps: int, loss: typing.Optional[float]) -> None: ...

class CallbackError(Exception):
    Failed: typing.Type[_CallbackError_Failed]

class _CallbackError_Failed(CallbackError):
    def __init__(self, reason: typing.Any) -> None: ...

class StepDecision:
    GO: typing.Type[_StepDecision_GO]
    WAIT: typing.Type[_StepDecision_WAIT]
    STOP: typing.Type[_StepDecision_STOP]
    def is_go(self) -> bool: ...
    def is_wait(self) -> bool: ...
    def is_stop(self) -> bool: ...

class _StepDecision_GO(StepDecision):
    def __init__(self) -> None: ...

class _StepDecision_WAIT(StepDecision):
    seconds: float
    def __init__(self, seconds: float) -> None: ...

class _StepDecision_STOP(StepDecision):
    def __init__(self) -> None: ...

class TrainingEvent:
    STARTED: typing.Type[_TrainingEvent_STARTED]
    RESUMED: typing.Type[_TrainingEvent_RESUMED]
    UNCLEAR: typing.Type[_TrainingEvent_UNCLEAR]
    MEASURED: typing.Type[_TrainingEvent_MEASURED]
    ROLLOUT: typing.Type[_TrainingEvent_ROLLOUT]
    STEP: typing.Type[_TrainingEvent_STEP]
    SAVED: typing.Type[_TrainingEvent_SAVED]
    def is_started(self) -> bool: ...
    def is_resumed(self) -> bool: ...
    def is_unclear(self) -> bool: ...
    def is_measured(self) -> bool: ...
    def is_rollout(self) -> bool: ...
    def is_step(self) -> bool: ...
    def is_saved(self) -> bool: ...

class _TrainingEvent_STARTED(TrainingEvent):
    steps: int
    parameters: int
    peak_bytes: int
    def __init__(self, steps: int, parameters: int, peak_bytes: int) -> None: ...

class _TrainingEvent_RESUMED(TrainingEvent):
    step: int
    def __init__(self, step: int) -> None: ...

class _TrainingEvent_UNCLEAR(TrainingEvent):
    principles: typing.List[str]
    def __init__(self, principles: typing.List[str]) -> None: ...

class _TrainingEvent_MEASURED(TrainingEvent):
    loss: float
    figures: typing.List[Figure]
    def __init__(self, loss: float, figures: typing.List[Figure]) -> None: ...

class _TrainingEvent_ROLLOUT(TrainingEvent):
    step: int
    samples: typing.List[Sampled]
    def __init__(self, step: int, samples: typing.List[Sampled]) -> None: ...

class _TrainingEvent_STEP(TrainingEvent):
    report: StepReport
    def __init__(self, report: StepReport) -> None: ...

class _TrainingEvent_SAVED(TrainingEvent):
    path: str
    def __init__(self, path: str) -> None: ...

class TrainingOutcome:
    DONE: typing.Type[_TrainingOutcome_DONE]
    CANCELLED: typing.Type[_TrainingOutcome_CANCELLED]
    def is_done(self) -> bool: ...
    def is_cancelled(self) -> bool: ...

class _TrainingOutcome_DONE(TrainingOutcome):
    adapter: str
    def __init__(self, adapter: str) -> None: ...

class _TrainingOutcome_CANCELLED(TrainingOutcome):
    def __init__(self) -> None: ...

class CancelToken:
    def __init__(self) -> None: ...
    def cancel(self) -> None: ...
    def is_cancelled(self) -> bool: ...

class TokenListener:
    def on_piece(self, piece: Piece) -> None: ...

class TokenListenerImpl:
    def on_piece(self, piece: Piece) -> None: ...

class RewardModel:
    async def score(self, prompt: str, replies: typing.List[str], principles: typing.List[str], cancel: typing.Optional[CancelToken] = ...) -> typing.List[Score]: ...

class ChatSession:
    def attach(self, adapter: Adapter) -> None: ...
    def detach(self) -> None: ...
    def load(self, path: str) -> None: ...
    def messages(self) -> typing.List[ChatMessage]: ...
    async def reply(self, text: str, options: typing.Optional[ReplyOptions] = ..., listener: typing.Optional[TokenListener] = ..., cancel: typing.Optional[CancelToken] = ...) -> Reply: ...
    def reset(self) -> None: ...
    def save(self, path: str) -> None: ...
    def set_messages(self, messages: typing.List[ChatMessage]) -> None: ...
    async def steered_reply(self, text: str, steering: Steering, judge: typing.Optional[RewardModel] = ..., options: typing.Optional[ReplyOptions] = ..., listener: typing.Optional[TokenListener] = ..., cancel: typing.Optional[CancelToken] = ...) -> SteeredReply: ...

class TrainingListener:
    def on_event(self, event: TrainingEvent) -> None: ...

class TrainingListenerImpl:
    def on_event(self, event: TrainingEvent) -> None: ...

class TrainingPolicy:
    def may_step(self, step: int) -> StepDecision: ...

class TrainingPolicyImpl:
    def may_step(self, step: int) -> StepDecision: ...

class TrainingWorkers:
    def begin(self, setup: bytes) -> None: ...
    def run(self, shared: bytes, tasks: typing.List[bytes]) -> typing.List[bytes]: ...

class TrainingWorkersImpl:
    def begin(self, setup: bytes) -> None: ...
    def run(self, shared: bytes, tasks: typing.List[bytes]) -> typing.List[bytes]: ...

class TrainingJob:
    def cancel(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def status(self) -> TrainingStatus: ...
    async def wait(self) -> TrainingOutcome: ...

class TrainingWorker:
    async def run(self, shared: bytes, task: bytes) -> bytes: ...

class Model:
    @classmethod
    async def load(cls, options: ModelOptions, listener: typing.Optional[ProgressListener] = ...) -> Model: ...
    def chat(self, options: typing.Optional[ChatOptions] = ...) -> ChatSession: ...
    async def generate(self, prompts: typing.List[Prompt], slots: int = ..., context: typing.Optional[int] = ..., cancel: typing.Optional[CancelToken] = ...) -> typing.List[Reply]: ...
    def info(self) -> ModelInfo: ...
    def memory(self) -> MemoryReport: ...
    async def open_adapter(self, path: str, any_base: bool = ...) -> Adapter: ...
    async def open_reward(self, folder: str, slots: int = ..., any_base: bool = ...) -> RewardModel: ...
    def release(self) -> None: ...
    def train(self, options: TrainingOptions, listener: typing.Optional[TrainingListener] = ..., policy: typing.Optional[TrainingPolicy] = ..., workers: typing.Optional[TrainingWorkers] = ...) -> TrainingJob: ...
    async def training_worker(self, setup: bytes, reward: typing.Optional[str] = ..., start: typing.Optional[Adapter] = ...) -> TrainingWorker: ...

class ProgressListener:
    def on_progress(self, done_bytes: int, total_bytes: typing.Optional[int]) -> None: ...

class ProgressListenerImpl:
    def on_progress(self, done_bytes: int, total_bytes: typing.Optional[int]) -> None: ...

def blend_adapters(parts: typing.List[AdapterShare]) -> Adapter: ...

def check_principles(toml: str) -> typing.List[PrincipleFault]: ...

def compare_replies(principle: Principle, first: str, second: str) -> typing.Optional[int]: ...

def draw_principles(set: PrincipleSet, seed: int) -> typing.List[str]: ...

def gpus() -> typing.List[GpuInfo]: ...

def keeps_principle(principle: Principle, reply: str) -> typing.Optional[bool]: ...

def open_principles(name: str) -> PrincipleSet: ...

def parse_principles(toml: str) -> PrincipleSet: ...

def principle_wording(principle: Principle) -> str: ...

def principles_to_toml(set: PrincipleSet) -> str: ...

async def pull_model(name: str, options: typing.Optional[PullOptions] = ..., listener: typing.Optional[ProgressListener] = ...) -> str: ...

def resolve_model(name: str) -> str: ...

def shipped_principles() -> typing.List[str]: ...

def version() -> str: ...
