"""What a registration may look like, and what is said about one that may not."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from app.api.schemas.patches import RegistrationBody

pytestmark = pytest.mark.usefixtures("app")

ADDRESS = "n4XmX91N5FfccY678vaG1ELNtXh6skVES7"
MAIN_ADDRESS = "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9"
PAY_TO_SCRIPT_ADDRESS = "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc"
RICH = {
    "product": {
        "uid_tag_id": "NFC_UID_001",
        "name": "Alpine jacket",
        "category": "outerwear",
        "sku": "AJ-1",
        "serial_number": "0001",
        "material": "wool",
    },
    "metadata": {
        "notes": "First line\nsecond line",
        "image": "https://cdn.example/a.png?size=2#top",
        "patch_location": "left sleeve",
    },
    "auth": {"owner": ADDRESS},
}


def body(**changes: Any) -> dict[str, Any]:
    """A small registration with values replaced; `product__name` reaches into an object."""
    made: dict[str, Any] = {"product": {"uid_tag_id": "NFC_UID_001"}, "auth": {"owner": ADDRESS}}
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = made
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    return made


def refused(client: FlaskClient, sent: Any) -> dict[str, str]:
    """The messages of a refusal by field."""
    response = client.post("/v1/patches", json=sent, headers={"x-api-key": "the-api-key"})
    assert response.status_code == 400, response.get_data(as_text=True)
    assert response.json is not None
    assert response.json["code"] == "invalid_request"
    details = response.json["error"].get("details", [])
    return {detail["field"]: detail["message"] for detail in details}


def test_f10_rich_payload_keeps_every_field() -> None:
    parsed = RegistrationBody.model_validate(RICH)
    assert dict(parsed.product) == RICH["product"]
    assert dict(parsed.metadata) == RICH["metadata"]


def test_metadata_is_optional_and_absent_fields_stay_absent() -> None:
    parsed = RegistrationBody.model_validate(body())
    assert dict(parsed.product) == {"uid_tag_id": "NFC_UID_001"}
    assert dict(parsed.metadata) == {}


@pytest.mark.parametrize(
    "path", ["colour", "product__colour", "metadata__colour", "auth__issuer_signature"]
)
def test_f10_unknown_field_is_named(client: FlaskClient, path: str) -> None:
    field = path.replace("__", ".")
    assert refused(client, body(**{path: "red"})) == {field: "is not a known field"}


@pytest.mark.parametrize("value", [ADDRESS, None, 7, {"deep": [1]}])
def test_payment_address_is_accepted_and_dropped(value: Any) -> None:
    parsed = RegistrationBody.model_validate(body(paymentAddress=value))
    assert "paymentAddress" not in parsed.product
    assert parsed.auth["owner"] == ADDRESS


@pytest.mark.parametrize("uid", ["ab", " ab ", "x" * 129, "", "   "])
def test_f12_uid_out_of_bounds_is_refused(client: FlaskClient, uid: str) -> None:
    assert "characters" in refused(client, body(product__uid_tag_id=uid))["product.uid_tag_id"]


@pytest.mark.parametrize("uid", ["abc", "x" * 128, "https://brand.example/p/1", "日本語"])
def test_f12_uid_within_bounds_is_accepted(uid: str) -> None:
    assert RegistrationBody.model_validate(body(product__uid_tag_id=uid)).product == {
        "uid_tag_id": uid
    }


@pytest.mark.parametrize("uid", ["a", "ab", "x" * 129, "a%0Abc", "%0A%0A%0A"])
@pytest.mark.parametrize(
    "path", ["/v1/patches/verify/{uid}", "/v1/patches/{uid}/history"], ids=["verify", "history"]
)
def test_f12_reading_has_the_bounds_of_registering(
    client: FlaskClient, path: str, uid: str
) -> None:
    response = client.get(path.format(uid=uid))
    assert response.status_code == 400
    assert response.json is not None
    assert response.json["error"]["details"][0]["field"] == "uid_tag_id"


@pytest.mark.parametrize("uid", ["abc", "x" * 128, "a/b/c", "a%2Fb%2Fc", "a//b", "日本語"])
def test_f12_every_uid_that_can_be_registered_reaches_verify(client: FlaskClient, uid: str) -> None:
    # The database is away: only a request that reached the service answers so.
    assert client.get(f"/v1/patches/verify/{uid}").status_code == 503
    assert client.get(f"/v1/patches/{uid}/history/").status_code == 503


def test_f12_uid_that_no_path_can_carry_is_refused(client: FlaskClient) -> None:
    assert refused(client, body(product__uid_tag_id="abc/")) == {
        "product.uid_tag_id": "must not end with a slash"
    }


def test_texts_are_trimmed() -> None:
    parsed = RegistrationBody.model_validate(
        body(product__uid_tag_id="  abc\t", product__name=" n ", auth__owner=f" {ADDRESS} ")
    )
    assert dict(parsed.product) == {"uid_tag_id": "abc", "name": "n"}
    assert parsed.auth["owner"] == ADDRESS


@pytest.mark.parametrize(
    ("path", "length"),
    [
        ("product__name", 256),
        ("product__category", 256),
        ("product__sku", 256),
        ("product__serial_number", 256),
        ("product__material", 256),
        ("metadata__notes", 4096),
        ("metadata__patch_location", 256),
    ],
)
def test_texts_end_at_their_bound(client: FlaskClient, path: str, length: int) -> None:
    RegistrationBody.model_validate(body(**{path: "x" * length}))
    field = path.replace("__", ".")
    problems = refused(client, body(**{path: "x" * (length + 1)}))
    assert problems == {field: f"must have at most {length} characters"}


@pytest.mark.parametrize("value", [None, 7, 1.5, True, [], ["a"], {}, {"a": "b"}])
@pytest.mark.parametrize(
    "path",
    ["product__uid_tag_id", "product__name", "metadata__notes", "metadata__image", "auth__owner"],
)
def test_other_types_than_text_are_refused(client: FlaskClient, path: str, value: Any) -> None:
    assert refused(client, body(**{path: value})) == {path.replace("__", "."): "must be a string"}


@pytest.mark.parametrize("value", [None, 7, "text", [], True])
@pytest.mark.parametrize("field", ["product", "metadata", "auth"])
def test_other_types_than_objects_are_refused(client: FlaskClient, field: str, value: Any) -> None:
    assert refused(client, {**body(), field: value}) == {field: "must be an object"}


def test_empty_texts_are_refused(client: FlaskClient) -> None:
    sent = body(product__name="", metadata__notes="  ", product__sku="")
    assert refused(client, sent) == {
        "product.name": "must not be empty",
        "product.sku": "must not be empty",
        "metadata.notes": "must not be empty",
    }


@pytest.mark.parametrize("text", ["a\x00b", "a\x1fb", "a\x7fb", "a\x85b", "a\nb"])
def test_control_characters_are_refused(client: FlaskClient, text: str) -> None:
    problems = refused(client, body(product__uid_tag_id=text, product__name=text))
    assert set(problems) == {"product.uid_tag_id", "product.name"}


def test_notes_may_have_lines_but_no_other_control_characters(client: FlaskClient) -> None:
    RegistrationBody.model_validate(body(metadata__notes="a\r\nb\tc"))
    assert set(refused(client, body(metadata__notes="a\x1bb"))) == {"metadata.notes"}


def test_lone_surrogates_are_refused(client: FlaskClient) -> None:
    assert refused(client, body(product__name="a\ud800")) == {
        "product.name": "must be valid Unicode text"
    }
    assert refused(client, {**body(), "a\udfff": 1})


@pytest.mark.parametrize(
    "image",
    [
        "javascript:alert(1)",
        "data:text/html;base64,PHNjcmlwdD4=",
        "ftp://host.example/a.png",
        "//host.example/a.png",
        "a.png",
        "https://",
        "https:///a.png",
        "http://host.example:port/",
        "http://host.example:99999/",
        "https://host.example/a b.png",
        'https://host.example/"onload="x',
        "https://host.example/<script>",
        "java\nscript:alert(1)",
        " https://host.example/a.png",
        "https://[::1",
    ],
)
def test_s17_image_that_is_no_http_url_is_refused(client: FlaskClient, image: str) -> None:
    assert refused(client, body(metadata__image=image)) == {
        "metadata.image": "must be an http or https URL"
    }


@pytest.mark.parametrize(
    "image", ["http://h.example", "HTTPS://H.example:8443/a%20b.png?x=1&y[]=2#z", "http://[::1]/a"]
)
def test_s17_http_url_is_kept_as_written(image: str) -> None:
    assert RegistrationBody.model_validate(body(metadata__image=image)).metadata == {"image": image}


def test_image_ends_at_2048_characters(client: FlaskClient) -> None:
    url = "https://host.example/"
    RegistrationBody.model_validate(body(metadata__image=url + "a" * (2048 - len(url))))
    too_long = body(metadata__image=url + "a" * (2049 - len(url)))
    assert refused(client, too_long) == {"metadata.image": "must have at most 2048 characters"}


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        (ADDRESS[:-1] + "8", "checksum"),
        ("x", "base58"),
        ("0OIl" * 8, "base58"),
        ("bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", "base58"),
        (PAY_TO_SCRIPT_ADDRESS, "script"),
    ],
    ids=["checksum", "short", "alphabet", "cashaddr", "script"],
)
def test_d7_owner_that_is_no_address_is_refused(
    client: FlaskClient, owner: str, words: str
) -> None:
    problems = refused(client, body(auth__owner=owner))
    assert list(problems) == ["auth.owner"]
    assert words in problems["auth.owner"]


def test_f20_address_of_the_configured_network_is_accepted(make_app: Any) -> None:
    assert RegistrationBody.model_validate(body()).auth["owner"] == ADDRESS
    make_app(WOC_NETWORK="main", UTXO_FUNDING_ADDRESS=MAIN_ADDRESS)
    owner = RegistrationBody.model_validate(body(auth__owner=MAIN_ADDRESS)).auth["owner"]
    assert owner == MAIN_ADDRESS


def test_f20_address_of_another_network_is_refused(client: FlaskClient) -> None:
    problems = refused(client, body(auth__owner=MAIN_ADDRESS))
    assert problems == {"auth.owner": "The address does not belong to the regtest network."}


def test_every_problem_is_reported(client: FlaskClient) -> None:
    sent = {"product": {"uid_tag_id": "ab", "name": 1, "x": 1}, "auth": {}, "metadata": None}
    assert set(refused(client, sent)) == {
        "product.uid_tag_id",
        "product.name",
        "product.x",
        "auth.owner",
        "metadata",
    }


def test_missing_parts_are_named(client: FlaskClient) -> None:
    assert refused(client, {}) == {"product": "is required", "auth": "is required"}


def test_a_flood_of_problems_gets_a_short_answer(client: FlaskClient) -> None:
    sent = {**body(), **{f"field{number}": 1 for number in range(5000)}, "y" * 100_000: 1}
    response = client.post("/v1/patches", json=sent, headers={"x-api-key": "the-api-key"})
    assert response.status_code == 400
    assert len(response.get_data()) < 50_000
