"""vLLM's engine arguments -> flags of a local coordinator.

Three kinds: those that are a flag here, those that mean nothing here and change no output (accepted), and the rest (refused by name).
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass, fields
from typing import Any, Dict, List, Optional, Sequence

# Argument of LLM -> flag; the values go over as they are.
_FLAGS = {
    "tokenizer": "tokenizer", "skip_tokenizer_init": "skip_tokenizer_init", "dtype": "dtype", "max_model_len": "max_model_len",
    "max_num_seqs": "max_num_seqs", "max_num_batched_tokens": "max_num_batched_tokens", "gpu_memory_utilization": "gpu_memory_utilization",
    "kv_cache_memory_bytes": "kv_cache_memory_bytes", "block_size": "block_size", "enable_prefix_caching": "enable_prefix_caching",
    "scheduling_policy": "scheduling_policy", "max_logprobs": "max_logprobs", "enable_expert_parallel": "enable_expert_parallel",
    "served_model_name": "served_model_name", "chat_template": "chat_template", "worker_threads": "worker_threads",
    "worker_binary": "worker_binary", "collective": "collective", "target_step_ms": "target_step_ms", "preemption_mode": "preemption_mode",
    "num_gpu_blocks_override": "num_device_blocks_override", "max_queue_len": "max_queue_len", "step_deadline": "step_deadline",
    "speculative_method": "speculative_method", "num_speculative_tokens": "num_speculative_tokens", "speculative_model": "speculative_model",
    "prompt_lookup_min": "prompt_lookup_min", "prompt_lookup_max": "prompt_lookup_max",
}
# How vLLM captures graphs, compiles, logs or loads. Nothing of it changes a result.
_WITHOUT_MEANING = frozenset((
    "enforce_eager", "trust_remote_code", "disable_custom_all_reduce", "disable_log_stats", "max_seq_len_to_capture", "compilation_config",
    "tokenizer_mode", "load_format", "download_dir", "hf_token", "distributed_executor_backend", "enable_chunked_prefill",
    "disable_async_output_proc", "use_tqdm_on_load", "async_scheduling", "safetensors_load_strategy",
    "max_parallel_loading_workers", "disable_cascade_attn", "allowed_local_media_path"))
_GIB = 1 << 30
_MAX_TENSOR_PARALLEL = 64


def _check_quantization(method: str, model_dir: str) -> None:
    """The checkpoint says how it is quantised; an argument may only agree."""
    try:
        with open(os.path.join(model_dir, "config.json"), encoding="utf-8") as file:
            truth = (json.load(file).get("quantization_config") or {}).get("quant_method")
    except (OSError, ValueError):
        return  # the coordinator tells what is wrong with it
    if method != truth:
        raise ValueError(f"quantization={method!r} does not fit the checkpoint, which says {truth!r}; weights are not quantised while loading")


_DTYPES = {"half": "float16", "float": "float32"}  # vLLM's other names


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value).replace("torch.", "")
    return _DTYPES.get(text, text)


def coordinator_flags(model_dir: str, tensor_parallel_size: int, arguments: Dict[str, Any]) -> Dict[str, str]:
    """Flags for `arguments`, those of LLM(...) that are not None. Raises TypeError for an unknown one, ValueError for one that cannot be had."""
    if not 1 <= tensor_parallel_size <= _MAX_TENSOR_PARALLEL:
        raise ValueError(f"tensor_parallel_size must be in [1, {_MAX_TENSOR_PARALLEL}], got {tensor_parallel_size}.")
    left = {name: value for name, value in arguments.items() if value is not None and name not in _WITHOUT_MEANING}
    replicas = int(left.pop("data_parallel_size", 1))
    flags = {"workers": f"local:{tensor_parallel_size * replicas}"}
    if replicas > 1:
        flags["tensor_parallel_size"] = str(tensor_parallel_size)
    quantization = left.pop("quantization", None)
    if quantization is not None:
        _check_quantization(quantization, model_dir)
    if "swap_space" in left:  # GiB of host memory per rank
        flags["swap_space_bytes"] = str(int(float(left.pop("swap_space")) * _GIB))
    if "worker_binary" not in left and os.environ.get("QUIRE_WORKER"):
        left["worker_binary"] = os.environ["QUIRE_WORKER"]
    for name in list(left):
        if name in _FLAGS:
            flags[_FLAGS[name]] = _text(left.pop(name))
    if left:
        raise TypeError(f"LLM() does not know {', '.join(sorted(left))}")
    return flags


@dataclass
class EngineArgs:
    """The arguments of LLM as a value, and as options of a command line: for scripts that pass them on."""
    model: str = ""
    tokenizer: Optional[str] = None
    tensor_parallel_size: int = 1
    data_parallel_size: int = 1
    dtype: str = "auto"
    max_model_len: Optional[int] = None
    max_num_seqs: Optional[int] = None
    max_num_batched_tokens: Optional[int] = None
    gpu_memory_utilization: Optional[float] = None
    kv_cache_memory_bytes: Optional[int] = None
    block_size: Optional[int] = None
    swap_space: Optional[float] = None
    seed: Optional[int] = None
    quantization: Optional[str] = None
    revision: Optional[str] = None
    enforce_eager: bool = False
    trust_remote_code: bool = False

    @staticmethod
    def add_cli_args(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
        group = parser.add_argument_group("engine")
        kinds = {"int": int, "float": float, "str": str}
        for field in fields(EngineArgs):
            option = "--" + field.name.replace("_", "-")
            if field.type == "bool":
                group.add_argument(option, action="store_true", default=field.default)
            else:
                kind = kinds[str(field.type).replace("Optional[", "").rstrip("]")]
                group.add_argument(option, type=kind, default=field.default)
        return parser

    @classmethod
    def from_cli_args(cls, args: argparse.Namespace) -> "EngineArgs":
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})

    def asdict(self) -> Dict[str, Any]:
        return asdict(self)


class FlexibleArgumentParser(argparse.ArgumentParser):
    """Takes --some_option for --some-option."""

    def parse_known_args(self, args: Optional[Sequence[str]] = None, namespace: Any = None) -> Any:  # type: ignore[override]
        fixed: List[str] = []
        for arg in sys.argv[1:] if args is None else args:
            name, equals, value = arg.partition("=")
            fixed.append(name.replace("_", "-") + equals + value if name.startswith("--") else arg)
        return super().parse_known_args(fixed, namespace)
