"""Failpoints: nothing unless armed, armed by one variable, refused in production, and every one of them passed."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bode import failpoints
from bode.failpoints import Act, Armed, FailpointError, FailpointsRefusedError, Point, failpoint

ROOT = Path(failpoints.__file__).parent


@pytest.fixture(autouse=True)
def _disarmed():
    yield
    failpoints.arm(None)


async def test_an_unarmed_failpoint_does_nothing():
    assert failpoints.arm_from_environment({}, production=True) == ()
    for point in Point:
        await failpoint(point)


async def test_an_armed_failpoint_acts_at_its_point_alone():
    failpoints.arm_from_environment({"BODE_FAILPOINTS": "after_claim=exception"}, production=False)
    await failpoint(Point.AFTER_CALL)
    with pytest.raises(FailpointError):
        await failpoint(Point.AFTER_CLAIM)


async def test_a_hang_waits_for_ever():
    failpoints.arm_from_environment({"BODE_FAILPOINTS": "after_claim=hang"}, production=False)
    hanging = asyncio.create_task(failpoint(Point.AFTER_CLAIM))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not hanging.done()
    hanging.cancel()


def test_a_kill_is_a_kill():
    program = (
        "import asyncio, os\nfrom bode import failpoints as f\n"
        "f.arm_from_environment(os.environ, production=False)\n"
        "asyncio.run(f.failpoint(f.Point.AFTER_CLAIM))\nprint('alive')"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program], env={"BODE_FAILPOINTS": "after_claim=kill:1"}, capture_output=True, check=False
    )
    assert (killed.returncode, killed.stdout) == (-9, b"")


async def test_the_same_seed_strikes_at_the_same_passes():
    async def strikes():
        found = []
        env = {"BODE_FAILPOINTS": "after_call=exception:0.5", "BODE_FAILPOINTS_SEED": "7"}
        failpoints.arm_from_environment(env, production=False)
        for _ in range(40):
            try:
                await failpoint(Point.AFTER_CALL)
            except FailpointError:
                found.append(True)
            else:
                found.append(False)
        return found

    first = await strikes()
    assert first == await strikes()
    assert 5 < sum(first) < 35


def test_production_refuses_unless_it_is_a_drill():
    wanted = {"BODE_FAILPOINTS": "after_claim=kill"}
    with pytest.raises(FailpointsRefusedError, match="environment is production"):
        failpoints.arm_from_environment(wanted, production=True)
    drill = {**wanted, "BODE_FAILPOINTS_IN_PRODUCTION": "yes"}
    assert failpoints.arm_from_environment(drill, production=True) == (Armed(Point.AFTER_CLAIM, Act.KILL),)


@pytest.mark.parametrize(
    "text", ["after_claim", "after_claim=", "nowhere=kill", "after_claim=run", "after_claim=kill:2"]
)
def test_what_cannot_be_armed_is_named(text):
    with pytest.raises(FailpointsRefusedError, match=re.escape(repr(text))):
        failpoints.parse(text)


def test_every_point_of_the_list_stands_in_the_code_once():
    code = "".join(path.read_text() for path in ROOT.rglob("*.py"))
    assert {point: code.count(f"failpoint(Point.{point.name})") for point in Point} == dict.fromkeys(Point, 1)
