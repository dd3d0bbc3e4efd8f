"""The products of the demo are what the API accepts, and no tag is sewn in twice."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from demo.catalogue import choose_products, load_products

NFC_UID = re.compile("04[0-9A-F]{12}")


def test_catalogue_holds_twenty_five_products_with_tags_of_their_own() -> None:
    uids = [product.uid_tag_id for product in load_products()]
    assert len(set(uids)) == len(uids) == 25
    assert all(NFC_UID.fullmatch(uid) for uid in uids)


def test_every_product_tells_what_there_is_to_tell() -> None:
    told = {"uid_tag_id", "name", "category", "sku", "serial_number", "material"}
    for product in load_products():
        assert product.product.keys() == told
        assert product.metadata.keys() == {"notes", "image", "patch_location"}
        for text in product.product.values():
            assert text == text.strip()
            assert 1 <= len(text) <= 256
        url = urlsplit(product.metadata["image"])
        assert url.scheme == "https"
        assert str(url.hostname).endswith("example.com")


def test_catalogue_has_names_beyond_ascii() -> None:
    names = "".join(product.name for product in load_products())
    for sample in "Øéñ東":
        assert sample in names


def test_fresh_tag_changes_the_last_three_bytes_only() -> None:
    product = load_products()[0]
    fresh = product.with_fresh_tag(0x0000FF)
    assert fresh.uid_tag_id[:12] == product.uid_tag_id[:12]
    assert int(fresh.uid_tag_id[12:], 16) == int(product.uid_tag_id[12:], 16) ^ 0xFF
    assert (fresh.name, fresh.metadata) == (product.name, product.metadata)


def test_every_run_and_round_sews_in_new_tags() -> None:
    chosen = choose_products(130)
    uids = {product.uid_tag_id for product in chosen}
    assert len(uids) == 130
    assert all(NFC_UID.fullmatch(uid) for uid in uids)
    assert [product.name for product in chosen[:25]] == [each.name for each in load_products()]
    assert not uids & {product.uid_tag_id for product in choose_products(130)}
