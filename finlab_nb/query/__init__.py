"""DuckDB, the only analyst: copies what is stored into columns and answers questions as DataFrames."""
