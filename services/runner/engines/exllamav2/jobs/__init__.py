"""Jobs of the ExLlamaV2 engine: from a prompt to the steps of a batch."""
