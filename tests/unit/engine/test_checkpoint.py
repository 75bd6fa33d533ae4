"""Checkpoints: what was saved comes back as it was then, and what is not ours, or not whole, does not."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as to_bytes

import lesion
from lesion.engine.checkpoint import Checkpoints, State, code_digest
from lesion.errors import PlatformError, UserError
from lesion.stop import Stop

NEVER_S = 1e9


def checkpoints(folder: Path, *, stop: Stop | None = None, interval_s: float = NEVER_S, **settings: object):
    """Those of a job with `settings`."""
    aside = settings.pop("on_foreign", "error")
    return Checkpoints(folder, settings, stop or Stop(), interval_s=interval_s, on_foreign=aside)


def state(number: int, num_values: int = 3) -> State:
    return State({"weight": torch.full((num_values,), float(number))}, {"history": [number]})


def number_of(found: State | None) -> int | None:
    return None if found is None else found.values["history"][0]


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may become larger than 4 KiB: the system refuses to write, as when the disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def large() -> State:
    return state(9, num_values=10_000)


# Saving


def test_a_state_is_kept_as_it_was_when_it_was_saved(tmp_path):
    """Of a size and order in memory that make writing slower than the next steps."""
    weight, history = torch.zeros(3000, 2000).T, [{"loss": 1.0}]
    kept = checkpoints(tmp_path)
    kept.save("fold_0", State({"weight": weight}, {"history": history}))
    history[0]["loss"] = 2.0
    history.append({"loss": 3.0})
    for step in range(20):
        weight += step + 1
    found = kept.load("fold_0")
    assert found.tensors["weight"].count_nonzero() == 0
    assert found.values["history"] == [{"loss": 1.0}]


def test_a_tensor_comes_back_in_value_and_type_however_it_lies_in_memory(tmp_path):
    tensors = {
        "turned": torch.arange(6).reshape(2, 3).T,
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "half": torch.randn(4).bfloat16(),
        "needs_grad": torch.randn(3, requires_grad=True),
        "nothing": torch.zeros(0),
    }
    kept = checkpoints(tmp_path)
    kept.save("fold_0", State(tensors, {}))
    found = kept.load("fold_0")
    for name, tensor in tensors.items():
        torch.testing.assert_close(found.tensors[name], tensor.detach(), rtol=0, atol=0)


def test_the_newest_state_of_a_name_is_the_one_that_comes_back(tmp_path):
    kept = checkpoints(tmp_path)
    for number in range(3):
        kept.save("fold_1", state(number))
        kept.save("fold_1.step", state(10 + number))
    assert number_of(kept.load("fold_1")) == 2 and number_of(kept.load("fold_1.step")) == 12
    assert kept.load("fold_0") is None and kept.load("fold") is None
    kept.remove("fold_1")
    assert kept.load("fold_1") is None and number_of(kept.load("fold_1.step")) == 12


def test_many_states_need_the_room_of_two(tmp_path):
    with checkpoints(tmp_path, interval_s=0) as kept:
        for number in range(100):
            kept.after_step("fold_0.step", lambda number=number: state(number))
            kept.save("fold_0.step", state(number))
            assert len(list(tmp_path.iterdir())) <= 4  # two, a third before the first goes, and one in the writing
    assert len(list(tmp_path.iterdir())) == 2
    kept.clear()
    assert list(tmp_path.iterdir()) == []


def test_what_was_saved_is_on_disk_when_the_context_is_left(tmp_path):
    with pytest.raises(KeyboardInterrupt), checkpoints(tmp_path) as kept:
        kept.save("fold_0", state(1))
        raise KeyboardInterrupt
    assert number_of(checkpoints(tmp_path).load("fold_0")) == 1


# Saving after a step


def test_a_job_that_is_to_stop_ends_with_its_last_step_on_disk(tmp_path):
    stop = Stop()
    kept = checkpoints(tmp_path, stop=stop)
    kept.after_step("fold_0.step", lambda: state(1))  # nobody asked yet
    with pytest.raises(KeyboardInterrupt), stop.held():
        stop(15, None)
        kept.after_step("fold_0.step", lambda: state(2))
    files = list(tmp_path.iterdir())
    assert [number_of(State.from_bytes(path.read_bytes())) for path in files] == [2]


@pytest.mark.parametrize(("interval_s", "expected"), [(0, 1), (NEVER_S, None)])
def test_a_step_is_kept_when_the_interval_is_over(tmp_path, interval_s, expected):
    kept = checkpoints(tmp_path, interval_s=interval_s)
    kept.after_step("fold_0.step", lambda: state(1))
    assert number_of(kept.load("fold_0.step")) == expected


# A disk that is full


@pytest.mark.parametrize(
    "call",
    [
        lambda kept: kept.wait(),
        lambda kept: kept.save("fold_0", state(1)),
        lambda kept: kept.load("fold_0"),
        lambda kept: kept.remove("fold_0.step"),
        lambda kept: kept.clear(),
    ],
    ids=["wait", "save", "load", "remove", "clear"],
)
def test_a_write_that_failed_is_told_by_the_next_call_and_takes_nothing_away(tmp_path, full_disk, call):
    kept = checkpoints(tmp_path)
    kept.save("fold_0.step", state(1))
    kept.save("fold_0", large())
    with pytest.raises(PlatformError, match="could not be written: File too large"):
        call(kept)
    assert [path.name[:11] for path in tmp_path.iterdir()] == ["fold_0.step"]
    kept.wait()  # told once


@pytest.mark.parametrize("ending", [None, KeyboardInterrupt])
def test_a_write_that_failed_is_told_when_the_job_ends(tmp_path, full_disk, ending):
    with pytest.raises(PlatformError, match="could not be written"), checkpoints(tmp_path) as kept:
        kept.save("fold_0", large())
        if ending:
            raise ending


def test_a_job_that_failed_says_why_and_logs_the_write_that_failed_too(tmp_path, full_disk, caplog):
    with pytest.raises(ValueError, match="first"), checkpoints(tmp_path) as kept:
        kept.save("fold_0", large())
        raise ValueError("first")
    assert "could not be written" in caplog.text


# States that are torn, and files that are none of ours


def test_files_of_others_are_neither_read_nor_taken_away(tmp_path):
    strangers = [
        "fold_0.safetensors",
        "fold_0.7.safetensors",
        "fold_0.000007.safetensors",
        "fold_0.000007.not_a_digest.safetensors",
        "notes.txt",
        "fold_0.000008.0123456789abcdef.safetensors.sagemaker-uploaded",
    ]
    for name in strangers:
        (tmp_path / name).write_bytes(b"\xff" * 99)
    (tmp_path / "fold_0.000009.0123456789abcdef.safetensors").mkdir()
    kept = checkpoints(tmp_path)
    for number in range(4):
        kept.save("fold_0", state(number))
    assert number_of(kept.load("fold_0")) == 3
    kept.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*strangers, "fold_0.000009.0123456789abcdef.safetensors"]
    )


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"no state at all", b"\x02\0\0\0\0\0\0\0{}"])
@pytest.mark.parametrize("fits", [True, False], ids=["digest fits", "digest does not fit"])
def test_a_file_with_a_states_name_and_no_state_in_it_is_passed_over(tmp_path, content, fits, caplog):
    with checkpoints(tmp_path) as kept:
        kept.save("fold_0", state(1))
    digest = sha256(content).hexdigest()[:16] if fits else "0" * 16
    (tmp_path / f"fold_0.000009.{digest}.safetensors").write_bytes(content)
    assert number_of(checkpoints(tmp_path).load("fold_0")) == 1
    assert "is damaged" in caplog.text


def test_tensors_of_others_under_a_states_name_are_passed_over(tmp_path):
    with checkpoints(tmp_path) as kept:
        kept.save("fold_0", state(1))
    content = to_bytes({"weight": torch.ones(3)})
    (tmp_path / f"fold_0.000009.{sha256(content).hexdigest()[:16]}.safetensors").write_bytes(content)
    assert number_of(checkpoints(tmp_path).load("fold_0")) == 1


@pytest.mark.parametrize("place", [-1, 8, 40, 100])
def test_a_changed_bit_is_a_torn_state_wherever_it_is_and_no_other_job(tmp_path, place, caplog):
    with checkpoints(tmp_path, epochs=3) as kept:
        kept.save("fold_0", state(1))
        kept.save("fold_0", state(2))
    newest = max(tmp_path.iterdir())
    content = bytearray(newest.read_bytes())
    content[place] ^= 1
    newest.write_bytes(content)
    assert number_of(checkpoints(tmp_path, epochs=3).load("fold_0")) == 1
    assert "is damaged" in caplog.text


def test_a_fingerprint_with_a_changed_bit_is_torn_and_no_other_job(tmp_path):
    with checkpoints(tmp_path, epochs=3) as kept:
        kept.save("fold_0", state(1))
        kept.save("fold_0", state(2))
    newest = max(tmp_path.iterdir())
    content = newest.read_bytes()
    assert content.count(b'\\"epochs\\": 3') == 1
    newest.write_bytes(content.replace(b'\\"epochs\\": 3', b'\\"epochs\\": 7'))
    assert number_of(checkpoints(tmp_path, epochs=3).load("fold_0")) == 1


# States of another job


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder with three states of a job with three epochs."""
    with checkpoints(tmp_path, epochs=3, split="kfold") as kept:
        kept.save("fold_0", state(1))
        kept.save("fold_1.step", state(2))
        kept.save("fold_1.step", state(3))
    return tmp_path


def test_another_jobs_states_are_refused_with_what_differs(foreign):
    before = sorted(foreign.iterdir())
    with pytest.raises(UserError, match=r"another job: epochs was 3 and is 4 .*set_aside") as refused:
        checkpoints(foreign, epochs=4, split="kfold")
    assert refused.value.kind == "checkpoint"
    assert sorted(foreign.iterdir()) == before


def test_another_jobs_states_are_set_aside_and_those_that_lay_there_go(foreign, caplog):
    aside = foreign / "set_aside"
    (foreign / "notes.txt").write_text("mine")
    names = sorted(path.name for path in foreign.glob("*.safetensors"))
    for epochs, expected in ((4, names), (5, ["fold_0.000000"])):
        with checkpoints(foreign, epochs=epochs, split="kfold", on_foreign="set_aside") as kept:
            assert kept.load("fold_0") is None and kept.load("fold_1.step") is None
            kept.save("fold_0", state(epochs))
            assert number_of(kept.load("fold_0")) == epochs
        found = sorted(path.name for path in aside.glob("*.safetensors"))
        assert [name[: len(start)] for name, start in zip(found, expected, strict=True)] == expected
        (aside / "notes.txt").write_text("mine too")
    assert "epochs was 4 and is 5" in caplog.text
    assert (foreign / "notes.txt").exists() and (aside / "notes.txt").exists()


def test_only_the_other_jobs_states_are_set_aside(foreign):
    """As when the platform brings back what was moved away, beside what came after."""
    with checkpoints(foreign, epochs=4, split="kfold", on_foreign="set_aside") as kept:
        kept.save("fold_1.step", state(9))
    for path in (foreign / "set_aside").iterdir():
        shutil.copy(path, foreign)
    again = checkpoints(foreign, epochs=4, split="kfold", on_foreign="set_aside")
    assert number_of(again.load("fold_1.step")) == 9
    assert len(list(foreign.glob("*.safetensors"))) == 1


def test_other_code_is_another_job(tmp_path):
    package = Path(lesion.__file__).parent
    shutil.copytree(package, tmp_path / "lesion", ignore=shutil.ignore_patterns("__pycache__"))
    assert code_digest(tmp_path / "lesion") == code_digest(package)
    with (tmp_path / "lesion" / "algorithms" / "classify" / "loop.py").open("a") as file:
        file.write("# another line\n")
    assert code_digest(tmp_path / "lesion") != code_digest(package)


def test_a_state_says_which_code_made_it(tmp_path):
    with checkpoints(tmp_path) as kept:
        kept.save("fold_0", state(1))
        found = kept.load("fold_0")
    assert found.values["fingerprint"] == {"code": code_digest(Path(lesion.__file__).parent)}
