"""The server's tokenizer, over RPC. The methods that scripts use of Hugging Face's."""
from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Union

from quire._client import Client
from quire._proto import generate_pb2 as pb
from quire._requests import Message, set_chat


class Tokenizer:
    """encode and decode are the server's own, so that ids always mean what they mean there."""

    def __init__(self, client: Client, info: pb.GetModelInfoResponse) -> None:
        self._client = client
        self.vocab_size: int = info.vocab_size
        self.eos_token_ids: List[int] = list(info.eos_token_ids)
        self.eos_token_id: Optional[int] = self.eos_token_ids[0] if self.eos_token_ids else None
        self.bos_token_id: Optional[int] = info.bos_token_id if info.HasField("bos_token_id") else None
        self.name_or_path: str = info.model_path

    def __len__(self) -> int:
        return self.vocab_size

    def encode(self, text: str, add_special_tokens: bool = True) -> List[int]:
        return list(self._client.call("Tokenize", pb.TokenizeRequest(text=text, add_special_tokens=add_special_tokens)).ids)

    def decode(self, token_ids: Union[int, Iterable[int]], skip_special_tokens: bool = False) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return str(self._client.call("Detokenize", pb.DetokenizeRequest(ids=ids, skip_special_tokens=skip_special_tokens)).text)

    def batch_decode(self, sequences: Iterable[Iterable[int]], skip_special_tokens: bool = False) -> List[str]:
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    def apply_chat_template(self, conversation: Sequence[Message], tools: Optional[Sequence[Mapping[str, Any]]] = None,
                            add_generation_prompt: bool = False, tokenize: bool = True, **chat_template_kwargs: Any) -> Union[str, List[int]]:
        """The prompt that the model's template makes of a conversation: its ids, or with tokenize=False its text."""
        request = pb.TokenizeRequest()
        set_chat(conversation, request.chat, add_generation_prompt=add_generation_prompt, tools=tools, chat_template_kwargs=chat_template_kwargs)
        made = self._client.call("Tokenize", request)
        return list(made.ids) if tokenize else str(made.text)

    def __call__(self, text: Union[str, Sequence[str]], add_special_tokens: bool = True) -> Dict[str, Any]:
        if isinstance(text, str):
            ids: Any = self.encode(text, add_special_tokens)
            return {"input_ids": ids, "attention_mask": [1] * len(ids)}
        ids = [self.encode(each, add_special_tokens) for each in text]
        return {"input_ids": ids, "attention_mask": [[1] * len(each) for each in ids]}
