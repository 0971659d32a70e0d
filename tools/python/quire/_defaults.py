"""What a model's generation_config.json recommends, as SamplingParams. Pure."""
from __future__ import annotations

import json
from typing import Any, Dict

from quire.sampling_params import SamplingParams

_NAMES = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repetition_penalty",
          "max_tokens": "max_tokens", "max_new_tokens": "max_tokens"}


def default_sampling_params(text: str) -> SamplingParams:
    """text: GetModelInfoResponse.default_sampling_params_json. Values that are out of range are left out, as the server does."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        found = {}
    values: Dict[str, Any] = {}
    for theirs, ours in _NAMES.items():
        if isinstance(found, dict) and found.get(theirs) is not None:
            try:
                SamplingParams(**{ours: found[theirs]})
            except (TypeError, ValueError):
                continue
            values[ours] = found[theirs]
    return SamplingParams(**values)
