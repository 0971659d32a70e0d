"""Client of the Quire language-model server, shaped like vLLM's offline interface:

    from quire import LLM, SamplingParams

    llm = LLM(model="models/demo")
    for output in llm.generate(["Once upon a time"], SamplingParams(temperature=0.8, top_p=0.95)):
        print(output.outputs[0].text)

AsyncLLM streams. See README.md beside this package.
"""
from quire.async_llm import AsyncLLM
from quire.engine_args import EngineArgs, FlexibleArgumentParser
from quire.errors import (AuthenticationError, DeadlineExceededError, InternalServerError, InvalidRequestError, NotFoundError, NotServedError,
                          OverloadedError, PermissionDeniedError, QuireError, RequestCancelledError, ServerStartError, UnavailableError)
from quire.inputs import PromptType, TextPrompt, TokensPrompt
from quire.llm import LLM
from quire.outputs import BeamSearchOutput, BeamSearchSequence, CompletionOutput, Logprob, RequestMetrics, RequestOutput
from quire.sampling_params import BeamSearchParams, GuidedDecodingParams, RequestOutputKind, SamplingParams, StructuredOutputsParams

__version__ = "0.1.0"

__all__ = [
    "AsyncLLM", "AuthenticationError", "BeamSearchOutput", "BeamSearchParams", "BeamSearchSequence", "CompletionOutput", "DeadlineExceededError",
    "EngineArgs", "FlexibleArgumentParser", "GuidedDecodingParams", "InternalServerError", "InvalidRequestError", "LLM", "Logprob",
    "NotFoundError", "NotServedError", "OverloadedError", "PermissionDeniedError", "PromptType", "QuireError", "RequestCancelledError",
    "RequestMetrics", "RequestOutput", "RequestOutputKind", "SamplingParams", "ServerStartError", "StructuredOutputsParams", "TextPrompt",
    "TokensPrompt", "UnavailableError"
]
