"""`curator submit`: run a command on a Ray cluster from elsewhere, through Ray's job server."""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from curator.errors import CuratorError, InputError
from curator.io import printable, public_text

__all__ = ["submit"]

# The exit code of a job that was stopped or left running.
INTERRUPTED = 130
# A lost connection is tried again so often, after so many seconds.
RECONNECT_SECONDS = 1.0
RECONNECT_TIMES = 60
# A head that has just started has no agent for jobs yet; it gets this many seconds.
AGENT_SECONDS = 60.0
TOKEN_ADVICE = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token to the cluster's token (on the cluster: "
    "ray get-auth-token)"
)


def submit(
    address: str | None,
    command: Sequence[str],
    *,
    working_dir: str | None,
    environment: Mapping[str, str],
    reserved: Mapping[str, Any],
    wait: bool,
    say: Callable[[str], None],
    show: Callable[[str], None],
    ask_to_stop: Callable[[], bool],
) -> int:
    """Submit `curator COMMAND` and follow it to its end.

    Args:
        address: the address of the cluster's dashboard; None for the one in Ray's own environment variables.
        command: the words after `curator`.
        working_dir: a folder that is sent along and in which the command runs; None for none.
        environment: variables of the job. Whoever sees Ray's dashboard sees them, which is said.
        reserved: what the command itself reserves: arguments of Ray's `submit_job`, `entrypoint_...`.
        wait: whether to follow the job to its end; if not, return as soon as it is accepted.
        say: prints a line for people.
        show: prints a piece of the job's output unchanged.
        ask_to_stop: is called at Ctrl-C and says whether to stop the job or to leave it running.

    Returns:
        the exit code of the job; 130 if it was stopped or left running, 1 if it ended without an exit code.

    Raises:
        InputError: the cluster cannot be reached or does not know the token.
    """
    client = _client(address)
    entrypoint = shlex.join(["python", "-m", "curator_pipelines", *command])
    runtime_env: dict[str, Any] = {"working_dir": working_dir} if working_dir else {}
    if environment:
        runtime_env["env_vars"] = dict(environment)
        say(
            f"{', '.join(environment)}: whoever sees Ray's dashboard sees the value too; for secrets give the "
            "cluster's machines a role, or mount them there"
        )
    job = _submit_job(client, entrypoint=entrypoint, runtime_env=runtime_env or None, **reserved)
    where = address or client.get_address()
    say(f"job {job} is on {where}")
    if not wait:
        say(f"follow it: ray job logs --follow --address {where} {job}; stop it: ray job stop --address {where} {job}")
        return 0
    try:
        return _follow(client, job, show)
    except KeyboardInterrupt:
        if not ask_to_stop():
            say(f"job {job} goes on; follow it: ray job logs --follow --address {where} {job}")
            return INTERRUPTED
        client.stop_job(job)
        say(f"job {job} is told to stop; running the same command again resumes")
        _follow(client, job, show)
        return INTERRUPTED


def _client(address: str | None) -> Any:
    try:
        from ray.job_submission import JobSubmissionClient
    except ModuleNotFoundError as error:
        raise InputError("ray is not installed", advice="pip install 'ray[default]'") from error
    # They report every closed connection.
    for name in ("ray", "ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return JobSubmissionClient(address)
    except Exception as error:
        text = _one_line(error)
        if any(word in str(error).lower() for word in ("401", "403", "token", "unauth", "forbidden")):
            raise InputError(
                f"the cluster does not accept the token ({text})", field="address", value=address, advice=TOKEN_ADVICE
            ) from error
        raise InputError(
            f"there is no job server ({text})",
            field="address",
            value=address,
            advice="give the address of the dashboard, such as http://HEAD:8265",
        ) from error


def _submit_job(client: Any, **arguments: Any) -> str:
    deadline = time.monotonic() + AGENT_SECONDS
    while True:
        try:
            return str(client.submit_job(**arguments))
        except (RuntimeError, ValueError, OSError) as error:
            problem = error
            # A head that has just started. The server itself waits in each attempt.
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                break
        time.sleep(RECONNECT_SECONDS)
    raise InputError(f"{client.get_address()} refused the job: {_one_line(problem)}") from problem


def _follow(client: Any, job: str, show: Callable[[str], None]) -> int:
    """Print the job's output until it ends, across lost connections, and return its exit code."""
    shown = 0
    failures = 0
    while True:
        try:
            shown = asyncio.run(_print_logs(client, job, shown, show))
            status = client.get_job_status(job)
            failures = 0
        except (RuntimeError, OSError) as error:
            failures += 1
            if failures == RECONNECT_TIMES:
                raise CuratorError(f"lost the connection to the job server of job {job}: {_one_line(error)}") from error
            time.sleep(RECONNECT_SECONDS)
            continue
        if status.is_terminal():
            return _exit_code(client, job, str(status.value))
        time.sleep(RECONNECT_SECONDS)


async def _print_logs(client: Any, job: str, skip: int, show: Callable[[str], None]) -> int:
    """Print the job's output after the first `skip` characters, and return the number of characters so far."""
    seen = 0
    async for piece in client.tail_job_logs(job):
        if seen + len(piece) > skip:
            show(piece[max(0, skip - seen) :])
        seen += len(piece)
    return max(seen, skip)


def _exit_code(client: Any, job: str, status: str) -> int:
    info = client.get_job_info(job)
    if status == "SUCCEEDED":
        return 0
    if status == "STOPPED":
        return INTERRUPTED
    if info.driver_exit_code is None or not 0 < info.driver_exit_code < 256:
        text = f"curator: job {job} ended without an exit code: {info.message}"
        print(printable(public_text(text)), file=sys.stderr)
        return 1
    return int(info.driver_exit_code)


def _one_line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
