"""SageMaker: a job is read from folders and three files of JSON, each of which may be absent; no variable is needed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lesion.environment import usable_cores
from lesion.errors import PlatformError, UserError
from lesion.sagemaker import (
    clear_failure,
    has_failure,
    processes_setting,
    read_job,
    read_server_settings,
    training_environment,
    write_failure,
)
from lesion.serve.limits import Limits


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """As on the service, which sets no SM_* variable: nothing here may lean on any."""
    for name in list(os.environ):
        monkeypatch.delenv(name)


@pytest.fixture
def root(tmp_path) -> Path:
    """A tree in which only input/data/training exists, as under plain docker."""
    add_channel(tmp_path, "training")
    return tmp_path


def add_channel(root: Path, name: str, *files: str) -> None:
    folder = root / "input" / "data" / name
    folder.mkdir(parents=True)
    for file in files or ("train.csv",):
        (folder / file).write_text("image_name\n")


def configure(root: Path, name: str, content: object) -> Path:
    path = root / "input" / "config" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def refused(root: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        read_job(root)
    return caught.value


def test_a_job_without_any_json_lists_its_channels(root):
    add_channel(root, "validation")
    (root / "input" / "data" / "notes.txt").write_text("not a channel")
    job = read_job(root)
    assert job.channels == {name: root / "input" / "data" / name for name in ("training", "validation")}
    assert job.hyperparameters == {} and job.num_cores >= 1


def test_result_folders_are_made(root):
    job = read_job(root)
    assert job.model_dir == root / "model" and job.model_dir.is_dir()
    assert job.output_dir == root / "output" / "data" and job.output_dir.is_dir()


def test_an_empty_root_is_a_job_without_channels(tmp_path):
    """What is missing is said by the algorithm, which knows what it needs."""
    assert read_job(tmp_path).channels == {}


def test_hyperparameters_are_handed_on_as_they_stand(root):
    configure(root, "hyperparameters", {"epochs": "3", "model": '"resnet18"', "_tuning_objective_metric": "x"})
    assert read_job(root).hyperparameters == {
        "epochs": "3",
        "model": '"resnet18"',
        "_tuning_objective_metric": "x",
    }


@pytest.mark.parametrize("name", ["training", "train"])
@pytest.mark.parametrize(
    "settings",
    [
        {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"},
        {"TrainingInputMode": "FastFile"},
        {"TrainingInputMode": "File", "ContentType": "application/x-image", "Lately": None},
        {},
        None,
    ],
)
def test_declared_channels_are_those_of_the_job(tmp_path, name, settings):
    add_channel(tmp_path, name)
    add_channel(tmp_path, "leftover")
    configure(tmp_path, "inputdataconfig", {name: settings})
    assert read_job(tmp_path).channels == {name: tmp_path / "input" / "data" / name}


def test_a_declared_channel_that_is_absent_is_refused_with_those_present(root):
    configure(root, "inputdataconfig", {"training": {}, "validation": {}})
    add_channel(root, "test")
    error = refused(root)
    assert error.kind == "channel" and "channel 'validation' is missing" in str(error)
    assert "folders present: test, training" in str(error)


def test_a_channel_that_is_empty_is_refused(root):
    (root / "input" / "data" / "validation").mkdir()
    error = refused(root)
    assert error.kind == "channel" and "channel 'validation' is empty" in str(error)


@pytest.mark.parametrize("name", ["pretrained", "test", "a"])
def test_a_missing_training_channel_is_said_before_an_empty_other_one(tmp_path, name):
    (tmp_path / "input" / "data" / name).mkdir(parents=True)
    missing, empty = refused(tmp_path).each
    where = f"({tmp_path / 'input/data'}; channels present: {name})"
    assert f"channel 'training' is missing {where}" in str(missing)
    assert f"channel '{name}' is empty" in str(empty)


@pytest.mark.parametrize("training", ["training", "train", "Training"])
def test_empty_channels_are_said_together_the_training_channel_first(tmp_path, training):
    for name in ("test", training, "pretrained"):
        (tmp_path / "input" / "data" / name).mkdir(parents=True)
    assert [error.what for error in refused(tmp_path).each] == [
        f"channel '{training}' is empty",
        *sorted(["channel 'pretrained' is empty", "channel 'test' is empty"]),
    ]


def test_pipe_mode_is_refused_by_name_without_opening_the_pipe(root):
    os.mkfifo(root / "input" / "data" / "training_0")
    configure(root, "inputdataconfig", {"training": {"TrainingInputMode": "Pipe"}})
    error = refused(root)
    assert "channel 'training' is in Pipe mode" in str(error) and "FastFile" in str(error)


@pytest.mark.parametrize(("current", "rank"), [("algo-1", 0), ("algo-10", 1), ("algo-2", 2)])
def test_several_hosts_are_ranked_in_the_order_of_their_names(root, current, rank):
    configure(root, "resourceconfig", {"current_host": current, "hosts": ["algo-2", "algo-10", "algo-1"]})
    job = read_job(root)
    assert (job.hosts, job.rank) == (["algo-1", "algo-10", "algo-2"], rank)


TWO_HOSTS = {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]}


@pytest.mark.parametrize(
    ("changes", "channels", "message"),
    [
        ({"current_host": "algo-3"}, {}, "current_host 'algo-3' is not among the hosts algo-1, algo-2"),
        ({"hosts": "algo-1"}, {}, "a list of names is expected"),
        ({"instance_groups": [{}, {}]}, {}, "2 instance groups were given"),
        ({}, {"training": {"S3DistributionType": "ShardedByS3Key"}}, "channel 'training' is ShardedByS3Key"),
    ],
)
def test_hosts_that_cannot_train_together_are_refused(root, changes, channels, message):
    configure(root, "resourceconfig", {**TWO_HOSTS, **changes})
    configure(root, "inputdataconfig", channels)
    assert message in str(refused(root))


def test_parts_of_the_data_are_all_of_it_on_one_host(root):
    configure(root, "inputdataconfig", {"training": {"S3DistributionType": "ShardedByS3Key"}})
    assert read_job(root).rank == 0


def test_checkpoints_lie_under_the_root_unless_the_platform_says_otherwise(root, tmp_path):
    assert read_job(root).checkpoint_dir == root / "checkpoints"
    configure(root, "checkpointconfig", {"LocalPath": str(tmp_path / "elsewhere")})
    assert read_job(root).checkpoint_dir == tmp_path / "elsewhere"


def test_decoded_pictures_lie_on_the_warm_pools_disk_if_there_is_one_and_are_made_by_nobody_yet(root):
    assert read_job(root).cache_dir == root / "cache" and not (root / "cache").exists()
    (root / "sagemaker" / "warmpoolcache").mkdir(parents=True)
    assert read_job(root).cache_dir == root / "sagemaker" / "warmpoolcache"


def test_what_tensorboard_reads_lies_where_the_platform_looks(root, tmp_path):
    assert read_job(root).tensorboard_dir == root / "output" / "tensorboard"
    configure(root, "tensorboardoutputconfig", {"S3OutputPath": "s3://b/p", "LocalPath": str(tmp_path / "elsewhere")})
    assert read_job(root).tensorboard_dir == tmp_path / "elsewhere"


@pytest.mark.parametrize("path", [None, ""])
def test_a_file_that_names_no_folder_of_checkpoints_leaves_the_usual_one(root, path):
    configure(root, "checkpointconfig", {"LocalPath": path})
    assert read_job(root).checkpoint_dir == root / "checkpoints"


def test_a_folder_of_checkpoints_that_is_no_path_is_refused(root):
    file = configure(root, "checkpointconfig", {"LocalPath": 3})
    assert str(refused(root)) == f"LocalPath is 3, but a path is expected ({file}). Correct it there."


@pytest.mark.parametrize("content", ["null", "{", "{}", '{"LocalPath": null}', '{"LocalPath": 3}'])
def test_a_word_about_tensorboard_that_says_nothing_ends_no_job(root, content):
    configure(root, "tensorboardoutputconfig", content)
    assert read_job(root).tensorboard_dir == root / "output" / "tensorboard"


def test_peers_are_reached_by_the_interface_that_the_platform_names_if_it_is_there(root):
    configure(root, "resourceconfig", {"network_interface_name": "lo"})
    assert training_environment(root)["GLOO_SOCKET_IFNAME"] == training_environment(root)["NCCL_SOCKET_IFNAME"] == "lo"
    configure(root, "resourceconfig", {"network_interface_name": "ethwe"})
    assert "GLOO_SOCKET_IFNAME" not in training_environment(root)


def test_processes_of_one_host_meet_on_the_loopback_interface(root):
    assert training_environment(root, processes=2)["GLOO_SOCKET_IFNAME"] == "lo"
    configure(root, "resourceconfig", TWO_HOSTS)
    assert "GLOO_SOCKET_IFNAME" not in training_environment(root, processes=2)


@pytest.mark.parametrize(
    ("values", "number"),
    [
        ({}, 2),
        ({"processes": "auto"}, 2),
        ({"processes": '"auto"', "device": "cpu"}, None),
        ({"processes": "3"}, 3),
        ({"processes": '"3"'}, 3),
        ({"processes": 3, "device": "cpu"}, 3),
        ({"processes": "many"}, 1),
        ({"processes": "0"}, 1),
        ({"processes": "1e9"}, 64),
    ],
)
def test_the_number_of_processes_is_read_as_the_sdks_write_it(root, values, number):
    """What is refused is refused by the one process that is started."""
    configure(root, "hyperparameters", values)
    assert processes_setting(root, num_gpus=lambda: 2) == number


def test_on_a_cpu_the_first_process_finds_out_how_many_there_are_and_several_hosts_have_one_each(root):
    assert processes_setting(root, num_gpus=lambda: 0) is None
    configure(root, "resourceconfig", TWO_HOSTS)
    assert processes_setting(root, num_gpus=lambda: 0) == 1


def test_processes_of_a_host_share_its_cores_and_have_a_name_each(root):
    configure(root, "resourceconfig", TWO_HOSTS)
    job = read_job(root, processes=2, process=1)
    assert job.process_names == ["algo-1/0", "algo-1/1", "algo-2/0", "algo-2/1"] and job.process_index == 1
    assert job.num_cores == max(usable_cores() // 2, 1)
    assert (read_job(root).process_names, read_job(root).process_index) == (["algo-1", "algo-2"], 0)


def test_a_host_of_several_says_which_it_is(root):
    configure(root, "resourceconfig", TWO_HOSTS)
    write_failure(root, "no training channel")
    assert (root / "output" / "failure").read_text() == "algo-1: no training channel"


@pytest.mark.parametrize("content", ["{", "[]", '{"hosts": 3, "network_interface_name": ["lo"]}'])
def test_a_broken_resource_file_keeps_no_cause_from_being_told(root, content):
    configure(root, "resourceconfig", content)
    assert "GLOO_SOCKET_IFNAME" not in training_environment(root)
    write_failure(root, "the cause")
    assert (root / "output" / "failure").read_text() == "the cause"


def test_the_first_cause_stays(root):
    write_failure(root, "the cause")
    write_failure(root, "what came of it")
    assert (root / "output" / "failure").read_text() == "the cause"


@pytest.mark.parametrize(
    "resources",
    [
        {},
        {"hosts": ["algo-1-l47ky"], "current_host": "algo-1-l47ky"},
        {
            "current_host": "algo-1",
            "current_instance_type": "ml.g5.xlarge",
            "current_group_name": "homogeneousCluster",
            "hosts": ["algo-1"],
            "instance_groups": [
                {"instance_group_name": "homogeneousCluster", "instance_type": "ml.g5.xlarge", "hosts": ["algo-1"]}
            ],
            "network_interface_name": "eth0",
            "topology": None,
        },
    ],
)
def test_one_host_in_any_of_the_platforms_words_is_read(root, resources):
    configure(root, "resourceconfig", resources)
    assert read_job(root).channels


@pytest.mark.parametrize("name", ["hyperparameters", "inputdataconfig", "resourceconfig", "checkpointconfig"])
@pytest.mark.parametrize("content", ["[]", '"text"', "null", "3", "{", "", "{'epochs': 3}", "1" * 5000])
def test_what_is_no_json_object_is_refused_with_its_path(root, name, content):
    path = configure(root, name, content)
    assert str(path) in str(refused(root))


def test_what_is_no_utf_8_is_refused_with_its_path(root):
    path = configure(root, "hyperparameters", "{}")
    path.write_bytes('{"model": "é"}'.encode("latin-1"))
    assert str(path) in str(refused(root)) and "UTF-8" in str(refused(root))


def test_a_folder_that_cannot_be_made_is_the_platforms_fault(root):
    (root / "model").write_text("a file where the folder should be")
    with pytest.raises(PlatformError, match=r"folder cannot be made.*model"):
        read_job(root)


@pytest.mark.parametrize("reason", ["short", "é" * 3000, "🔬" * 3000, "a line " + "x" * 5000, ""])
def test_the_failure_file_holds_the_first_1024_characters_in_utf_8(tmp_path, reason):
    write_failure(tmp_path, reason)
    assert (tmp_path / "output" / "failure").read_bytes().decode("utf-8") == reason[:1024]
    assert has_failure(tmp_path)


def test_a_reason_is_one_line_whatever_words_it_quotes(tmp_path):
    write_failure(tmp_path, "no class 'a\nmetric validation:roc_auc=1\x1b[2J\u202e'")
    told = (tmp_path / "output" / "failure").read_text()
    assert told == r"no class 'a\nmetric validation:roc_auc=1\x1b[2J\u202e'"


def test_a_reason_that_names_a_file_of_undecodable_name_is_still_written(tmp_path):
    reason = f"not a picture: {os.fsdecode(b'caf' + bytes([0xE9]) + b'.jpg')}"
    write_failure(tmp_path, reason)
    assert (tmp_path / "output" / "failure").read_text(encoding="utf-8") == r"not a picture: caf\udce9.jpg"


def test_a_failure_that_cannot_be_written_raises_nothing(tmp_path, caplog):
    (tmp_path / "output").write_text("a file where the folder should be")
    write_failure(tmp_path, "the reason")
    [told] = caplog.messages
    assert "the failure file could not be written" in told and str(tmp_path / "output") in told


def test_an_earlier_jobs_failure_is_cleared(tmp_path):
    clear_failure(tmp_path)
    write_failure(tmp_path, "earlier")
    clear_failure(tmp_path)
    assert not has_failure(tmp_path)


def test_server_settings_have_defaults():
    settings = read_server_settings({})
    assert (settings.port, settings.limits) == (8080, Limits())
    assert settings.limits.max_payload_bytes >= 100 * 2**20  # contract, H4
    assert (settings.num_workers, settings.num_cores) == (1, usable_cores())  # a model a device: contract, H9
    assert settings.limits.max_requests >= 32 and settings.precision == "auto" and not settings.has_metrics
    assert read_server_settings() == settings  # of an empty environment


def test_server_settings_follow_the_platforms_variables():
    settings = read_server_settings(
        {"SAGEMAKER_BIND_TO_PORT": "9000", "SAGEMAKER_MAX_PAYLOAD_IN_MB": " 6 ", "MODEL_SERVER_TIMEOUT": "", "X": "y"}
    )
    assert (settings.port, settings.limits.max_payload_bytes, settings.limits.hung_s) == (9000, 6 * 2**20, 120)
    assert read_server_settings({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}).limits.max_payload_bytes == 0  # without a limit
    several = read_server_settings({"MODEL_SERVER_WORKERS": "256", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "90"})
    assert (several.num_workers, several.num_cores, several.limits.hung_s) == (256, 1, 90)


def test_server_settings_follow_our_own_variables():
    settings = read_server_settings(
        {
            "LESION_MAX_REQUESTS": "8",
            "LESION_MAX_BODIES_MIB": "64",
            "LESION_MAX_PIXELS": "1000",
            "LESION_MAX_WAIT_MS": "20",
            "LESION_PRECISION": "bf16",
            "LESION_METRICS": "1",
        }
    )
    assert settings.limits == Limits(
        max_requests=8, max_bodies_bytes=64 * 2**20, max_pixels=1000, max_wait_s=0.02
    )  # in the server's own units
    assert settings.precision == "bf16" and settings.has_metrics
    refused = {
        "LESION_PRECISION": "int8",
        "LESION_MAX_REQUESTS": "0",
        "LESION_MAX_BODIES_MIB": "0",
        "MODEL_SERVER_WORKERS": "0",
        "LESION_AUDIT": "enabled",
        "LESION_METRICS": "2",
    }
    for name, text in refused.items():
        with pytest.raises(UserError, match=f"{name}={text}"):
            read_server_settings({name: text})


@pytest.mark.parametrize(
    ("text", "is_on"), [("1", 1), ("on", 1), (" True ", 1), ("YES", 1), ("0", 0), ("Off", 0), ("", 0)]
)
def test_a_switch_is_set_in_words(text, is_on):
    settings = read_server_settings({"LESION_AUDIT": text, "LESION_METRICS": text})
    assert settings.has_audit == settings.has_metrics == bool(is_on)


@pytest.mark.parametrize("name", ["SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_MAX_PAYLOAD_IN_MB", "MODEL_SERVER_TIMEOUT"])
@pytest.mark.parametrize("text", ["eight", "8.5", "-1", "0x10", "1_000", "²"])
def test_a_variable_that_is_no_whole_number_is_refused_by_name(name, text):
    with pytest.raises(UserError, match=f"{name}=.* is not a whole number"):
        read_server_settings({name: text})


def test_what_the_user_set_stays_in_the_training_environment(root, monkeypatch):
    monkeypatch.setenv("MALLOC_TOP_PAD_", "0")
    monkeypatch.setenv("MINE", "kept")
    environment = training_environment(root)
    assert environment["MALLOC_TOP_PAD_"] == "0" and environment["MINE"] == "kept"
    assert "GLIBC_TUNABLES" in environment
