"""The rules: pure, total, without I/O, clock or SQL. `delivery.decide` is the heart; law rows are named L1 to L15."""
