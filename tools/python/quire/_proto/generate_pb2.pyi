from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AbortRequest(_message.Message):
    __slots__ = ["request_ids"]
    REQUEST_IDS_FIELD_NUMBER: _ClassVar[int]
    request_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class AbortResponse(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ChatInput(_message.Message):
    __slots__ = ["add_generation_prompt", "chat_template_kwargs", "messages", "tools"]
    ADD_GENERATION_PROMPT_FIELD_NUMBER: _ClassVar[int]
    CHAT_TEMPLATE_KWARGS_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    add_generation_prompt: bool
    chat_template_kwargs: str
    messages: _containers.RepeatedCompositeFieldContainer[ChatMessage]
    tools: str
    def __init__(self, messages: _Optional[_Iterable[_Union[ChatMessage, _Mapping]]] = ..., tools: _Optional[str] = ..., add_generation_prompt: bool = ..., chat_template_kwargs: _Optional[str] = ...) -> None: ...

class ChatMessage(_message.Message):
    __slots__ = ["content", "name", "reasoning_content", "role", "tool_call_id", "tool_calls"]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASONING_CONTENT_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    content: str
    name: str
    reasoning_content: str
    role: str
    tool_call_id: str
    tool_calls: _containers.RepeatedCompositeFieldContainer[ChatToolCall]
    def __init__(self, role: _Optional[str] = ..., content: _Optional[str] = ..., name: _Optional[str] = ..., tool_calls: _Optional[_Iterable[_Union[ChatToolCall, _Mapping]]] = ..., tool_call_id: _Optional[str] = ..., reasoning_content: _Optional[str] = ...) -> None: ...

class ChatToolCall(_message.Message):
    __slots__ = ["arguments", "id", "name"]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    arguments: str
    id: str
    name: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., arguments: _Optional[str] = ...) -> None: ...

class Choice(_message.Message):
    __slots__ = ["choices"]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    choices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, choices: _Optional[_Iterable[str]] = ...) -> None: ...

class DetokenizeRequest(_message.Message):
    __slots__ = ["ids", "skip_special_tokens"]
    IDS_FIELD_NUMBER: _ClassVar[int]
    SKIP_SPECIAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    skip_special_tokens: bool
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., skip_special_tokens: bool = ...) -> None: ...

class DetokenizeResponse(_message.Message):
    __slots__ = ["text"]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ["chat", "echo", "model", "priority", "request_id", "sampling_params", "shared_prefix_tokens", "stream", "text", "tokenized"]
    CHAT_FIELD_NUMBER: _ClassVar[int]
    ECHO_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_PARAMS_FIELD_NUMBER: _ClassVar[int]
    SHARED_PREFIX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKENIZED_FIELD_NUMBER: _ClassVar[int]
    chat: ChatInput
    echo: bool
    model: str
    priority: int
    request_id: str
    sampling_params: SamplingParams
    shared_prefix_tokens: int
    stream: bool
    text: str
    tokenized: TokenizedInput
    def __init__(self, request_id: _Optional[str] = ..., tokenized: _Optional[_Union[TokenizedInput, _Mapping]] = ..., text: _Optional[str] = ..., chat: _Optional[_Union[ChatInput, _Mapping]] = ..., sampling_params: _Optional[_Union[SamplingParams, _Mapping]] = ..., stream: bool = ..., model: _Optional[str] = ..., priority: _Optional[int] = ..., shared_prefix_tokens: _Optional[int] = ..., echo: bool = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ["chunk", "complete"]
    class Chunk(_message.Message):
        __slots__ = ["cached_tokens", "completion_tokens", "index", "input_logprobs", "offset", "output_logprobs", "prompt_token_ids", "prompt_tokens", "text", "token_ids"]
        CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
        COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
        INDEX_FIELD_NUMBER: _ClassVar[int]
        INPUT_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
        OFFSET_FIELD_NUMBER: _ClassVar[int]
        OUTPUT_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
        PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
        PROMPT_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
        cached_tokens: int
        completion_tokens: int
        index: int
        input_logprobs: InputLogprobs
        offset: int
        output_logprobs: OutputLogprobs
        prompt_token_ids: _containers.RepeatedScalarFieldContainer[int]
        prompt_tokens: int
        text: str
        token_ids: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, token_ids: _Optional[_Iterable[int]] = ..., prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., output_logprobs: _Optional[_Union[OutputLogprobs, _Mapping]] = ..., input_logprobs: _Optional[_Union[InputLogprobs, _Mapping]] = ..., index: _Optional[int] = ..., text: _Optional[str] = ..., offset: _Optional[int] = ..., prompt_token_ids: _Optional[_Iterable[int]] = ...) -> None: ...
    class Complete(_message.Message):
        __slots__ = ["cached_tokens", "completion_tokens", "cumulative_logprob", "finish_reason", "index", "input_logprobs", "matched_stop_str", "matched_stop_token_id", "output_ids", "output_logprobs", "prompt_token_ids", "prompt_tokens", "request_id", "seed", "text", "timing"]
        CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
        COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
        CUMULATIVE_LOGPROB_FIELD_NUMBER: _ClassVar[int]
        FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
        INDEX_FIELD_NUMBER: _ClassVar[int]
        INPUT_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
        MATCHED_STOP_STR_FIELD_NUMBER: _ClassVar[int]
        MATCHED_STOP_TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
        OUTPUT_IDS_FIELD_NUMBER: _ClassVar[int]
        OUTPUT_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
        PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
        PROMPT_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
        REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
        SEED_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        TIMING_FIELD_NUMBER: _ClassVar[int]
        cached_tokens: int
        completion_tokens: int
        cumulative_logprob: float
        finish_reason: str
        index: int
        input_logprobs: InputLogprobs
        matched_stop_str: str
        matched_stop_token_id: int
        output_ids: _containers.RepeatedScalarFieldContainer[int]
        output_logprobs: OutputLogprobs
        prompt_token_ids: _containers.RepeatedScalarFieldContainer[int]
        prompt_tokens: int
        request_id: str
        seed: int
        text: str
        timing: Timing
        def __init__(self, output_ids: _Optional[_Iterable[int]] = ..., finish_reason: _Optional[str] = ..., prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., output_logprobs: _Optional[_Union[OutputLogprobs, _Mapping]] = ..., input_logprobs: _Optional[_Union[InputLogprobs, _Mapping]] = ..., index: _Optional[int] = ..., matched_stop_token_id: _Optional[int] = ..., matched_stop_str: _Optional[str] = ..., text: _Optional[str] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., seed: _Optional[int] = ..., request_id: _Optional[str] = ..., prompt_token_ids: _Optional[_Iterable[int]] = ..., cumulative_logprob: _Optional[float] = ...) -> None: ...
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    chunk: GenerateResponse.Chunk
    complete: GenerateResponse.Complete
    def __init__(self, chunk: _Optional[_Union[GenerateResponse.Chunk, _Mapping]] = ..., complete: _Optional[_Union[GenerateResponse.Complete, _Mapping]] = ...) -> None: ...

class GetLoadsRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class GetLoadsResponse(_message.Message):
    __slots__ = ["blocks_swapped_in", "blocks_swapped_out", "cache_hit_rate", "cache_hit_tokens", "cache_queried_tokens", "cached_blocks", "gen_throughput", "generation_tokens_total", "held_blocks", "kv_fragmentation", "max_total_num_tokens", "num_block_copies", "num_forks", "num_preemptions", "num_recomputes", "num_running_reqs", "num_swaps", "num_used_tokens", "num_waiting_reqs", "prompt_tokens_total", "ranks", "replicas", "spec_decode_num_accepted_tokens_total", "spec_decode_num_draft_tokens_total", "stale_replies_total", "token_usage"]
    class RankLoad(_message.Message):
        __slots__ = ["device_blocks_cached", "device_blocks_total", "device_blocks_used", "host_blocks_total", "host_blocks_used", "rank"]
        DEVICE_BLOCKS_CACHED_FIELD_NUMBER: _ClassVar[int]
        DEVICE_BLOCKS_TOTAL_FIELD_NUMBER: _ClassVar[int]
        DEVICE_BLOCKS_USED_FIELD_NUMBER: _ClassVar[int]
        HOST_BLOCKS_TOTAL_FIELD_NUMBER: _ClassVar[int]
        HOST_BLOCKS_USED_FIELD_NUMBER: _ClassVar[int]
        RANK_FIELD_NUMBER: _ClassVar[int]
        device_blocks_cached: int
        device_blocks_total: int
        device_blocks_used: int
        host_blocks_total: int
        host_blocks_used: int
        rank: int
        def __init__(self, rank: _Optional[int] = ..., device_blocks_total: _Optional[int] = ..., device_blocks_used: _Optional[int] = ..., host_blocks_total: _Optional[int] = ..., host_blocks_used: _Optional[int] = ..., device_blocks_cached: _Optional[int] = ...) -> None: ...
    class ReplicaLoad(_message.Message):
        __slots__ = ["cache_hit_tokens_total", "cache_queried_tokens_total", "formed", "generation_tokens_total", "max_total_num_tokens", "num_running_reqs", "num_used_tokens", "num_waiting_reqs", "ranks", "replica"]
        CACHE_HIT_TOKENS_TOTAL_FIELD_NUMBER: _ClassVar[int]
        CACHE_QUERIED_TOKENS_TOTAL_FIELD_NUMBER: _ClassVar[int]
        FORMED_FIELD_NUMBER: _ClassVar[int]
        GENERATION_TOKENS_TOTAL_FIELD_NUMBER: _ClassVar[int]
        MAX_TOTAL_NUM_TOKENS_FIELD_NUMBER: _ClassVar[int]
        NUM_RUNNING_REQS_FIELD_NUMBER: _ClassVar[int]
        NUM_USED_TOKENS_FIELD_NUMBER: _ClassVar[int]
        NUM_WAITING_REQS_FIELD_NUMBER: _ClassVar[int]
        RANKS_FIELD_NUMBER: _ClassVar[int]
        REPLICA_FIELD_NUMBER: _ClassVar[int]
        cache_hit_tokens_total: int
        cache_queried_tokens_total: int
        formed: bool
        generation_tokens_total: int
        max_total_num_tokens: int
        num_running_reqs: int
        num_used_tokens: int
        num_waiting_reqs: int
        ranks: _containers.RepeatedCompositeFieldContainer[GetLoadsResponse.RankLoad]
        replica: int
        def __init__(self, replica: _Optional[int] = ..., formed: bool = ..., num_running_reqs: _Optional[int] = ..., num_waiting_reqs: _Optional[int] = ..., num_used_tokens: _Optional[int] = ..., max_total_num_tokens: _Optional[int] = ..., generation_tokens_total: _Optional[int] = ..., cache_queried_tokens_total: _Optional[int] = ..., cache_hit_tokens_total: _Optional[int] = ..., ranks: _Optional[_Iterable[_Union[GetLoadsResponse.RankLoad, _Mapping]]] = ...) -> None: ...
    BLOCKS_SWAPPED_IN_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_SWAPPED_OUT_FIELD_NUMBER: _ClassVar[int]
    CACHED_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_RATE_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_QUERIED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_TOKENS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    GEN_THROUGHPUT_FIELD_NUMBER: _ClassVar[int]
    HELD_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    KV_FRAGMENTATION_FIELD_NUMBER: _ClassVar[int]
    MAX_TOTAL_NUM_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NUM_BLOCK_COPIES_FIELD_NUMBER: _ClassVar[int]
    NUM_FORKS_FIELD_NUMBER: _ClassVar[int]
    NUM_PREEMPTIONS_FIELD_NUMBER: _ClassVar[int]
    NUM_RECOMPUTES_FIELD_NUMBER: _ClassVar[int]
    NUM_RUNNING_REQS_FIELD_NUMBER: _ClassVar[int]
    NUM_SWAPS_FIELD_NUMBER: _ClassVar[int]
    NUM_USED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NUM_WAITING_REQS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    SPEC_DECODE_NUM_ACCEPTED_TOKENS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SPEC_DECODE_NUM_DRAFT_TOKENS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    STALE_REPLIES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_USAGE_FIELD_NUMBER: _ClassVar[int]
    blocks_swapped_in: int
    blocks_swapped_out: int
    cache_hit_rate: float
    cache_hit_tokens: int
    cache_queried_tokens: int
    cached_blocks: int
    gen_throughput: float
    generation_tokens_total: int
    held_blocks: int
    kv_fragmentation: float
    max_total_num_tokens: int
    num_block_copies: int
    num_forks: int
    num_preemptions: int
    num_recomputes: int
    num_running_reqs: int
    num_swaps: int
    num_used_tokens: int
    num_waiting_reqs: int
    prompt_tokens_total: int
    ranks: _containers.RepeatedCompositeFieldContainer[GetLoadsResponse.RankLoad]
    replicas: _containers.RepeatedCompositeFieldContainer[GetLoadsResponse.ReplicaLoad]
    spec_decode_num_accepted_tokens_total: int
    spec_decode_num_draft_tokens_total: int
    stale_replies_total: int
    token_usage: float
    def __init__(self, num_running_reqs: _Optional[int] = ..., num_waiting_reqs: _Optional[int] = ..., num_used_tokens: _Optional[int] = ..., max_total_num_tokens: _Optional[int] = ..., token_usage: _Optional[float] = ..., gen_throughput: _Optional[float] = ..., cache_hit_rate: _Optional[float] = ..., ranks: _Optional[_Iterable[_Union[GetLoadsResponse.RankLoad, _Mapping]]] = ..., num_preemptions: _Optional[int] = ..., generation_tokens_total: _Optional[int] = ..., prompt_tokens_total: _Optional[int] = ..., stale_replies_total: _Optional[int] = ..., spec_decode_num_draft_tokens_total: _Optional[int] = ..., spec_decode_num_accepted_tokens_total: _Optional[int] = ..., num_swaps: _Optional[int] = ..., cached_blocks: _Optional[int] = ..., held_blocks: _Optional[int] = ..., kv_fragmentation: _Optional[float] = ..., num_recomputes: _Optional[int] = ..., num_forks: _Optional[int] = ..., num_block_copies: _Optional[int] = ..., blocks_swapped_out: _Optional[int] = ..., blocks_swapped_in: _Optional[int] = ..., cache_hit_tokens: _Optional[int] = ..., cache_queried_tokens: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[GetLoadsResponse.ReplicaLoad, _Mapping]]] = ...) -> None: ...

class GetModelInfoRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class GetModelInfoResponse(_message.Message):
    __slots__ = ["architectures", "bos_token_id", "default_sampling_params_json", "eos_token_ids", "max_context_length", "model_path", "model_type", "served_model_name", "vocab_size", "weight_sparsity"]
    ARCHITECTURES_FIELD_NUMBER: _ClassVar[int]
    BOS_TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_SAMPLING_PARAMS_JSON_FIELD_NUMBER: _ClassVar[int]
    EOS_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MODEL_PATH_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    SERVED_MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    VOCAB_SIZE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_SPARSITY_FIELD_NUMBER: _ClassVar[int]
    architectures: _containers.RepeatedScalarFieldContainer[str]
    bos_token_id: int
    default_sampling_params_json: str
    eos_token_ids: _containers.RepeatedScalarFieldContainer[int]
    max_context_length: int
    model_path: str
    model_type: str
    served_model_name: str
    vocab_size: int
    weight_sparsity: float
    def __init__(self, model_path: _Optional[str] = ..., max_context_length: _Optional[int] = ..., vocab_size: _Optional[int] = ..., served_model_name: _Optional[str] = ..., model_type: _Optional[str] = ..., architectures: _Optional[_Iterable[str]] = ..., eos_token_ids: _Optional[_Iterable[int]] = ..., bos_token_id: _Optional[int] = ..., default_sampling_params_json: _Optional[str] = ..., weight_sparsity: _Optional[float] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ["backends", "block_size", "collective", "dtype", "epoch", "kv_bytes_per_token", "max_num_batched_tokens", "max_num_seqs", "model_bandwidth_utilization", "model_flops_utilization", "replicas", "step_seconds_p50", "steps", "tensor_parallel_size", "uptime_seconds", "version", "weight_bytes", "worker_seconds_p50"]
    class Replica(_message.Message):
        __slots__ = ["backends", "epoch", "formed", "replica", "steps"]
        BACKENDS_FIELD_NUMBER: _ClassVar[int]
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        FORMED_FIELD_NUMBER: _ClassVar[int]
        REPLICA_FIELD_NUMBER: _ClassVar[int]
        STEPS_FIELD_NUMBER: _ClassVar[int]
        backends: _containers.RepeatedScalarFieldContainer[str]
        epoch: int
        formed: bool
        replica: int
        steps: int
        def __init__(self, replica: _Optional[int] = ..., formed: bool = ..., epoch: _Optional[int] = ..., steps: _Optional[int] = ..., backends: _Optional[_Iterable[str]] = ...) -> None: ...
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    COLLECTIVE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    KV_BYTES_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MAX_NUM_BATCHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_NUM_SEQS_FIELD_NUMBER: _ClassVar[int]
    MODEL_BANDWIDTH_UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FLOPS_UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    STEP_SECONDS_P50_FIELD_NUMBER: _ClassVar[int]
    TENSOR_PARALLEL_SIZE_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    WORKER_SECONDS_P50_FIELD_NUMBER: _ClassVar[int]
    backends: _containers.RepeatedScalarFieldContainer[str]
    block_size: int
    collective: str
    dtype: str
    epoch: int
    kv_bytes_per_token: int
    max_num_batched_tokens: int
    max_num_seqs: int
    model_bandwidth_utilization: float
    model_flops_utilization: float
    replicas: _containers.RepeatedCompositeFieldContainer[GetServerInfoResponse.Replica]
    step_seconds_p50: float
    steps: int
    tensor_parallel_size: int
    uptime_seconds: float
    version: str
    weight_bytes: int
    worker_seconds_p50: float
    def __init__(self, version: _Optional[str] = ..., uptime_seconds: _Optional[float] = ..., tensor_parallel_size: _Optional[int] = ..., dtype: _Optional[str] = ..., collective: _Optional[str] = ..., max_num_seqs: _Optional[int] = ..., max_num_batched_tokens: _Optional[int] = ..., block_size: _Optional[int] = ..., epoch: _Optional[int] = ..., steps: _Optional[int] = ..., backends: _Optional[_Iterable[str]] = ..., weight_bytes: _Optional[int] = ..., kv_bytes_per_token: _Optional[int] = ..., step_seconds_p50: _Optional[float] = ..., worker_seconds_p50: _Optional[float] = ..., model_bandwidth_utilization: _Optional[float] = ..., model_flops_utilization: _Optional[float] = ..., replicas: _Optional[_Iterable[_Union[GetServerInfoResponse.Replica, _Mapping]]] = ...) -> None: ...

class InputLogprobs(_message.Message):
    __slots__ = ["positions"]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedCompositeFieldContainer[PositionLogprobs]
    def __init__(self, positions: _Optional[_Iterable[_Union[PositionLogprobs, _Mapping]]] = ...) -> None: ...

class OutputLogprobs(_message.Message):
    __slots__ = ["positions"]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedCompositeFieldContainer[PositionLogprobs]
    def __init__(self, positions: _Optional[_Iterable[_Union[PositionLogprobs, _Mapping]]] = ...) -> None: ...

class PositionLogprobs(_message.Message):
    __slots__ = ["sampled", "top"]
    SAMPLED_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    sampled: TokenLogprob
    top: _containers.RepeatedCompositeFieldContainer[TokenLogprob]
    def __init__(self, sampled: _Optional[_Union[TokenLogprob, _Mapping]] = ..., top: _Optional[_Iterable[_Union[TokenLogprob, _Mapping]]] = ...) -> None: ...

class SamplingParams(_message.Message):
    __slots__ = ["allowed_token_ids", "bad_words", "beam_width", "best_of", "choice", "detokenize", "early_stopping", "frequency_penalty", "grammar", "ignore_eos", "include_stop_str_in_output", "json_object", "json_schema", "length_penalty", "logit_bias", "logprobs", "max_tokens", "min_p", "min_tokens", "n", "presence_penalty", "prompt_logprobs", "regex", "repetition_penalty", "seed", "skip_special_tokens", "spaces_between_special_tokens", "stop", "stop_token_ids", "structural_tag", "temperature", "top_k", "top_p", "truncate_prompt_tokens", "use_beam_search"]
    class LogitBiasEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: float
        def __init__(self, key: _Optional[int] = ..., value: _Optional[float] = ...) -> None: ...
    ALLOWED_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    BAD_WORDS_FIELD_NUMBER: _ClassVar[int]
    BEAM_WIDTH_FIELD_NUMBER: _ClassVar[int]
    BEST_OF_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    DETOKENIZE_FIELD_NUMBER: _ClassVar[int]
    EARLY_STOPPING_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_PENALTY_FIELD_NUMBER: _ClassVar[int]
    GRAMMAR_FIELD_NUMBER: _ClassVar[int]
    IGNORE_EOS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_STOP_STR_IN_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    JSON_OBJECT_FIELD_NUMBER: _ClassVar[int]
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    LENGTH_PENALTY_FIELD_NUMBER: _ClassVar[int]
    LOGIT_BIAS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    MIN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_PENALTY_FIELD_NUMBER: _ClassVar[int]
    PROMPT_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    REGEX_FIELD_NUMBER: _ClassVar[int]
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SKIP_SPECIAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SPACES_BETWEEN_SPECIAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    STOP_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    STRUCTURAL_TAG_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TRUNCATE_PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    USE_BEAM_SEARCH_FIELD_NUMBER: _ClassVar[int]
    allowed_token_ids: _containers.RepeatedScalarFieldContainer[int]
    bad_words: _containers.RepeatedScalarFieldContainer[str]
    beam_width: int
    best_of: int
    choice: Choice
    detokenize: bool
    early_stopping: str
    frequency_penalty: float
    grammar: str
    ignore_eos: bool
    include_stop_str_in_output: bool
    json_object: bool
    json_schema: str
    length_penalty: float
    logit_bias: _containers.ScalarMap[int, float]
    logprobs: int
    max_tokens: int
    min_p: float
    min_tokens: int
    n: int
    presence_penalty: float
    prompt_logprobs: int
    regex: str
    repetition_penalty: float
    seed: int
    skip_special_tokens: bool
    spaces_between_special_tokens: bool
    stop: _containers.RepeatedScalarFieldContainer[str]
    stop_token_ids: _containers.RepeatedScalarFieldContainer[int]
    structural_tag: str
    temperature: float
    top_k: int
    top_p: float
    truncate_prompt_tokens: int
    use_beam_search: bool
    def __init__(self, temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., min_p: _Optional[float] = ..., frequency_penalty: _Optional[float] = ..., presence_penalty: _Optional[float] = ..., repetition_penalty: _Optional[float] = ..., max_tokens: _Optional[int] = ..., min_tokens: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., stop_token_ids: _Optional[_Iterable[int]] = ..., skip_special_tokens: bool = ..., spaces_between_special_tokens: bool = ..., ignore_eos: bool = ..., n: _Optional[int] = ..., json_schema: _Optional[str] = ..., regex: _Optional[str] = ..., grammar: _Optional[str] = ..., structural_tag: _Optional[str] = ..., json_object: bool = ..., choice: _Optional[_Union[Choice, _Mapping]] = ..., logprobs: _Optional[int] = ..., prompt_logprobs: _Optional[int] = ..., seed: _Optional[int] = ..., include_stop_str_in_output: bool = ..., logit_bias: _Optional[_Mapping[int, float]] = ..., truncate_prompt_tokens: _Optional[int] = ..., best_of: _Optional[int] = ..., use_beam_search: bool = ..., beam_width: _Optional[int] = ..., length_penalty: _Optional[float] = ..., early_stopping: _Optional[str] = ..., bad_words: _Optional[_Iterable[str]] = ..., allowed_token_ids: _Optional[_Iterable[int]] = ..., detokenize: bool = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ["decode_seconds", "prefill_seconds", "queue_seconds"]
    DECODE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PREFILL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    decode_seconds: float
    prefill_seconds: float
    queue_seconds: float
    def __init__(self, queue_seconds: _Optional[float] = ..., prefill_seconds: _Optional[float] = ..., decode_seconds: _Optional[float] = ...) -> None: ...

class TokenLogprob(_message.Message):
    __slots__ = ["logprob", "token", "token_id"]
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    logprob: float
    token: str
    token_id: int
    def __init__(self, token_id: _Optional[int] = ..., logprob: _Optional[float] = ..., token: _Optional[str] = ...) -> None: ...

class TokenizeRequest(_message.Message):
    __slots__ = ["add_special_tokens", "chat", "text"]
    ADD_SPECIAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CHAT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    add_special_tokens: bool
    chat: ChatInput
    text: str
    def __init__(self, text: _Optional[str] = ..., add_special_tokens: bool = ..., chat: _Optional[_Union[ChatInput, _Mapping]] = ...) -> None: ...

class TokenizeResponse(_message.Message):
    __slots__ = ["ids", "text"]
    IDS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    text: str
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., text: _Optional[str] = ...) -> None: ...

class TokenizedInput(_message.Message):
    __slots__ = ["input_ids", "original_text"]
    INPUT_IDS_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_TEXT_FIELD_NUMBER: _ClassVar[int]
    input_ids: _containers.RepeatedScalarFieldContainer[int]
    original_text: str
    def __init__(self, original_text: _Optional[str] = ..., input_ids: _Optional[_Iterable[int]] = ...) -> None: ...
