"""A question in a chat model's own format, with the sampling that tutorials use."""
import sys

from quire import LLM, SamplingParams

llm = LLM(model=sys.argv[1], trust_remote_code=True, max_model_len=1024)
sampling_params = SamplingParams(temperature=0.7, top_p=0.95, top_k=50, max_tokens=512)

messages = [
    {"role": "system", "content": "You are a friendly story teller."},
    {"role": "user", "content": "Tell me about a dog and a cat."},
]
outputs = llm.chat(messages, sampling_params)
print(outputs[0].prompt)
print(outputs[0].outputs[0].text)
