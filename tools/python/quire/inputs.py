"""What a prompt may be: a text, token ids, or a dict that holds one of them."""
from __future__ import annotations

from typing import Any, List, Sequence, TypedDict, Union, cast


class _TextPromptBase(TypedDict):
    prompt: str


class TextPrompt(_TextPromptBase, total=False):
    """{"prompt": "a text"}"""
    cache_salt: str


class _TokensPromptBase(TypedDict):
    prompt_token_ids: List[int]


class TokensPrompt(_TokensPromptBase, total=False):
    """{"prompt_token_ids": [1, 2, 3]}; `prompt` may tell the text that they stand for."""
    prompt: str
    cache_salt: str


PromptType = Union[str, List[int], TextPrompt, TokensPrompt]

_NOT_SERVED = ("multi_modal_data", "multi_modal_uuids", "prompt_embeds", "encoder_prompt", "cache_salt")


def as_prompt_list(prompts: Union[PromptType, Sequence[PromptType]]) -> List[PromptType]:
    """One prompt or many -> a list of prompts. A list of ints is one prompt."""
    if isinstance(prompts, (str, dict)):
        return [cast(PromptType, prompts)]
    listed = list(prompts)
    if listed and all(isinstance(item, int) for item in listed):
        return [cast(List[int], listed)]
    return cast(List[PromptType], listed)


def as_prompt_dict(prompt: PromptType) -> "TextPrompt | TokensPrompt":
    """Any form of a prompt -> {"prompt": ...} or {"prompt_token_ids": ...}. Raises TypeError or ValueError."""
    if isinstance(prompt, str):
        return {"prompt": prompt}
    if isinstance(prompt, (list, tuple)):
        if not all(isinstance(item, int) for item in prompt):
            raise TypeError("a prompt given as a list must hold token ids")
        return {"prompt_token_ids": list(prompt)}
    if not isinstance(prompt, dict):
        raise TypeError(f"a prompt is a str, a list of token ids or a dict, got {type(prompt).__name__}")
    fields = cast("dict[str, Any]", prompt)
    for name in _NOT_SERVED:
        if fields.get(name) is not None:
            raise ValueError(f"prompts with {name} are not served")
    if fields.get("prompt_token_ids") is None and not isinstance(fields.get("prompt"), str):
        raise ValueError("a prompt given as a dict needs `prompt` or `prompt_token_ids`")
    return prompt
