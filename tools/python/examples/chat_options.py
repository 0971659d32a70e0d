"""Conversations one by one and in a batch; the engine's arguments and the sampling come from the command line.

    python chat_options.py --model DIR --max-tokens 64 --temperature 0.7
"""
from quire import LLM, EngineArgs
from quire.engine_args import FlexibleArgumentParser


def create_parser():
    parser = FlexibleArgumentParser()
    EngineArgs.add_cli_args(parser)
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument("--max-tokens", type=int)
    sampling.add_argument("--temperature", type=float)
    sampling.add_argument("--top-p", type=float)
    sampling.add_argument("--top-k", type=int)
    return parser


def main(args):
    max_tokens = args.pop("max_tokens")
    temperature = args.pop("temperature")
    top_p = args.pop("top_p")
    top_k = args.pop("top_k")
    llm = LLM(**args)

    # What the model's makers recommend, then what the user wants instead.
    sampling_params = llm.get_default_sampling_params()
    if max_tokens is not None:
        sampling_params.max_tokens = max_tokens
    if temperature is not None:
        sampling_params.temperature = temperature
    if top_p is not None:
        sampling_params.top_p = top_p
    if top_k is not None:
        sampling_params.top_k = top_k

    conversation = [
        {"role": "system", "content": "You help with homework."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hi! What are you learning?"},
        {"role": "user", "content": "Why do birds sing?"},
    ]
    for output in llm.chat(conversation, sampling_params, use_tqdm=False):
        print(f"Prompt: {output.prompt!r}\nAnswer: {output.outputs[0].text!r}")
    outputs = llm.chat([conversation for _ in range(10)], sampling_params, use_tqdm=True)
    print(len(outputs), "answers")


if __name__ == "__main__":
    main(vars(create_parser().parse_args()))
