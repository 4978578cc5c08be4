"""Records as CSV and JSON lines, and back."""

from dbnfast.text.csv import from_csv, iter_csv
from dbnfast.text.json import JsonLines, from_json, iter_json

__all__ = ["JsonLines", "from_csv", "from_json", "iter_csv", "iter_json"]
