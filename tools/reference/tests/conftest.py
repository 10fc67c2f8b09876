import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def pytest_collection_modifyitems(items):
    """RSNA's identifiers are no UIDs; pydicom says so each time."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore:Invalid value for VR UI"))
