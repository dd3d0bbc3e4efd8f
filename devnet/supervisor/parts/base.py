"""What every part of a devnet says about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from devnet.supervisor.files import make_private_directory
from devnet.supervisor.site import Site


class Part(ABC):
    """One process. Parts of a wave start together, once the waves before it answer."""

    name: ClassVar[str]
    wave: ClassVar[int] = 1
    has_port: ClassVar[bool] = True
    external_setting: ClassVar[str | None] = None

    def prepare(self, site: Site) -> None:
        """Make what the process needs before it starts."""
        make_private_directory(site.data_directory(self.name))

    @abstractmethod
    def command(self, site: Site) -> list[str]:
        """Program and arguments; what they say is seen by every user of the machine."""

    def environment(self, site: Site) -> dict[str, str]:
        """What the process sees besides the environment of whoever starts the devnet."""
        return {}

    @abstractmethod
    def find_problem(self, site: Site) -> str | None:
        """What keeps the part from working, or None while it answers."""

    def is_external(self, site: Site) -> bool:
        """Whether a server outside the devnet stands in for this part."""
        return self.external_setting in site.external
