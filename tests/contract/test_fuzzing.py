"""schemathesis reads the contract and tries the running service: nothing fails, nothing answers what is not written."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.contract.conftest import Stocked
from tests.environments import clean_environ, python_of

SCRIPTS = Path(__file__).parent / "scripts"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
NOT_TRIED = ("/api/auth/logout", "/api/auth/login")
"""They would end or fail the fuzzer's own credentials, and are proven by hand (tests/api/test_auth.py)."""


def fuzz(stocked: Stocked, phases: str, examples: int, seed: int, seconds: int = 0) -> str:
    """The fuzzer's report; `seconds` ends it before its time. Raises AssertionError where it found something."""
    url = stocked.service.url
    # A token, for a wrong one is found out at once, where a wrong password costs a tenth of a second of CPU on purpose.
    command = [str(python_of("fuzzer").parent / "st"), "run", f"{url}/api/openapi.json", "--url", url]
    command += ["--header", f"Authorization: Bearer {stocked.token}", "--checks", ",".join(CHECKS), "--phases", phases]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--no-shrink", "--continue-on-failure"]
    # One worker: two describe each other's strategies while modules are still imported, and end in their own errors.
    command += ["--workers", "1", "--warnings", "off", *(["--max-time", str(seconds)] if seconds else [])]
    for path in NOT_TRIED:
        command += ["--exclude-path", path]
    environ = clean_environ(PYTHONPATH=str(SCRIPTS), SCHEMATHESIS_HOOKS="fuzz_hooks", FUZZ_IDS=json.dumps(stocked.ids))
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=seconds + 300, cwd=stocked.service.data_dir
    )
    assert done.returncode == 0, f"{done.stdout[-12000:]}\n{done.stderr[-3000:]}\n{stocked.service.tail()}"
    assert '"code": "defect"' not in stocked.service.log.read_text(errors="replace")
    return done.stdout


def test_a_short_round_finds_nothing(stocked: Stocked) -> None:
    said = fuzz(stocked, "fuzzing", 1, seed=1)
    counted = re.search(r"Selected: (\d+)/\d+\s+Tested: (\d+)", said)
    assert counted, said
    # One case each: those of a few operations may have been set aside, for no call fits, or none was found in time.
    assert int(counted[1]) - int(counted[2]) <= 3, said


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_long_round_finds_nothing(stocked: Stocked) -> None:
    seconds, seed = int(os.environ.get("FUZZ_SECONDS", "600")), int(os.environ.get("FUZZ_SEED", "1"))
    print(fuzz(stocked, "examples,coverage,fuzzing,stateful", 40, seed, seconds))
