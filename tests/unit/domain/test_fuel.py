from app.domain.fuel import (
    TYPICAL_REGISTRATION_BYTES,
    Usage,
    hours_left,
    satoshis_per_registration,
)


def test_the_price_follows_what_records_cost_lately() -> None:
    assert satoshis_per_registration(Usage(0, 0, 0), 100) == TYPICAL_REGISTRATION_BYTES // 10
    assert satoshis_per_registration(Usage(4, 2000, 0), 100) == 50
    assert satoshis_per_registration(Usage(1000, 1000, 0), 1) == 1


def test_hours_follow_the_last_hours_spending() -> None:
    assert hours_left(10_000, Usage(10, 5000, 500)) == 20.0
    assert hours_left(0, Usage(10, 5000, 500)) == 0.0
    assert hours_left(10_000, Usage(0, 0, 0)) is None
