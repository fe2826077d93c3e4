"""Recorded results of backtest engines, and what a user writes today to store each of them."""
