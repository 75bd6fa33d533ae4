"""Hostile requests: bytes of every form that is read, broken in every way that a seed leads to."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Callable

import numpy as np

SECRETS = ("Traceback", ".py", "/opt/", "/tmp/", "/work/", "site-packages")  # none of them may stand in an answer
REFUSED = {400, 406, 413, 415}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The bytes cut off, swapped, overwritten, doubled."""
    changed = bytearray(content)
    for _ in range(rng.choice([0, 1, 1, 2, 8, 64])):
        if not changed:
            break
        start = rng.randrange(len(changed)) if rng.random() < 0.5 else rng.randrange(min(len(changed), 64))
        end = min(len(changed), start + rng.choice([1, 2, 4, 100]))
        match rng.randrange(5):
            case 0:
                changed[start:end] = rng.randbytes(end - start)
            case 1:
                del changed[start:end]
            case 2:
                changed[start:start] = changed[start:end] * rng.choice([1, 50])
            case 3:
                del changed[start:]
            case 4:
                changed[start:end] = rng.choice([b"\x00", b"\xff"]) * (end - start)
    return bytes(changed)


def strange(rng: random.Random, depth: int = 0) -> object:
    """A value that JSON can hold, or nearly."""
    leaves = [
        *(
            None,
            True,
            -1,
            0,
            10**400,
            1e308,
            float("nan"),
            float("inf"),
            "",
            "nan",
            "female",
            "\ud800",
            "../../etc/passwd",
        ),
        *("A" * 5000, "1e999", "'; DROP TABLE", "\x00", "٤٥", -0.0, 45, "torso", "<script>"),
    ]
    if depth > 4 or rng.random() < 0.6:
        return rng.choice(leaves)
    if rng.random() < 0.5:
        return [strange(rng, depth + 1) for _ in range(rng.randrange(4))]
    names = ["image", "json_data", "metadata", "instances", "b64", "sex", "age_approx", "age", "anatomy", "\ud800", ""]
    return {rng.choice(names): strange(rng, depth + 1) for _ in range(rng.randrange(4))}


def in_base64(content: bytes, rng: random.Random) -> object:
    text = base64.b64encode(content).decode()
    return rng.choice([text, text, text[:-1], "data:image/png;base64," + text, text + "=", {"b64": text}, [text]])


def as_picture(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    kinds = [
        "image/jpeg",
        "image/png",
        "application/x-image",
        "application/octet-stream",
        "application/dicom",
        "image/x",
    ]
    if rng.random() < 0.1:
        content = bytes(128) + b"DICM" + content
    return content, rng.choice(kinds)


def as_json(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    fields: object = {"image": in_base64(content, rng), "json_data": strange(rng)}
    if rng.random() < 0.5:
        fields = {"instances": [fields, strange(rng), in_base64(content, rng)][: rng.randrange(4)]}
    text = json.dumps(fields if rng.random() < 0.8 else strange(rng)).encode()
    if rng.random() < 0.1:
        text = rng.choice([b"[" * 50_000, b'{"a":' * 50_000, text[:-1], b"\xff" + text, b"", b"1" * 5000])
    return text, "application/json"


def as_lines(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    lines = [as_json(content, rng)[0] for _ in range(rng.randrange(1, 4))]
    return rng.choice([b"\n", b"\r\n", b"\n\n", b" "]).join(lines), "application/jsonlines"


def as_csv(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    cells = [str(in_base64(content, rng)), *(str(strange(rng)) for _ in range(rng.randrange(4)))]
    rows = (
        rng.choice(["", "image,sex,age_approx\n", "image,image\n", '"'])
        + ",".join(cells)
        + rng.choice(["", "\n", '"\n', "\r"])
    )
    return rows.encode("utf-8", "surrogatepass"), "text/csv"


def as_form(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    parts = [
        b'--frontier\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + content + b"\r\n",
        b'--frontier\r\nContent-Disposition: form-data; name="sex"\r\n\r\n' + rng.randbytes(4) + b"\r\n",
        b'--frontier\r\nContent-Disposition: form-data; name="json_data"\r\n\r\n{"age": "x"}\r\n',
    ]
    rng.shuffle(parts)
    body = b"".join(parts[: rng.randrange(1, 4)]) + rng.choice([b"--frontier--\r\n", b"", b"--fron"])
    return mutated(body, rng), rng.choice(
        ["multipart/form-data; boundary=frontier"] * 5 + ["multipart/form-data", "multipart/form-data; boundary="]
    )


def as_array(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    file = io.BytesIO()
    shape = rng.choice([(4, 5, 3), (4, 5), (2, 4, 5, 3), (0, 5, 3), (4, 5, 4), (3,), ()])
    kind = rng.choice([np.uint8, np.uint8, np.float64, np.int16, bool])
    np.save(file, np.zeros(shape, kind))
    body = file.getvalue()
    if rng.random() < 0.3:
        body = body.replace(b"(4, 5, 3)", rng.choice([b"(99999999, 5, 3)", b"(-4, 5, 3)", b"(4, 5, 'a')"]))
    if rng.random() < 0.1:
        np.save(file := io.BytesIO(), np.array([{"a": 1}]), allow_pickle=True)
        body = file.getvalue()
    return mutated(body, rng) if rng.random() < 0.5 else body, "application/x-npy"


def as_nonsense(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    return content, rng.choice(["", "text/plain", "///", "application/json/x", "a" * 3000, "image/", ";", "video/mp4"])


ATTRIBUTES = [
    *("views=2", "views=0", "views=x", "top_k=1, details=true", "top_k=-1", "details=maybe", "=;,", "a" * 1024),
]
FORMS: list[Callable[[bytes, random.Random], tuple[bytes, str]]] = [
    *(as_picture, as_picture, as_json, as_lines, as_csv, as_form, as_array, as_nonsense),
]


def hostile_request(seeds: list[bytes], rng: random.Random) -> tuple[bytes, dict[str, str]]:
    """A body and its headers, from one of these pictures' files."""
    body, content_type = rng.choice(FORMS)(mutated(rng.choice(seeds), rng), rng)
    headers = {"Content-Type": content_type}
    if rng.random() < 0.2:
        headers["Accept"] = rng.choice(["text/csv", "application/jsonlines", "*/*", "text/html", "a;q=x", ",,;", "*"])
    if rng.random() < 0.2:
        headers["X-Amzn-SageMaker-Custom-Attributes"] = rng.choice(ATTRIBUTES)
    return body, headers
