"""Export iterations, trades and curves of a book for other tools: Parquet with its types, or CSV for a spreadsheet.

How to run it:

    python export_dataframes.py research.db frames parquet
    python export_dataframes.py research.db frames csv
"""

import sys

import finlab_nb as fl

DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"
FOLDER = sys.argv[2] if len(sys.argv) > 2 else "frames"
FORMAT = sys.argv[3] if len(sys.argv) > 3 else "parquet"

with fl.Lab(DATABASE) as lab:
    # `results` is what lab.iterations() returns; `where` takes its columns. All files show one moment.
    tables = ["results", "trades", "equity"]
    for path in lab.export_frames(FOLDER, tables, format=FORMAT, where="total_trades > 0", progress=False):
        print(f"{path} {path.stat().st_size:,} bytes")
