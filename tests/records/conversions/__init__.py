"""The matrix of conversions: values with what each is, places to put them, and what must come of each pair."""
