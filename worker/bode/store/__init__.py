"""Where everything is kept: tables, the statements that work in bulk, encryption at rest, migrations."""
