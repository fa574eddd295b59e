"""Tests of the ExLlamaV2 runner on a machine with a GPU and no network: see docs/gpu.md."""
