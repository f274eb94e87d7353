"""The reference's side: CollabLLM 0.0.8 as published, in an environment of its own.

.venv-parity/bin/python -m bench.parity.reference_side CASES API_BASE OUTCOMES
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from bench.parity.code_check import code_checkers


def main(cases: str, api_base: str, outcomes: str) -> None:
    """Score every candidate of every case."""
    prepare_environment()
    with code_checkers() as checkers:
        # Heavy, and begins threads, so not before the checkers run.
        from bench.parity.reference_rewards import score_all

        score_all(Path(cases), api_base, Path(outcomes), checkers)


def prepare_environment() -> None:
    """Set what the packages read when they are imported: nothing is fetched."""
    litellm = importlib.util.find_spec("litellm")
    assert litellm is not None and litellm.origin is not None
    tokenizers = Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tokenizers)
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["ENABLE_COLLABLLM_LOGGING"] = "0"
    os.environ["OMP_NUM_THREADS"] = "1"


if __name__ == "__main__":
    main(*sys.argv[1:])
