"""What the database knows, as metrics: what is late, what waits, and a database that is away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bode.store.database import Database
from bode_ops.exporter import DATABASE, DatabaseMetrics


def value(name, **labels):
    return DATABASE.get_sample_value(name, labels)


async def test_a_placement_without_a_notice_is_told_by_its_age_and_by_the_hours_it_has_left(app):
    metrics = DatabaseMetrics(app.parts)
    await app.accept()
    await app.stop_lane("kennisgeving")
    await app.settle()
    await metrics.refresh()
    assert value("bode_oldest_unnoticed_age_seconds") == 0
    assert value("bode_notices_close_to_deadline", hours="24") == 0
    assert value("bode_lane_stopped", lane="kennisgeving") == 1
    app.clock.move(hours=30)
    await metrics.refresh()
    assert value("bode_oldest_unnoticed_age_seconds") == 30 * 3600
    assert value("bode_oldest_due_step_age_seconds", lane="kennisgeving") == 30 * 3600
    assert value("bode_notices_close_to_deadline", hours="24") == 1
    assert value("bode_notices_close_to_deadline", hours="12") == 0
    assert value("bode_notices_overdue") == 0
    app.clock.move(hours=19)
    await metrics.refresh()
    assert value("bode_notices_overdue") == 1


async def test_what_was_read_is_kept_for_some_seconds(app):
    metrics = DatabaseMetrics(app.parts, keep_seconds=3600)
    await metrics.refresh()
    await app.accept()
    await metrics.refresh()
    assert value("bode_deliveries", state="under_way") is None
    await DatabaseMetrics(app.parts).refresh()
    assert value("bode_deliveries", state="under_way") == 1


@pytest.mark.slow
async def test_a_database_that_is_away_is_told_and_not_raised(make_app, own_postgres):
    app = await make_app_on(make_app, own_postgres)
    await DatabaseMetrics(app.parts).refresh()
    assert value("bode_database_up") == value("bode_database_schema_current") == 1
    own_postgres.stop()
    await DatabaseMetrics(app.parts).refresh()
    assert value("bode_database_up") == 0


async def make_app_on(make_app, server):
    url = server.fresh()
    database = Database(url)
    await database.upgrade()
    await database.close()
    return await make_app(url)


async def test_certificates_are_counted_down_and_an_unreadable_one_is_minus_one(app, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bode")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(app.clock.real() + timedelta(days=12))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "one.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    places = {"print": tmp_path / "one.pem", "notices": tmp_path / "none.pem"}
    await DatabaseMetrics(app.parts, certificates=places, disks={"evidence": tmp_path}).refresh()
    assert value("bode_certificate_days_left", place="print") == 12
    assert value("bode_certificate_days_left", place="notices") == -1
    assert 0 < value("bode_disk_free_ratio", holds="evidence") <= 1
