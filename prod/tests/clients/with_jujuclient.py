"""jujuclient 0.54, which speaks TLS 1.2 and nothing newer."""

import sys

import common

from jujuclient.exc import EnvError
from jujuclient.juju2.environment import Environment
from jujuclient.juju2.connector import Connector


def environment(cluster):
    """As its own connector does: asks whether to go elsewhere before it logs in."""
    endpoint = f"wss://{cluster.addresses[0]}/model/{cluster.model}/api"
    env = Environment(endpoint, name="dev", ca_cert=str(cluster.authority), env_uuid=cluster.model)
    assert env.redirect_info() is None
    return env


def logs_in_and_calls_over_tls_1_2(cluster):
    env = environment(cluster)
    env.conn.connected = True
    assert env.conn.sock.version() == "TLSv1.2", env.conn.sock.version()
    env.login(cluster.passwords["admin"], user="user-admin")
    assert env._info["model-tag"] == f"model-{cluster.model}"
    got = env._rpc({"type": "ModelConfig", "request": "ModelGet", "version": 3, "params": {}})
    assert got["config"]["name"]["value"] == "controller", got
    env.close()


def is_refused_with_a_wrong_password(cluster):
    env = environment(cluster)
    env.conn.connected = True
    try:
        env.login("nope", user="user-admin")
    except EnvError as error:
        assert error.message == "invalid entity name or password", error
    else:
        raise AssertionError("let in")


def is_found_by_its_own_connector(cluster):
    env = Connector().connect_env(
        Environment, cluster.addresses[1], "dev", "admin", cluster.passwords["admin"],
        str(cluster.authority),
    )
    assert {"name": "Pinger", "versions": [1]} in env.get_facades()
    env.close()


def main():
    cluster, failures = common.cluster(), common.Failures("jujuclient")
    for test in [
        logs_in_and_calls_over_tls_1_2,
        is_refused_with_a_wrong_password,
        is_found_by_its_own_connector,
    ]:
        try:
            test(cluster)
        except Exception:
            failures.failed(test.__name__)
        else:
            failures.passed(test.__name__)
    return failures.any


if __name__ == "__main__":
    sys.exit(main())
