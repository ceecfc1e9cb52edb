"""Bringing a database to the tables that this version of Copyhound wants."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from service.errors import StoreVersionError

MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x636F7079686E64  # "copyhnd": any number that other programs on the database do not use


def migrate(engine: Engine) -> None:
    """Migrate to the newest tables, all or nothing. Servers that start at once do so one after another.

    Raises:
        StoreVersionError: If a newer version of Copyhound migrated the database before.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        _check_version(connection, ScriptDirectory.from_config(config))
        command.upgrade(config, "head")


def _check_version(connection: Connection, scripts: ScriptDirectory) -> None:
    for revision in MigrationContext.configure(connection).get_current_heads():
        try:
            scripts.get_revision(revision)
        except (CommandError, ResolutionError) as error:
            raise StoreVersionError(
                f"The database has revision {revision}, which this version of Copyhound does not know: "
                "a newer version wrote it. Upgrade Copyhound: pip install --upgrade copyhound",
                revision=revision,
            ) from error
