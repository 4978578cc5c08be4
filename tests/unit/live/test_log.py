"""What is logged is shown where a program asks for that, as the official package shows it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SAY = """
import logging, sys
import {package} as db
db.enable_logging("INFO")
{again}
logging.getLogger("{package}.live").info("said %d", 1)
logging.getLogger("{package}.live").debug("not shown")
logging.getLogger("other").warning("shown by nobody else's handler")
"""


def said(package: str, again: str = "") -> str:
    code = SAY.format(package=package, again=again)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


def test_what_is_logged_is_shown_as_the_official_package_shows_it() -> None:
    pytest.importorskip("databento")
    assert said("dbnfast").splitlines()[0] == "INFO:dbnfast.live:said 1"
    assert said("dbnfast") == said("databento").replace("databento", "dbnfast")


def test_a_second_call_replaces_the_first() -> None:
    assert said("dbnfast", 'db.enable_logging("INFO")').count("said 1") == 1
    assert "said" not in said("dbnfast", "db.enable_logging(logging.ERROR)")


def test_what_the_client_of_historical_data_logs_is_shown_too() -> None:
    shown = said("dbnfast", 'logging.getLogger("databento.historical").info("asked")')
    assert "INFO:databento.historical:asked" in shown
