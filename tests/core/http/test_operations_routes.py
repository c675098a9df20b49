"""Listings, health, readiness, documentation."""

import json
import re

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from msgspec import Struct, structs
from openapi_spec_validator import validate

from embedwell.app import App, create_app
from embedwell.http.envelope import TABLE
from embedwell.interfaces.models import TAG_PATTERN
from embedwell.interfaces.status import Readiness
from tests.core.http.fake_core import TAG, FakeCore, app_of, ok, route
from tests.core.http.http_driver import get, post


class Form(Struct):
    file: list[str]


MODEL = {
    "id": TAG,
    "object": "model",
    "created": 1,
    "owned_by": "huggingface",
    "source": "huggingface",
    "shadowed": ["package"],
    "revision": "abc",
    "revisions": ["abc"],
    "dimensions": 2,
    "max_input_tokens": None,
    "prompts": {},
    "state": "available",
    "bytes": None,
}


@pytest.mark.parametrize("start", ["", "/v1"])
async def test_models_are_listed(start: str) -> None:
    app = app_of()
    assert (await get(app, f"{start}/models")).json == {"object": "list", "data": [MODEL]}
    assert (await get(app, f"{start}/models/{TAG}")).json == MODEL
    missing = await get(app, f"{start}/models/none")
    assert (missing.status, missing.detail) == (404, "Model not found: none")
    assert missing.json["error"]["param"] == "model"


async def test_a_tag_that_is_none_is_a_validation_error() -> None:
    assert (await get(app_of(), "/models/a%20b")).status == 422
    assert (await get(app_of(), "/v1/models/a%20b")).status == 400


async def test_health_and_readiness() -> None:
    core = FakeCore()
    app = create_app(core)
    assert (await get(app, "/health")).json == {"status": "ok"}
    assert (await get(app, "/ready")).json == {"status": "ready"}
    core.readiness = Readiness(False, "the worker is past its deadline")
    answer = await get(app, "/ready")
    assert (answer.status, answer.code) == (503, "LOADING")
    assert answer.detail == "Not ready: the worker is past its deadline"
    assert answer.headers["retry-after"] == "1"
    assert (await get(app, "/health")).status == 200


async def test_info_and_plugins() -> None:
    app = app_of()
    assert (await get(app, "/info")).json["limits"] == {"max_inputs": 2048}
    (plugin,) = (await get(app, "/plugins")).json["plugins"]
    assert (plugin["name"], plugin["state"]) == ("p", "active")


async def test_the_openapi_document_is_valid() -> None:
    app = app_of(
        route(ok, "POST", "/things/<id>", stream=True), route(ok, "DELETE", "/things/<id>")
    )
    document = (await get(app, "/openapi.json")).json
    validate(document)
    assert document["openapi"] == "3.1.0"
    assert {"/v1/embeddings", "/models/{tag}", "/things/{id}", "/docs"} <= set(document["paths"])
    assert "/models/upload" not in document["paths"]
    ids = [o["operationId"] for p in document["paths"].values() for o in p.values()]
    assert len(set(ids)) == len(ids)


async def test_every_error_is_declared_with_the_envelope() -> None:
    document = (await get(app_of(), "/openapi.json")).json
    embeddings = document["paths"]["/embeddings"]["post"]["responses"]
    assert {int(s) for s in embeddings} == {
        200, 400, 401, 403, 404, 408, 409, 413, 414, 415, 422, 429, 431, 500, 502, 503, 504,
    }  # fmt: skip
    assert "422" not in document["paths"]["/v1/embeddings"]["post"]["responses"]
    for status, declared in embeddings.items():
        schema = declared["content"]["application/json"]["schema"]
        name = "EmbeddingResponse" if status == "200" else "ErrorBody"
        assert schema == {"$ref": f"#/components/schemas/{name}"}
    assert "413" not in document["paths"]["/models"]["get"]["responses"]


@pytest.mark.parametrize(
    "given",
    ["", [], ["a"], [1], [[1]], [[]], [1, "a"], [[1], "a"], [["a"]], None, 1, [-1], [2**31], {}],
)
async def test_the_schema_of_input_agrees_with_the_server(given: object) -> None:
    app = app_of()
    document = (await get(app, "/openapi.json")).json
    schema = document["components"]["schemas"]["EmbeddingRequest"]
    body = {"model": TAG, "input": given}
    valid = Draft202012Validator(schema).is_valid(body)
    assert valid == ((await post(app, "/embeddings", body)).status == 200)


async def test_answers_have_the_declared_shape() -> None:
    app: App = app_of()
    document = (await get(app, "/openapi.json")).json
    resolver = {"components": document["components"]}
    for path in ("/models", f"/models/{TAG}", "/health", "/ready", "/info", "/plugins"):
        declared = document["paths"][path.replace(TAG, "{tag}")]["get"]["responses"]["200"]
        schema = {**declared["content"]["application/json"]["schema"], **resolver}
        Draft202012Validator(schema).validate((await get(app, path)).json)
    schema = {"$ref": "#/components/schemas/EmbeddingResponse", **resolver}
    told = await post(app, "/embeddings", {"model": TAG, "input": "a"})
    Draft202012Validator(schema).validate(told.json)
    schema = {"$ref": "#/components/schemas/ErrorBody", **resolver}
    Draft202012Validator(schema).validate((await get(app, "/nothing")).json)


async def test_every_answer_of_the_document_names_the_requests_id() -> None:
    document = (await get(app_of(), "/openapi.json")).json
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, declared in operation["responses"].items():
                assert "x-request-id" in declared["headers"], operation["operationId"]
                assert ("retry-after" in declared["headers"]) == (status in ("429", "502", "503"))
    embeddings = document["paths"]["/v1/embeddings"]["post"]["responses"]["200"]
    assert {"x-embedwell-truncated", "server-timing"} < set(embeddings["headers"])


async def test_every_code_has_an_example_as_the_server_writes_it() -> None:
    document = (await get(app_of(), "/openapi.json")).json
    shown = document["components"]["examples"]
    assert set(shown) == {code for code in TABLE if code.isupper()} - {"METHOD_NOT_ALLOWED"}
    schema = {"$ref": "#/components/schemas/ErrorBody", "components": document["components"]}
    for code, example in shown.items():
        Draft202012Validator(schema).validate(example["value"])
        assert example["value"]["code"] == code


async def test_what_is_always_answered_is_required_and_what_may_be_left_out_is_not() -> None:
    schemas = (await get(app_of(), "/openapi.json")).json["components"]["schemas"]
    assert schemas["EmbeddingRequest"]["required"] == ["model", "input"]
    assert schemas["PreloadRequest"]["required"] == []
    assert set(schemas["Model"]["properties"]) - set(schemas["Model"]["required"]) == {
        "root", "problem",
    }  # fmt: skip
    assert schemas["ModelList"]["required"] == ["data", "object"]


async def test_a_form_and_the_pattern_of_a_tag_are_in_the_document() -> None:
    plain = route(ok, "POST", "/things/<tag>", stream=True)
    taken = structs.replace(plain, accepts=("multipart/form-data",), form=Form)
    document = (await get(app_of(taken), "/openapi.json")).json
    operation = document["paths"]["/things/{tag}"]["post"]
    content = operation["requestBody"]["content"]["multipart/form-data"]
    assert content == {"schema": {"$ref": "#/components/schemas/Form"}}
    assert operation["parameters"][0]["schema"]["pattern"] == TAG_PATTERN


async def test_the_page_needs_nothing_from_elsewhere() -> None:
    answer = await get(app_of(), "/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    text = answer.body.decode()
    assert not re.search(r"(src|href)=[\"'](https?:)?//", text)
    assert "innerHTML" not in text
    assert json.dumps("/openapi.json") in text
