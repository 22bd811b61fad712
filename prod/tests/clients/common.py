"""What the tests of both Python clients share: the cluster of `portcullis dev`, and counting."""

import re
import sys
import tomllib
import traceback
from pathlib import Path


class Cluster:
    """What `portcullis dev` wrote down for its clients."""

    def __init__(self, folder, said):
        self.folder = Path(folder)
        self.said = Path(said)
        client = tomllib.loads((self.folder / "client.toml").read_text())
        self.addresses = client["addresses"]
        self.model = client["model"]
        self.authority = self.folder / client["ca"]
        self.passwords = {one["name"]: one["password"] for one in client["account"]}

    def process(self, address):
        """The process of the controller that is at the address."""
        number = self.addresses.index(address) + 1
        started = re.findall(
            rf"^controller-{number} started as process (\d+)$", self.said.read_text(), re.MULTILINE
        )
        return int(started[-1])


def cluster():
    return Cluster(sys.argv[1], sys.argv[2])


class Failures:
    """Runs tests, says how each went, and remembers whether all went well."""

    def __init__(self, client):
        self.client = client
        self.any = False

    def passed(self, test):
        print(f"ok {self.client} {test}", flush=True)

    def failed(self, test):
        self.any = True
        print(f"failed {self.client} {test}", flush=True)
        traceback.print_exc()
