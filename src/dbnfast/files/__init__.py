"""Files as a whole: verified, repaired, split."""

from typing import TYPE_CHECKING

from dbnfast.files._repair import Repaired, repair
from dbnfast.files._split import live_mappings as live_mappings
from dbnfast.files._split import mapping_records as mapping_records
from dbnfast.files._split import split, split_records
from dbnfast.files._verify import SEVERITIES as SEVERITIES
from dbnfast.files._verify import Finding, Report, verify

if TYPE_CHECKING:
    from dbnfast.files._split import By as By

__all__ = ["Finding", "Repaired", "Report", "repair", "split", "split_records", "verify"]
