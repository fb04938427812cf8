"""Mutations of bytes and of JSON values. The same random numbers give the same mutants."""

import json
import struct
from collections.abc import Sequence
from copy import deepcopy
from random import Random
from typing import Any

MAX_BYTES = 1 << 18
"""Longer mutants are cut."""

_INTEGERS = (0, 1, 2, 127, 128, 255, 256, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1,
             2**63 - 1, 2**64 - 1)  # fmt: skip

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 1e308, 2**31, 2**53, 2**63, 2**64, 10**30, "", "x", "../x",
    "/etc/passwd", "a/b", "\0", "\ud800", "é", "x" * 300, [], {}, [[]], [None], [1, "x"], {"x": 1},
    {"name": 1}, "NaN", "1e400", float("nan"), float("inf"),
)  # fmt: skip
"""Values that replace or join those of a JSON document."""


def mutate_bytes(random: Random, seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> bytes:
    """Return a seed after some mutations.

    Args:
        random: makes all choices.
        seeds: inputs to start from.
        tokens: words of the format, which are inserted and overwritten.
    """
    data = bytearray(random.choice(seeds))
    for _ in range(1 << random.choice((0, 0, 0, 0, 1, 2, 3))):
        _MUTATIONS[random.randrange(len(_MUTATIONS))](random, data, seeds, tokens)
    return bytes(data[:MAX_BYTES])


def mutate_json(random: Random, seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> bytes:
    """Return a JSON document with other values or keys; some mutants are no JSON.

    Arguments as in `mutate_bytes`; the seeds are documents.
    """
    seed = random.choice(seeds)
    try:
        document = json.loads(seed)
    except (ValueError, RecursionError):
        return mutate_bytes(random, seeds, tokens)
    if not random.randrange(8):
        return mutate_bytes(random, [seed], tokens)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        document = _replace_value(random, document)
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _replace_value(random: Random, value: Any) -> Any:
    """Replace, remove, add or double one value, at a random depth."""
    if isinstance(value, dict | list) and value and random.randrange(6):
        place = random.choice(sorted(value) if isinstance(value, dict) else range(len(value)))
        match random.randrange(8):
            case 0:
                del value[place]
            case 1 if isinstance(value, dict):
                value[random.choice(["x", "../x", "", *value])] = deepcopy(value[place])
            case 1:
                value.append(deepcopy(value[place]))
            case _:
                value[place] = _replace_value(random, value[place])
        return value
    if isinstance(value, int) and not isinstance(value, bool) and random.randrange(2):
        return value + random.choice([-1, 1, 2**31, -(2**31), 2**62])
    if isinstance(value, str) and value and random.randrange(2):
        return random.choice([value[1:], value + value, value.upper(), f"../{value}", f"/{value}"])
    return deepcopy(random.choice(_VALUES))


def _flip_bit(random: Random, data: bytearray, seeds: Any, tokens: Any) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _set_byte(random: Random, data: bytearray, seeds: Any, tokens: Any) -> None:
    if data:
        data[random.randrange(len(data))] = random.randrange(256)


def _set_integer(random: Random, data: bytearray, seeds: Any, tokens: Any) -> None:
    size = random.choice([1, 2, 4, 8])
    if len(data) > size:
        at = random.randrange(len(data) - size)
        packed = struct.pack("<Q", random.choice(_INTEGERS))[:size]
        data[at : at + size] = packed[:: random.choice([1, -1])]


def _set_digits(random: Random, data: bytearray, seeds: Any, tokens: Any) -> None:
    """Overwrite a number that is written in digits."""
    digits = [at for at in range(len(data)) if 48 <= data[at] <= 57]
    if digits:
        at = random.choice(digits)
        data[at : at + 1] = str(random.choice(_INTEGERS)).encode()


def _remove_block(random: Random, data: bytearray, seeds: Any, tokens: Any) -> None:
    start, end = _block(random, data)
    del data[start:end]


def _zero_block(random: Random, data: bytearray, seeds: Any, tokens: Any) -> None:
    start, end = _block(random, data)
    data[start:end] = bytes(end - start)


def _copy_block(random: Random, data: bytearray, seeds: Any, tokens: Any) -> None:
    start, end = _block(random, data)
    at = random.randrange(len(data) + 1)
    if random.randrange(2):
        data[at:at] = data[start:end]
    else:
        data[at : at + end - start] = data[start:end]


def _repeat_block(random: Random, data: bytearray, seeds: Any, tokens: Any) -> None:
    start, end = _block(random, data)
    block = bytes(data[start:end][:64])
    data[start:start] = block * random.choice([2, 10, 100, 1000])


def _cut(random: Random, data: bytearray, seeds: Any, tokens: Any) -> None:
    del data[random.randrange(len(data) + 1) :]


def _splice(random: Random, data: bytearray, seeds: Sequence[bytes], tokens: Any) -> None:
    """Continue with the end of another seed."""
    other = random.choice(seeds)
    del data[random.randrange(len(data) + 1) :]
    data += other[random.randrange(len(other) + 1) :]


def _add_token(random: Random, data: bytearray, seeds: Any, tokens: Sequence[bytes]) -> None:
    if tokens:
        token = random.choice(tokens)
        at = random.randrange(len(data) + 1)
        data[at : at + random.choice([0, len(token)])] = token


def _block(random: Random, data: bytearray) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + (1 << random.randrange(13)))


_MUTATIONS = (
    _flip_bit, _flip_bit, _set_byte, _set_integer, _set_integer, _set_digits, _remove_block,
    _zero_block, _copy_block, _repeat_block, _cut, _splice, _add_token, _add_token,
)  # fmt: skip
