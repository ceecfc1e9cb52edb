"""SQLite finds the fingerprints of a few references by these, however many there are."""

import pytest
from sqlalchemy import create_engine
from sqlalchemy.dialects import sqlite

from service.store import queries, schema


@pytest.mark.parametrize("size", queries._SIZES)
def test_fingerprints_are_found_by_their_references(size: int) -> None:
    engine = create_engine("sqlite://")
    schema.metadata.create_all(engine)
    text = queries._FINGERPRINTS_OF._statements[size].text(sqlite.dialect())
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", (b"",) * text.count("?")).all()
    assert [row[-1] for row in rows] == [
        "SEARCH fingerprints USING INDEX ux_fingerprints_reference_id (reference_id=?)"
    ]
