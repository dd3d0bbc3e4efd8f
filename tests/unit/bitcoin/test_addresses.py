import bitcoinx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.addresses import Network, address_from_hash160, parse_address
from app.bitcoin.errors import InvalidAddressError
from app.bitcoin.scripts import find_p2pkh_hash160

MAIN = "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9"
hashes160 = st.binary(min_size=20, max_size=20)


def reason_of(text: str, network: Network = Network.MAIN) -> str:
    with pytest.raises(InvalidAddressError) as caught:
        parse_address(text, network)
    return caught.value.reason


@given(hashes160, st.sampled_from(Network))
def test_addresses_round_trip(hash160: bytes, network: Network) -> None:
    address = address_from_hash160(hash160, network)
    text = address.to_string()
    assert parse_address(text, network) == address
    assert str(address) == text
    assert find_p2pkh_hash160(address.locking_script()) == hash160
    assert text[0] in ("1" if network is Network.MAIN else "mn")


def test_known_address_has_the_known_hash() -> None:
    address = parse_address(MAIN, Network.MAIN)
    assert address.hash160.hex() == "fc7250a211deddc70ee5a2738de5f07817351cef"


def test_regtest_writes_addresses_like_test() -> None:
    text = address_from_hash160(bytes(20), Network.TEST).to_string()
    assert text == "mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8"
    assert parse_address(text, Network.REGTEST).network is Network.REGTEST


@given(hashes160, st.data())
def test_d7_one_wrong_character_is_refused(hash160: bytes, data: st.DataObject) -> None:
    text = address_from_hash160(hash160, Network.MAIN).to_string()
    position = data.draw(st.integers(1, len(text) - 1))
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    other = data.draw(st.sampled_from(alphabet.replace(text[position], "")))
    assert reason_of(text[:position] + other + text[position + 1 :]) in {"checksum", "malformed"}


def test_d7_bad_checksum_is_refused() -> None:
    assert reason_of(MAIN[:-1] + "8") == "checksum"


@pytest.mark.parametrize("network", [Network.TEST, Network.REGTEST])
def test_f20_address_of_the_main_network_is_refused_elsewhere(network: Network) -> None:
    assert reason_of(MAIN, network) == "network"
    assert parse_address(MAIN, Network.MAIN)


def test_f20_address_of_test_is_accepted_on_test_only() -> None:
    text = "mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8"
    assert parse_address(text, Network.TEST).to_string() == text
    assert reason_of(text, Network.MAIN) == "network"


def test_an_address_of_a_script_is_refused() -> None:
    assert reason_of("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy") == "not_p2pkh"
    assert reason_of("2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", Network.TEST) == "not_p2pkh"
    assert reason_of("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", Network.TEST) == "network"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " " + MAIN,
        MAIN + " ",
        MAIN + "\n",
        MAIN.replace("Q", "0"),
        MAIN.replace("Q", "\u041e"),  # a Cyrillic O
        "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
        "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "1" * 25,
        "1" * 24,
        "z" * 36,
        "1" * 1_000_000,
        "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa",
    ],
)
def test_hostile_text_is_no_address(text: str) -> None:
    assert reason_of(text) in {"malformed", "checksum"}


@pytest.mark.parametrize("value", [None, 1, b"1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9", ["1"]])
def test_an_address_is_text(value: object) -> None:
    assert reason_of(value) == "malformed"  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [19, 21, 22])
def test_a_right_checksum_over_another_length_is_refused(size: int) -> None:
    text = bitcoinx.base58_encode_check(bytes([0x05]) + b"\x55" * size)
    assert reason_of(text) == "malformed"


@pytest.mark.parametrize("size", [0, 19, 21])
def test_a_hash_of_another_length_has_no_address(size: int) -> None:
    with pytest.raises(InvalidAddressError):
        address_from_hash160(bytes(size), Network.MAIN)


@given(st.text(alphabet="123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", max_size=40))
def test_any_base58_is_an_address_that_spells_itself_or_an_error(text: str) -> None:
    try:
        address = parse_address(text, Network.MAIN)
    except InvalidAddressError:
        return
    assert address.to_string() == text
