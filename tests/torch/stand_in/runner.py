"""A runner whose ExLlamaV2 engine works over the stand-in: `python -m tests.torch.stand_in.runner`.

TIERMESH_RUNNER_SIMULATED_SPEED is how many tokens a second the model reads or produces, over all answers.
"""

from __future__ import annotations

import torch

from services.common.lifecycle.process import run_service
from services.common.settings import load_settings
from services.runner.__main__ import serve
from services.runner.engines.exllamav2 import backend
from services.runner.settings import RunnerSettings
from tests.torch.stand_in.engine import StandIn

if __name__ == "__main__":
    # Two busy cores are slower with more threads.
    torch.set_num_threads(1)
    speed = load_settings(RunnerSettings, "runner").simulated_speed
    backend.load_backend = StandIn(tokens_per_second=speed).load
    run_service(serve)
