"""The replica: columnar copies of the tables beside the database, and the DuckDB that shows them."""
