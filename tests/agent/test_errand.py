"""Does a child process of the agent end with it, and does one that is asked by hand go on?"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import psutil

from balise_agent.contract import OK
from balise_agent.net import child
from tests.waiting import until

SLEEPS = "import time; from balise_agent.net import errand; errand.asked(); print('{}', flush=True); time.sleep(600)"
TELLS = "from balise_agent.contract import OK; from balise_agent.net import errand; errand.answer(OK, errand.asked())"
AGENT = f"""
import asyncio, sys
from balise_agent.net import child
asyncio.run(child.run({{}}, 600, [sys.executable, "-c", {SLEEPS!r}]))
"""


def test_a_child_ends_with_an_agent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", AGENT]) as agent:
        until(lambda: psutil.Process(agent.pid).children())
        (asked,) = psutil.Process(agent.pid).children()
        agent.send_signal(signal.SIGKILL)
    asked.wait(60)


def test_a_child_whose_agent_was_gone_before_it_was_asked_ends() -> None:
    gone = json.dumps({"parent": os.getpid() + 1}) + "\n"
    done = subprocess.run([sys.executable, "-c", SLEEPS], input=gone, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGTERM


def test_a_child_is_asked_and_answers_without_hearing_who_its_agent_is() -> None:
    assert asyncio.run(child.run({"a": 1}, 60, [sys.executable, "-c", TELLS])) == (OK, {"a": 1})


def test_a_child_that_is_asked_by_hand_has_nobody_to_end_with() -> None:
    done = subprocess.run([sys.executable, "-c", TELLS], input='{"a": 1}\n', text=True, capture_output=True, check=True)
    assert json.loads(done.stdout) == {"kind": "ok", "reason": None, "fields": {"a": 1}}
