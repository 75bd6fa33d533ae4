"""Serving: real servers on 127.0.0.1, asked as SageMaker asks (contract, section 7)."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests

from lesion.data.decode import images
from lesion.predict_files import predict_files
from processes import Server, children

DETAILS, INFERENCE_ID = "X-Amzn-SageMaker-Custom-Attributes", "X-Amzn-SageMaker-Inference-Id"
METADATA = {"sex": "female", "age_approx": 45, "anatom_site_general_challenge": "torso"}


@pytest.fixture(scope="module")
def picture(trained_root: Path) -> bytes:
    return (trained_root / "input/data/training/train_jpg/IMG_000_0.jpg").read_bytes()


def payload(picture: bytes, metadata: object = None) -> str:
    """The brief's request."""
    fields = {"image": base64.b64encode(picture).decode()}
    return json.dumps(fields if metadata is None else {**fields, "json_data": metadata})


def probability(response: requests.Response) -> float:
    assert response.status_code == 200, response.text
    return float(response.json()["predictions"][0]["probability"])


def predicted(source: Path, model_dir: Path, output: Path, fold: int | None = None) -> pd.DataFrame:
    options = {"device": "cpu", "fold": fold, "precision": "fp32", "num_cores": 2, "show_progress": False}
    predict_files(source, model_dir=model_dir, output=output, **options)
    return pd.read_csv(output)


# Ready


def test_ping_is_an_empty_200_and_was_not_200_before_the_model_had_answered(server):
    response = requests.get(server.url("/ping"), timeout=2)
    assert (response.status_code, response.content) == (200, b"")
    assert server.pings[:-1] == [None] * (len(server.pings) - 1)
    assert "ready model=" in server.log_when_ready


def test_the_server_listens_on_the_port_that_the_platform_chose(server, other_server):
    assert server.port != other_server.port
    assert server.ping() == other_server.ping() == 200


# Content types


@pytest.mark.parametrize(
    "content_type",
    ["image/jpeg", "application/x-image", "application/octet-stream", "IMAGE/JPEG", "image/jpeg; name=a.jpg", None],
)
def test_a_bare_picture_is_answered_with_probability_and_label(server, picture, content_type):
    response = server.ask(picture, content_type)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    [prediction] = response.json()["predictions"]
    assert set(prediction) == {"probability", "label"} and prediction["label"] in {"benign", "malignant"}
    assert prediction["probability"] == probability(server.ask(picture, "image/jpeg"))


def test_a_png_is_answered_as_the_same_pixels_in_a_file_for_predict(server, trained_root, tmp_path):
    from PIL import Image

    png = tmp_path / "pictures" / "one.png"
    png.parent.mkdir()
    with Image.open(trained_root / "input/data/training/train_jpg/IMG_001_0.jpg") as image:
        image.save(png)
    row = predicted(png.parent, trained_root / "model", tmp_path / "out.csv").iloc[0]
    assert probability(server.ask(png.read_bytes(), "image/png")) == pytest.approx(row["probability"], abs=1e-6)


@pytest.mark.parametrize(
    "metadata",
    [
        METADATA,
        json.dumps(METADATA),
        {"sex": "female", "age": 45, "anatomy": "torso"},
        json.dumps({"anatomy": "torso", "age": "45", "sex": "female"}),
        {**METADATA, "unasked": None, "also_unasked": True},
    ],
    ids=["object", "text", "short names", "short names in a text", "unknown fields"],
)
@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_the_payload_of_the_brief_is_answered_by_a_bare_probability(server, picture, metadata, content_type):
    response = server.ask(payload(picture, metadata), content_type)
    assert response.status_code == 200, response.text
    assert 0 < float(response.text) < 1
    assert response.content == server.ask(payload(picture, METADATA), "application/json").content


def test_metadata_reaches_the_network(server, picture):
    answers = {
        float(server.ask(payload(picture, metadata), "application/json").text)
        for metadata in (METADATA, {**METADATA, "sex": "male"}, {**METADATA, "age_approx": 20}, {})
    }
    assert len(answers) == 4


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html, application/json;q=0.5", "application/*"])
def test_json_is_answered_to_whoever_can_take_it(server, picture, accept):
    assert server.ask(picture, Accept=accept).status_code == 200


@pytest.mark.parametrize(
    "write", [base64.encodebytes, lambda body: b"data:image/jpeg;base64," + base64.b64encode(body)]
)
def test_base64_with_line_breaks_or_as_a_data_url_is_read(server, picture, write):
    body = json.dumps({"image": write(picture).decode()})
    answer = server.ask(body, "application/json")
    assert answer.status_code == 200, answer.text
    assert answer.content == server.ask(payload(picture), "application/json").content


def test_json_is_answered_to_a_client_that_says_nothing_of_it(server, picture):
    with requests.Session() as session:
        session.headers.clear()  # requests itself would send */*
        session.headers.update({"Content-Type": "image/jpeg"})
        request = session.prepare_request(requests.Request("POST", server.url("/invocations"), data=picture))
        assert "Accept" not in request.headers
        assert session.send(request, timeout=60).status_code == 200


# Many at once, and other forms


def as_npy(picture: bytes) -> bytes:
    np.save(file := io.BytesIO(), images.decode(picture))
    return file.getvalue()


FORMS = {
    "instances": (lambda p: json.dumps({"instances": [{"image": b64(p)}, b64(p)]}), "application/json"),
    "lines": (lambda p: json.dumps({"image": b64(p)}) + "\n" + json.dumps({"image": b64(p)}), "application/jsonlines"),
    "CSV": (lambda p: f"image\n{b64(p)}\n{b64(p)}\n", "text/csv"),
    "an array": (as_npy, "application/x-npy"),
    "WebP's name": (lambda p: p, "image/webp"),
}


def b64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("accept", ["application/json", "application/jsonlines", "text/csv"])
def test_every_form_of_request_is_answered_in_every_form_by_the_same_number(server, picture, name, accept):
    make, content_type = FORMS[name]
    expected = probability(server.ask(picture))
    response = server.ask(make(picture), content_type, Accept=accept)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == accept
    match accept:
        case "application/json":
            found = [prediction["probability"] for prediction in response.json()["predictions"]]
        case "application/jsonlines":
            found = [json.loads(line)["prediction"][1] for line in response.text.split("\n")]
        case _:
            found = [float(line.split(",")[0]) for line in response.text.split("\n")]
    assert found == [expected] * (1 if name in {"an array", "WebP's name"} else 2)


def test_a_form_with_metadata_is_answered_as_the_payload_is(server, picture):
    body = {"sex": "female", "age_approx": "45", "anatom_site_general_challenge": "torso"}
    response = requests.post(server.url("/invocations"), files={"image": picture}, data=body, timeout=60)
    assert probability(response) == float(server.ask(payload(picture, METADATA), "application/json").text)


@pytest.mark.parametrize(("form", "accept"), [("lines", "application/jsonlines"), ("CSV", "text/csv")])
def test_one_bad_record_of_three_is_answered_in_its_place(server, picture, form, accept):
    good = {"lines": json.dumps({"image": b64(picture)}), "CSV": b64(picture)}[form]
    bad = {"lines": json.dumps({"image": b64(picture[:500])}), "CSV": b64(picture[:500])}[form]
    response = server.ask("\n".join([good, bad, good]), FORMS[form][1])
    assert response.status_code == 200 and response.headers["Content-Type"] == accept
    lines = response.text.split("\n")
    assert lines[0] == lines[2] and len(lines) == 3
    assert "unreadable_image" in lines[1] and "error" in lines[1].lower()


@pytest.mark.parametrize("name", ["instances", "lines", "CSV"])
def test_a_request_of_which_no_record_can_be_answered_is_refused_with_the_reasons(server, picture, name):
    make, content_type = FORMS[name]
    assert_refused(server.ask(make(picture[:500]), content_type), 400, "unreadable_image")
    mixed = {
        "instances": json.dumps({"instances": [{"image": b64(picture[:500])}, "§"]}),
        "lines": json.dumps({"image": b64(picture[:500])}) + "\n\n",
        "CSV": f"{b64(picture[:500])}\n§\n",
    }[name]
    response = server.ask(mixed, content_type, X_Amzn_SageMaker_Inference_Id=f"none-{name}")
    assert_refused(response, 400, "bad_request")
    assert "none of the 2 records" in response.json()["message"] and len(response.content) < 2048
    [line] = [line for line in server.log.read_text().splitlines() if f"id=none-{name}" in line]
    assert "unreadable_image" in line and "bad_request" in line and "2" in line


def test_a_refused_row_of_csv_has_its_reason_in_the_log(server, picture):
    response = server.ask(f"{b64(picture)}\n{b64(picture)};male\n", "text/csv", X_Amzn_SageMaker_Inference_Id="row-2")
    assert response.status_code == 200 and response.text.split("\n")[1] == "ERROR,bad_request"
    [line] = [line for line in server.log.read_text().splitlines() if "id=row-2" in line]
    assert "line 2" in line and "semicolons" in line


STRANGERS = {"Sex": "other", "wéight\n": 80}


@pytest.mark.parametrize("form", ["payload", "beside", "form", "form with a file", "lines", "CSV"])
def test_what_was_sent_and_not_used_is_named_in_a_header_in_the_details_and_in_the_log(server, picture, form):
    headers = {DETAILS: "details=true", "X-Amzn-SageMaker-Inference-Id": f"strangers-{form.replace(' ', '-')}"}
    url, files = server.url("/invocations"), {"image": ("a.jpg", picture)}
    bodies = {
        "payload": (payload(picture, STRANGERS), "application/json"),
        "beside": (json.dumps({"image": b64(picture), **STRANGERS}), "application/json"),
        "lines": (json.dumps({"image": b64(picture), **STRANGERS}), "application/jsonlines"),
        "CSV": (f"image,Sex,wéight\n{b64(picture)},other,80\n", "text/csv"),
    }
    if form in bodies:
        body, content_type = bodies[form]
        headers |= {"Content-Type": content_type, "Accept": "application/json"}
        response = requests.post(url, data=body.encode(), headers=headers, timeout=60)
    elif form == "form":
        response = requests.post(url, data={"Sex": "other", "wéight": "80"}, files=files, headers=headers, timeout=60)
    else:
        files |= {"metadata": ("metadata.json", json.dumps(STRANGERS).encode())}
        response = requests.post(url, files=files, headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    name = "w%C3%A9ight" + ("" if form in {"CSV", "form"} else "%0A")
    told = {f"{name}:unknown_field", "sex:unknown_word"}
    assert set(response.headers["X-Lesion-Unused"].split(",")) == told
    [prediction] = response.json()["predictions"]
    assert set(prediction["unused"]) == told
    [line] = [line for line in server.log.read_text().splitlines() if f"id={headers[INFERENCE_ID]} " in line]
    assert all(name in line for name in told) and "other" not in line and "80" not in line.partition("unused")[2]


def test_a_request_of_which_all_was_used_has_no_such_header(server, picture):
    response = server.ask(payload(picture, METADATA), "application/json")
    assert response.status_code == 200 and "X-Lesion-Unused" not in response.headers
    told = requests.post(server.url("/invocations?views=8"), data=picture, timeout=60)
    assert told.headers["X-Lesion-Unused"] == "views:unknown_parameter"
    said = "positive_class=malignant; unused=views:unknown_parameter"
    assert told.headers["X-Amzn-SageMaker-Custom-Attributes"] == said


def test_a_form_counts_every_file(server, picture):
    url, document = server.url("/invocations"), json.dumps(METADATA).encode()
    for files in (
        {"image": picture, "metadata": ("metadata.json", document)},
        {"image": picture, "json_data": ("blob", document, "application/json")},
        {"image": (None, picture, "image/jpeg"), "metadata": (None, document)},
    ):
        answer = requests.post(url, files=files, timeout=60)
        assert probability(answer) == float(server.ask(payload(picture, METADATA), "application/json").text)
    stray = requests.post(url, files={"image": picture, "data": ("metadata.json", document)}, timeout=60)
    assert_refused(stray, 400, "bad_request")


def test_a_java_clients_accept_is_answered(server, picture):
    response = server.ask(picture, Accept="text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2")
    assert response.status_code == 200 and response.headers["Content-Type"] == "application/json"


def test_attributes_choose_views_and_details(server, picture):
    one, eight = (
        probability(server.ask(picture, X_Amzn_SageMaker_Custom_Attributes=f"views={views}")) for views in (1, 8)
    )
    assert one != eight
    told = server.ask(
        picture, X_Amzn_SageMaker_Custom_Attributes="details=true", X_Amzn_SageMaker_Inference_Id="mine-7"
    ).json()
    [prediction] = told["predictions"]
    assert told["request_id"] == "mine-7" and told["model"] in server.log_when_ready
    folds = list(prediction["folds"].values())
    assert min(folds) - 0.05 <= prediction["probability"] <= max(folds) + 0.05  # pooled, and stretched a little
    assert prediction["spread"] == pytest.approx(np.ptp(list(prediction["folds"].values())), abs=1e-6)
    assert "id=mine-7 status=200 pictures=1" in server.log.read_text()


# What people and monitors look at


def test_the_model_describes_itself(server):
    told = requests.get(server.url("/model"), timeout=5).json()
    assert told["model"]["network"] == "test_resnet" and told["model"]["version"] in server.log_when_ready
    assert {column["name"] for column in told["inputs"]["metadata"]} == set(METADATA)
    [sex] = [column for column in told["inputs"]["metadata"] if column["name"] == "sex"]
    assert sex == {"name": "sex", "kind": "category", "categories": ["female", "male"]}
    assert told["question"]["classes"] == ["benign", "malignant"] and told["question"]["thresholds"].keys() == {
        "malignant"
    }
    assert 0 <= told["metrics"]["overall"]["metrics"]["brier"] <= 1
    assert told["serving"]["backend"] == "openvino cpu fp32"


def test_metrics_are_told_where_they_are_asked_for(server, other_server, picture):
    other_server.ask(picture)
    other_server.ask(b"")
    text = requests.get(other_server.url("/metrics"), timeout=5).text
    counts = {
        name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    }
    assert counts['lesion_requests_total{status="200"}'] >= 1 and counts['lesion_requests_total{status="400"}'] >= 1
    assert counts["lesion_pictures_total"] == counts['lesion_stage_seconds_count{stage="model"}'] >= 1
    assert requests.get(server.url("/metrics"), timeout=5).status_code == 404


def test_batch_transform_is_told_how_much_to_send(server):
    told = requests.get(server.url("/execution-parameters"), timeout=5).json()
    assert told.keys() == {"MaxConcurrentTransforms", "MaxPayloadInMB"}  # B1: no BatchStrategy
    assert 1 <= told["MaxConcurrentTransforms"] * told["MaxPayloadInMB"] <= 100


def test_there_is_a_page_unless_it_is_not_wanted(server, other_server):
    page = requests.get(server.url("/"), timeout=5)
    assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert requests.get(other_server.url("/"), timeout=5).status_code == 404


# Refusals

NAN_AGE = {"sex": "female", "age_approx": "forty"}
REFUSALS = {
    "an unknown type": (lambda p: (p, "text/plain"), 415, "content_type"),
    "a type of nonsense": (lambda p: (p, "///"), 415, "content_type"),
    "no picture": (lambda _: (b"", "image/jpeg"), 400, "unreadable_image"),
    "a text for a picture": (lambda _: (b"hello", "image/png"), 400, "unreadable_image"),
    "half a picture": (lambda p: (p[: len(p) // 2], "image/jpeg"), 400, "unreadable_image"),
    "half a picture in JSON": (lambda p: (payload(p[:500]), "application/json"), 400, "unreadable_image"),
    "not base64": (lambda _: (json.dumps({"image": "§§§"}), "application/json"), 400, "bad_request"),
    "a number for a picture": (lambda _: (json.dumps({"image": 5}), "application/json"), 400, "bad_request"),
    "JSON without a picture": (lambda _: ("{}", "application/json"), 400, "bad_request"),
    "not JSON": (lambda _: ("{", "application/json"), 400, "bad_request"),
    "a list": (lambda _: ("[1]", "application/json"), 400, "bad_request"),
    "deep JSON": (lambda _: ("[" * 100_000, "application/json"), 400, "bad_request"),
    "not UTF-8": (lambda _: (b"\xff\xfe{", "application/json"), 400, "bad_request"),
    "metadata that is not JSON": (lambda p: (payload(p, "{sex"), "application/json"), 400, "bad_request"),
    "metadata as a list": (lambda p: (payload(p, [1, 2]), "application/json"), 400, "bad_request"),
    "nested metadata": (lambda p: (payload(p, {"sex": {"is": "m"}}), "application/json"), 400, "bad_request"),
    "an age in Python's words": (lambda p: (payload(p, {"age": "4_5"}), "application/json"), 400, "bad_input"),
    "an age twice": (lambda p: (payload(p, {"age": 4, "age_approx": 5}), "application/json"), 400, "bad_request"),
    "JSON as bytes": (lambda p: (payload(p), "application/octet-stream"), 400, "bad_request"),
    "more values than are read": (lambda _: (b"[" + b"[]," * 10**6 + b"[]]", "application/json"), 413, "too_large"),
    "more columns than are read": (lambda _: (b"image" + b"," * 10**6, "text/csv"), 413, "too_large"),
    "an age in words": (lambda p: (payload(p, NAN_AGE), "application/json"), 400, "bad_input"),
    "an endless age": (lambda p: (payload(p, {"age": 1e999}), "application/json"), 400, "bad_input"),
}


def assert_refused(response: requests.Response, status: int, kind: str) -> None:
    """JSON with a kind and a sentence, and nothing of our insides."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    assert set(response.json()) == {"error", "message"}
    assert response.json()["error"] == kind
    assert len(response.json()["message"].split()) > 3
    assert "Traceback" not in response.text and ".py" not in response.text


@pytest.mark.parametrize("name", REFUSALS)
def test_a_bad_request_is_refused_with_its_kind(server, picture, name):
    make, status, kind = REFUSALS[name]
    body, content_type = make(picture)
    assert_refused(server.ask(body, content_type), status, kind)


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*"])
def test_an_answer_that_we_do_not_write_is_refused(server, picture, accept):
    assert_refused(server.ask(picture, Accept=accept), 406, "accept")


def test_other_paths_and_methods_are_refused(server):
    assert_refused(requests.get(server.url("/nothing"), timeout=5), 404, "not_found")
    assert_refused(requests.get(server.url("/invocations"), timeout=5), 405, "method_not_allowed")
    assert_refused(requests.post(server.url("/ping"), timeout=5), 405, "method_not_allowed")


@pytest.mark.parametrize("is_chunked", [False, True], ids=["with its length", "chunked"])
def test_a_body_above_the_platforms_limit_is_refused(other_server, picture, is_chunked):
    body = picture + bytes(2 * 2**20)
    pieces = (body[start : start + 2**16] for start in range(0, len(body), 2**16))
    assert_refused(other_server.ask(pieces if is_chunked else body), 413, "too_large")
    assert other_server.ask(picture).status_code == 200


# Bodies


def test_twenty_megabytes_are_taken(server, picture):
    assert probability(server.ask(picture + bytes(20_000_000))) == probability(server.ask(picture))


def test_a_body_in_chunks_is_the_body(server, picture):
    chunks = (picture[start : start + 700] for start in range(0, len(picture), 700))
    assert probability(server.ask(chunks)) == probability(server.ask(picture))


def test_custom_attributes_come_back_also_with_a_refusal(server, picture):
    for body, status in ((picture, 200), (b"", 400)):
        response = server.ask(body, X_Amzn_SageMaker_Custom_Attributes="trace=7; who=me")
        assert response.status_code == status
        assert response.headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=7; who=me"
    own = server.ask(picture).headers["X-Amzn-SageMaker-Custom-Attributes"]
    assert own == "positive_class=malignant"  # what else the router would strip


def test_a_header_names_the_class_that_the_bare_number_is_the_probability_of(server, picture):
    bare = server.ask(payload(picture), content_type="application/json")
    assert isinstance(bare.json(), float) and bare.headers["X-Lesion-Positive-Class"] == "malignant"
    assert bare.headers["X-Amzn-SageMaker-Custom-Attributes"] == "positive_class=malignant"
    assert server.ask(picture).headers["X-Lesion-Positive-Class"] == "malignant"


# The same numbers by every door


def test_http_answers_what_predict_writes(server, trained_root, tmp_path):
    pictures = trained_root / "input/data/training/train_jpg"
    rows = predicted(pictures, trained_root / "model", tmp_path / "out.csv")
    for name, expected, label in zip(rows["image_name"], rows["probability"], rows["label"], strict=True):
        response = server.ask((pictures / name).read_bytes())
        assert probability(response) == pytest.approx(expected, abs=1e-6)
        assert response.json()["predictions"][0]["label"] == label


def test_the_fold_that_held_a_row_out_serves_its_out_of_fold_probability(other_server, baseline):
    table = pd.read_csv(baseline.channel / "train.csv", dtype=str, keep_default_na=False).set_index("image_name")
    held = baseline.oof.query("fold == 1")
    assert len(held) == 6
    for name, expected in zip(held["image_name"], held["probability"], strict=True):
        metadata = {column: table.loc[name, column] for column in METADATA}
        picture = (baseline.channel / "train_jpg" / f"{name}.jpg").read_bytes()
        answer = other_server.ask(payload(picture, metadata), "application/json")
        assert float(answer.text) == pytest.approx(expected, abs=1e-6)


def test_sixteen_clients_at_once_each_get_their_own_answer_and_ping_keeps_answering(server, trained_root):
    bodies = [path.read_bytes() for path in sorted((trained_root / "input/data/training/train_jpg").iterdir())[:16]]
    alone = [probability(server.ask(body)) for body in bodies]
    assert len(set(alone)) == 16
    with ThreadPoolExecutor(17) as pool:
        together = [pool.submit(server.ask, body) for body in bodies * 3]
        pings = [server.ping() for _ in range(5)]  # each within two seconds
    assert pings == [200] * 5
    np.testing.assert_allclose([probability(answer.result()) for answer in together], alone * 3, atol=1e-6)


# Life and death


def test_serving_writes_nothing_into_the_model_folder(server, trained_root):
    served = {path.name for path in (server.root / "model").iterdir()}
    strangers = {"model.tar.gz", "output.tar.gz", "._manifest.json", "._fold_0.safetensors"}
    assert served == {path.name for path in (trained_root / "model").iterdir()} | strangers


def test_a_server_whose_worker_was_killed_answers_again(other_server, picture):
    before = other_server.ask(picture).content
    [worker] = children(other_server.process.pid)
    os.kill(worker, signal.SIGKILL)
    ends = time.monotonic() + 60
    while other_server.ping() != 200 and time.monotonic() < ends:
        time.sleep(0.2)
    assert other_server.ask(picture).content == before
    assert children(other_server.process.pid) != [worker]


def test_sigterm_lets_a_request_in_flight_have_its_answer(baseline, picture, tmp_path):
    stopping = Server.start(baseline.root, tmp_path / "log").wait_until_ready()
    try:
        with socket.create_connection(("127.0.0.1", stopping.port), timeout=30) as client:
            head = f"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: {len(picture)}\r\nConnection: close"
            client.sendall(head.encode() + b"\r\n\r\n" + picture[:100])
            time.sleep(0.5)  # a thread reads it by now
            stopping.process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            time.sleep(1)
            client.sendall(picture[100:])
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200") and b'"probability"' in answer
        assert stopping.process.wait(25) == 0
        assert time.monotonic() - started < 25
    finally:
        stopping.process.kill()


def test_sigterm_does_not_wait_for_connections_on_which_nothing_was_asked(baseline, tmp_path):
    stopping = Server.start(baseline.root, tmp_path / "log").wait_until_ready()
    with socket.create_connection(("127.0.0.1", stopping.port), timeout=30):
        time.sleep(0.5)  # accepted by now
        started = time.monotonic()
        assert stopping.stop() == 0
        assert time.monotonic() - started < 15  # gunicorn's own waits out its 25 s


def test_a_folder_without_a_usable_artifact_ends_the_server_with_one_clear_line(trained_root, tmp_path):
    roots = {name: tmp_path / name for name in ("empty", "foreign", "damaged")}
    for name, root in roots.items():
        if name == "damaged":
            shutil.copytree(trained_root / "model", root / "model")
            with (root / "model" / "graph.bin").open("r+b") as file:
                file.seek(5000)
                file.write(b"\xff\xff\xff\xff")
        else:
            (root / "model").mkdir(parents=True)
    (roots["foreign"] / "model" / "model.pth").write_bytes(b"a pickle of somebody's")
    servers = {name: Server.start(root, tmp_path / f"{name}.log") for name, root in roots.items()}
    said = {}
    for name, starting in servers.items():
        assert starting.process.wait(90) not in {0, None}
        said[name] = starting.log.read_text()
        assert said[name].count("the model cannot be served") == 1
        assert "Traceback" not in said[name] and "Shutting down" not in said[name]
    assert "no manifest.json" in said["empty"] and "nothing" in said["empty"]
    assert "no manifest.json" in said["foreign"] and "model.pth" in said["foreign"]
    assert "graph.bin" in said["damaged"] and "differ from those that the manifest" in said["damaged"]
