"""python-libjuju 3.6.1.3 as a user, as the agents of two units and as the machine of a controller.
"""

import asyncio
import logging
import os
import signal
import sys
import time

import common

from juju.client import client
from juju.client.connection import Connection
from juju.controller import Controller
from juju.errors import JujuAPIError, JujuError, JujuRedirectException
from juju.model import Model

# Whatever takes longer than this will not come any more.
PATIENCE = 60


class Agent(Connection):
    """libjuju knows users only: this is one that logs in by the tag of an agent."""

    @property
    def usertag(self):
        return self._tag

    @usertag.setter
    def usertag(self, tag):
        self._tag = tag and tag.removeprefix("user-")


def as_user(cluster, at=0):
    return {
        "endpoint": cluster.addresses[at],
        "username": "admin",
        "password": cluster.passwords["admin"],
        "cacert": cluster.authority.read_text(),
    }


async def agent(cluster, name, at=0):
    tag = f"unit-{name.replace('/', '-')}" if "/" in name else name
    return await Agent.connect(
        endpoint=cluster.addresses[at],
        uuid=cluster.model,
        username=tag,
        password=cluster.passwords[name],
        cacert=cluster.authority.read_text(),
        retries=0,
    )


async def call(connection, facade, version, request, params, **more):
    message = {"type": facade, "version": version, "request": request, "params": params}
    return (await connection.rpc({**message, **more}))["response"]


async def a_controller_is_connected_to(cluster):
    controller = Controller()
    await controller.connect(**as_user(cluster))
    try:
        connection = controller.connection()
        listed = [endpoint for endpoint, _ in connection.endpoints]
        assert listed == cluster.addresses, listed
        assert await controller.list_models() == ["controller"]
    finally:
        await controller.disconnect()


async def a_model_is_connected_to(cluster):
    connection = await Connection.connect(uuid=cluster.model, **as_user(cluster, 1))
    try:
        assert connection.info["model-tag"] == f"model-{cluster.model}"
        assert await call(connection, "Pinger", 1, "Ping", {}) == {}
    finally:
        await connection.close()


async def a_model_is_watched(cluster):
    model = Model()
    await model.connect(uuid=cluster.model, **as_user(cluster, 2))
    try:
        assert (model.info.name, model.uuid) == ("controller", cluster.model)
    finally:
        await model.disconnect()


async def a_wrong_password_is_refused(cluster):
    try:
        await Connection.connect(**{**as_user(cluster), "password": "nope", "retries": 0})
    except JujuAPIError as error:
        assert error.message == "invalid entity name or password", error
        assert error.error_code == "unauthorized access", error
    else:
        raise AssertionError("let in")


async def leadership_is_claimed_denied_and_waited_for(cluster):
    first, second = await agent(cluster, "mysql/0", 0), await agent(cluster, "mysql/1", 1)
    try:
        def claim(number, duration):
            tags = {"application-tag": "application-mysql", "unit-tag": f"unit-mysql-{number}"}
            return {"params": [{**tags, "duration": duration}]}

        facade = "LeadershipService"
        claimed = await call(first, facade, 2, "ClaimLeadership", claim(0, 5.0))
        assert claimed == {"results": [{}]}, claimed
        try:
            await call(second, facade, 2, "ClaimLeadership", claim(1, 5.0))
        except JujuError as error:
            assert error.errors == ["leadership claim denied"], error
        else:
            raise AssertionError("two lead")
        block = {"Name": "mysql"}
        blocked = asyncio.create_task(
            call(second, facade, 2, "BlockUntilLeadershipReleased", block)
        )
        # Nothing is behind the one that blocks.
        assert await call(second, "Pinger", 1, "Ping", {}) == {}
        assert not blocked.done()
        started = time.monotonic()
        assert await blocked == {}
        assert time.monotonic() - started < 30
        taken = await call(second, facade, 2, "ClaimLeadership", claim(1, 5.0))
        assert taken == {"results": [{}]}, taken
    finally:
        await first.close()
        await second.close()


async def a_controller_machine_claims_and_hands_on(cluster):
    machine = await agent(cluster, "machine-1")
    other = await agent(cluster, "machine-2", 1)
    try:
        def claim(name):
            tags = {"entity-tag": f"model-{cluster.model}", "claimant-tag": name}
            return {"claims": [{**tags, "duration": 60_000_000_000}]}

        claimed = await call(machine, "Singular", 2, "Claim", claim("machine-1"))
        assert claimed == {"results": [{}]}, claimed
        try:
            await call(other, "Singular", 2, "Claim", claim("machine-2"))
        except JujuError as error:
            assert error.errors == ["lease claim denied"], error
        else:
            raise AssertionError("two are responsible")
        command = {
            "version": 1,
            "operation": "claim",
            "namespace": "application-leadership",
            "model-uuid": cluster.model,
            "lease": "wordpress",
            "holder": "wordpress/0",
            "duration": 60_000_000_000,
            "old-time": "0001-01-01T00:00:00Z",
        }
        yaml = "version: 1\noperation: extend\nnamespace: application-leadership\n" + (
            f"model-uuid: {cluster.model}\nlease: wordpress\nholder: wordpress/0\nduration: 1m0s\n"
        )
        applied = await call(other, "RaftLease", 2, "ApplyLease", {"commands": [command]})
        assert applied == {"results": [{}]}, applied
        commands = {"commands": [{"command": yaml}]}
        extended = await call(machine, "RaftLease", 1, "ApplyLease", commands)
        assert extended == {"results": [{}]}, extended
    finally:
        await machine.close()
        await other.close()


async def the_addresses_of_controllers_are_watched(cluster):
    machine = await agent(cluster, "machine-3", 2)
    try:
        watcher = (await call(machine, "Machiner", 5, "WatchAPIHostPorts", {}))["watcher-id"]
        assert await call(machine, "NotifyWatcher", 1, "Next", {}, id=watcher) == {}
        servers = (await call(machine, "Machiner", 5, "APIHostPorts", {}))["servers"]
        known = [f"{one['value']}:{one['port']}" for server in servers for one in server]
        assert known == cluster.addresses, known
        addresses = await call(machine, "Machiner", 5, "APIAddresses", {})
        assert addresses == {"result": cluster.addresses}, addresses
        pending = asyncio.create_task(call(machine, "NotifyWatcher", 1, "Next", {}, id=watcher))
        assert await call(machine, "Pinger", 1, "Ping", {}) == {}
        assert not pending.done()
        await call(machine, "NotifyWatcher", 1, "Stop", {}, id=watcher)
        try:
            await pending
        except JujuAPIError as error:
            assert error.error_code == "stopped", error
        else:
            raise AssertionError("a stopped watcher saw something")
    finally:
        await machine.close()


async def leases_are_watched_on_another_controller(cluster):
    first = await Connection.connect(uuid=cluster.model, **as_user(cluster))
    second = await Connection.connect(uuid=cluster.model, **as_user(cluster, 1))
    try:
        begun = await call(first, "Portcullis", 1, "Watch", {})
        asks = [{"lease": lease, "holder": "x/0", "duration": 60} for lease in ("one", "two")]
        claimed = await call(first, "Portcullis", 1, "ClaimMany", {"asks": asks})
        outcomes = [one["outcome"] for one in claimed["results"]]
        assert outcomes == ["granted", "granted"], claimed
        seen, mark = set(), begun["next"]
        while seen < {"one", "two"}:
            news = await call(second, "Portcullis", 1, "Watch", {"from": mark})
            assert not news["forgotten"], news
            seen |= {lease["lease"] for lease in news["leases"]}
            mark = news["next"]
    finally:
        await first.close()
        await second.close()


async def high_availability_is_there(cluster):
    connection = await Connection.connect(**as_user(cluster))
    try:
        facade = client.HighAvailabilityFacade.from_connection(connection)
        specs = [client.ControllersSpec(num_controllers=3)]
        changed = (await facade.EnableHA(specs=specs)).results[0].result
        assert changed.maintained == ["machine-1", "machine-2", "machine-3"], changed
        specs = [client.ControllersSpec(num_controllers=5)]
        try:
            await facade.EnableHA(specs=specs)
        except JujuError as error:
            assert "there are 3 controllers" in str(error), error
        else:
            raise AssertionError("two controllers out of nothing")
    finally:
        await connection.close()


async def reconfigure(cluster, number, more):
    """Adds to the file of a running controller, which is told to read it again."""
    home = cluster.folder / f"controller-{number}"
    reloaded = lambda: (home / "log").read_text().count("configuration reloaded")
    before = reloaded()
    with (home / "controller.toml").open("a") as file:
        file.write(more)
    os.kill(cluster.process(cluster.addresses[number - 1]), signal.SIGHUP)
    while reloaded() == before:
        await asyncio.sleep(0.05)


async def a_model_that_lives_elsewhere_is_followed(cluster):
    model, asked = "deadbeef-0bad-400d-8000-00000000beef", "deadbeef-0bad-400d-8000-00000000cafe"
    there = f'api-addresses = ["{cluster.addresses[1]}"]'
    await reconfigure(cluster, 2, f'\n[[model]]\nuuid = "{model}"\nname = "moved"\n')
    await reconfigure(
        cluster,
        1,
        f'\n[[moved-model]]\nuuid = "{model}"\n{there}\n'
        f'\n[[moved-model]]\nuuid = "{asked}"\n{there}\nconsent = true\n',
    )
    connection = await Connection.connect(uuid=model, **as_user(cluster))
    try:
        assert connection.info["model-tag"] == f"model-{model}"
        assert cluster.addresses[1] in connection.addr, connection.addr
        assert await call(connection, "Pinger", 1, "Ping", {}) == {}
    finally:
        await connection.close()
    try:
        await Connection.connect(uuid=asked, **as_user(cluster))
    except JujuRedirectException as redirect:
        assert not redirect.follow_redirect
        assert [endpoint for endpoint, _ in redirect.endpoints] == [cluster.addresses[1]]
    else:
        raise AssertionError("went there unasked")


async def a_machine_pins_what_runs_on_it(cluster):
    machine = await agent(cluster, "machine-1")
    try:
        facade, results = "UpgradeSeries", {"results": [{"application-name": "mysql"}]}
        assert await call(machine, facade, 3, "PinMachineApplications", {}) == results
        pinned = await call(machine, facade, 3, "PinnedLeadership", {})
        assert pinned == {"result": {"mysql": ["machine-1"]}}, pinned
        assert await call(machine, facade, 3, "UnpinMachineApplications", {}) == results
        assert await call(machine, facade, 3, "PinnedLeadership", {}) == {}
    finally:
        await machine.close()


async def another_controller_takes_over_from_one_that_was_killed(cluster):
    controller = Controller()
    await controller.connect(**as_user(cluster))
    try:
        connection = controller.connection()
        before = connection.addr
        os.kill(cluster.process(connection.endpoint), signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while connection.addr == before or not controller.is_connected():
            assert time.monotonic() < deadline, "not reconnected"
            await asyncio.sleep(0.05)
        assert connection.endpoint != cluster.addresses[0], connection.endpoint
        assert await call(connection, "Pinger", 1, "Ping", {}) == {}
    finally:
        await controller.disconnect()


TESTS = [
    a_controller_is_connected_to,
    a_model_is_connected_to,
    a_model_is_watched,
    a_wrong_password_is_refused,
    leadership_is_claimed_denied_and_waited_for,
    a_controller_machine_claims_and_hands_on,
    the_addresses_of_controllers_are_watched,
    leases_are_watched_on_another_controller,
    high_availability_is_there,
    a_machine_pins_what_runs_on_it,
    a_model_that_lives_elsewhere_is_followed,
    another_controller_takes_over_from_one_that_was_killed,
]


async def main():
    # It warns of every facade that it does not know, and of its own tasks when it closes.
    logging.disable(logging.CRITICAL)
    cluster, failures = common.cluster(), common.Failures("libjuju")
    for test in TESTS:
        try:
            await asyncio.wait_for(test(cluster), PATIENCE)
        except Exception:
            failures.failed(test.__name__)
        else:
            failures.passed(test.__name__)
    return failures.any


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
