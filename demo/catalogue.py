"""The products of the demo and the tags that are sewn into them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path

PRODUCTS_PATH = Path(__file__).with_name("products.jsonl")
_FRESH_BITS = 24


@dataclass(frozen=True)
class Product:
    """What a brand tells about one product: the two objects of a registration."""

    product: Mapping[str, str]
    metadata: Mapping[str, str]

    @property
    def uid_tag_id(self) -> str:
        return self.product["uid_tag_id"]

    @property
    def name(self) -> str:
        return self.product["name"]

    def with_fresh_tag(self, mask: int) -> Product:
        """The same product with another NFC tag: the last three bytes of the uid are changed."""
        uid = self.uid_tag_id
        digits = _FRESH_BITS // 4
        fresh = f"{int(uid[-digits:], 16) ^ mask:0{digits}X}"
        return Product({**self.product, "uid_tag_id": uid[:-digits] + fresh}, self.metadata)


def load_products(path: Path = PRODUCTS_PATH) -> list[Product]:
    """Reads one product a line."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [Product(row["product"], row["metadata"]) for row in rows]


def choose_products(number: int) -> list[Product]:
    """The first products of the catalogue, from the top again where it ends.

    A tag is registered once for ever, so each run and each round sews in new ones.
    """
    products = load_products()
    first_mask = secrets.randbits(_FRESH_BITS)
    masks = ((first_mask + index // len(products)) % (1 << _FRESH_BITS) for index in count())
    chosen = islice(zip(cycle(products), masks, strict=False), number)
    return [product.with_fresh_tag(mask) for product, mask in chosen]
