"""The shortest script there is: a model by its name, prompts, texts."""
from quire import LLM

prompts = ["Hello, I'm a language model,", "Paris is the capital of"]
llm = LLM("gpt2")
outputs = llm.generate(prompts)

for output in outputs:
    print(output.prompt + output.outputs[0].text)
