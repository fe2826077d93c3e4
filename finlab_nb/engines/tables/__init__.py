"""Tables of any platform: from a file or DataFrame to columns that are known, and from these to trades or fills.

`raw` finds encoding, header and rows, `roles` what each column stands for, by the layouts in `columns`; `reading` and
`cells` turn its cells into values, and `trades` makes trades or fills of them.
"""
