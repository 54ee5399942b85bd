"""Receivers of OpenTelemetry in the settings: what cannot be meant is told where it stands, without showing a secret."""

from pathlib import Path

import pytest

from loopwright.core.errors import SettingsError
from loopwright.kit.settings_file import load


def read(folder: Path, receivers: str) -> None:
    path = folder / "loopwright.yaml"
    path.write_text(f"monitoring:\n  otlp:\n    {receivers}\n")
    load(path, env={})


@pytest.mark.parametrize(
    "receivers",
    [
        'here: {url: "collector:4318"}',
        'here: {url: "ftp://collector"}',
        'here: {url: "http://user:hidden-word@collector"}',
        'here: {url: "http://169.254.169.254"}',
        'here: {url: "http://collector", headers: {"a b": "hidden-word"}}',
        'here: {url: "http://collector", headers: {token: "hidden-word\\r\\nx: y"}}',
        '"no name!": {url: "http://collector"}',
        "here: {content: true}",
        'here: {url: "http://collector", batch: 0}',
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, receivers: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, receivers)
    assert "otlp" in str(caught.value)
    assert "hidden-word" not in str(caught.value)


def test_what_can_be_meant_is_read(tmp_path: Path) -> None:
    read(tmp_path, 'here: {url: "https://collector.example.com:4318/otlp", headers: {authorization: "Bearer x"}}')
