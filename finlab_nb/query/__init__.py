"""DuckDB, the only analyst: copies the stored rows to columns and answers questions as DataFrames."""
