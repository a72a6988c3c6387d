import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.cli import main

pytestmark = pytest.mark.filterwarnings("default")  # Prefect's dependencies warn a lot

NIGHTLY = "0 3 * * *"


def serve(*options: str, api_url: str | None = None, sources: str = "seeds") -> Result:
    """`qingyuan serve` with settings of Prefect that name this server, or none."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: api_url}):
        return CliRunner().invoke(main, ["serve", sources, "--out", "data/x", *options])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Missing option '--cron'"),
        (["--cron", "61 * * * *"], "'61 * * * *' is no schedule"),
        (["--cron", "at night"], "'at night' is no schedule"),
        (["--cron", ""], "'' is no schedule"),
        (["--cron", "0 0 30 2 *"], "'0 0 30 2 *' never fires"),
        (["--cron", NIGHTLY, "--timezone", "Mars/Base"], "there is no time zone 'Mars/Base'"),
        (["--cron", NIGHTLY, "--script", "hanz"], "'hanz' is not one of"),
        (["--cron", NIGHTLY], "there is no Prefect server that the schedule could be kept by"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(options: list[str], message: str) -> None:
    result = serve(*options)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_server_that_does_not_answer() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/api"
    result = serve("--cron", NIGHTLY, api_url=url)
    assert result.exit_code == 2
    assert f"no Prefect server answers at {url}" in result.output


def test_a_schedule_is_read_in_its_time_zone() -> None:
    from flows.serve import next_run

    when = next_run(NIGHTLY, "Asia/Shanghai")
    assert (when.hour, when.minute) == (3, 0)
    assert str(when.utcoffset()) == "8:00:00"


def test_parameters_do_not_depend_on_the_folder_it_was_started_in() -> None:
    from flows.serve import _deployment
    from schemas.config import RunConfig

    given = {"sources": ["crawl/**/*.txt", "file:///b"], "out": "data/x", "clean": {"script": "tw"}}
    deployment = _deployment(RunConfig.model_validate(given), NIGHTLY, "UTC", None)
    here = Path.cwd()
    assert deployment.parameters["config"] == {
        "sources": [f"{here}/crawl/**/*.txt", "file:///b"],
        "out": f"{here}/data/x",
        "clean": {"script": "tw"},
    }
    assert deployment.name == "x"
    assert deployment.tags == ["qingyuan", "x"]
    with pytest.raises(ValueError, match="standard input can be read once only"):
        _deployment(RunConfig.model_validate({**given, "sources": ["-"]}), NIGHTLY, "UTC", None)
    with pytest.raises(ValueError, match="invalid character"):
        _deployment(RunConfig.model_validate(given), NIGHTLY, "UTC", "a/b")


def test_addresses_are_served_as_they_are_but_for_those_with_secrets() -> None:
    from flows.serve import _deployment
    from schemas.config import RunConfig

    given = ("s3://bucket/crawl/", "https://host/a.txt", "@list.gz#s3://bucket/")
    deployment = _deployment(RunConfig(sources=given, out=Path("x")), NIGHTLY, "UTC", None)
    assert deployment.parameters["config"]["sources"] == [*given[:2], f"@{Path.cwd()}/list.gz#s3://bucket/"]
    for secret in ("https://user:hunter2@host/a", "https://host/a?X-Amz-Signature=hunter2"):
        with pytest.raises(ValueError, match="keep the password or signature in https://host/a") as error:
            _deployment(RunConfig(sources=(secret,), out=Path("x")), NIGHTLY, "UTC", None)
        assert "hunter2" not in str(error.value)
