"""Completes four prompts."""
from quire import LLM, SamplingParams

prompts = [
    "Good morning, I am called",
    "The best day of the week is",
    "Our town lies near",
    "Tomorrow there will be",
]
sampling_params = SamplingParams(temperature=0.8, top_p=0.95)

llm = LLM(model="facebook/opt-125m")
outputs = llm.generate(prompts, sampling_params)
for output in outputs:
    print(f"Prompt: {output.prompt!r}, Generated text: {output.outputs[0].text!r}")
