"""Files as a whole: verified, repaired, split."""

from dbnfast.files._repair import Repaired, repair
from dbnfast.files._split import split, split_records
from dbnfast.files._verify import Finding, Report, verify

__all__ = ["Finding", "Repaired", "Report", "repair", "split", "split_records", "verify"]
