"""A machine without a GPU, as ExLlamaV2 sees it.

The library's generator, sampler settings, tokenizer and page table are the real ones; only its compiled extension,
flash-attn and the model's arithmetic are replaced, by plain torch.
"""
