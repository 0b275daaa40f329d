"""The metrics of a node: those of its shards and its supervisor in one text, each series saying whose it is.

Pure text work on the Prometheus exposition format (version 0.0.4). Each source must name a family once, as
the client library does.
"""

from collections.abc import Mapping


def merged(expositions: Mapping[str, bytes]) -> bytes:
    """Join the expositions of several processes; the keys become the label `shard` of every series."""
    families: dict[str, list[str]] = {}
    descriptions: dict[str, list[str]] = {}
    for shard, exposition in expositions.items():
        family, is_new = "", False
        for line in exposition.decode().splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                is_new = family not in families
                families.setdefault(family, [])
            if line.startswith("#"):
                if is_new:
                    descriptions.setdefault(family, []).append(line)
            elif line:
                families.setdefault(family, []).append(_labelled(line, shard))
    lines = [line for family, samples in families.items() for line in (*descriptions.get(family, ()), *samples)]
    return "".join(f"{line}\n" for line in lines).encode()


def value_of(exposition: bytes, name: str) -> float:
    """The sum of a metric's series in one exposition; 0 when there is none."""
    lines = exposition.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def _labelled(sample: str, shard: str) -> str:
    brace, space = sample.find("{"), sample.find(" ")
    if 0 <= brace < space:
        return f'{sample[:brace]}{{shard="{shard}",{sample[brace + 1 :]}'
    return f'{sample[:space]}{{shard="{shard}"}}{sample[space:]}'
