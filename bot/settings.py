"""The environment → frozen settings. Only the secrets that inventory.yaml names are read elsewhere.

`.env.example` lists every setting with its unit, default and consequence.
"""

import difflib
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bot.errors import Misconfigured

_FREE = re.compile(r"STOPSIGN_(NODE|PRACTICE|SIDECAR)_.*")
"""Names that the inventory may refer to as env:STOPSIGN_NODE_…, or that the sidecar reads: no settings of the bot."""
_KUBERNETES = re.compile(r"STOPSIGN_(SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_(TCP|UDP)(_.*)?)")
"""Names that Kubernetes gives to every pod beside a Service called stopsign."""
_MAX_SECRET = 64 * 1024
SHORTEST_TOKEN = 16
"""Characters below which a webhook's token could be guessed."""


def _http(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", url):
        raise ValueError("must be a URL without user, ? and #: write https://host:port/path")
    return url


def _host(text: str) -> str:
    try:
        return text if text == "localhost" else str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("must be an IP address or localhost: write 127.0.0.1, or 0.0.0.0 for all") from None


def _long(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < SHORTEST_TOKEN:
        raise ValueError(
            f"has fewer than {SHORTEST_TOKEN} characters, so it could be guessed: make one with openssl rand -hex 32"
        )
    return secret


def _database(secret: SecretStr) -> SecretStr:
    if not re.match(r"(sqlite:///.|postgres(ql)?(\+psycopg)?://.)", secret.get_secret_value()):
        raise ValueError("must begin with sqlite:/// or postgresql://")
    return secret


def _slash(url: str) -> str:
    return url if url.endswith("/") else url + "/"


def _command(text: str) -> str:
    if not re.fullmatch(r"/[a-z0-9_-]{1,31}", text):
        raise ValueError("must be a slash command in lower case: write /incident")
    return text


def _bucket(url: str) -> str:
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?", url):
        raise ValueError("must be s3://bucket or s3://bucket/prefix; unset it to keep evidence in the home folder")
    return url


Url = Annotated[str, AfterValidator(_http)]
EvidenceUrl = Annotated[str, AfterValidator(_bucket)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database)]
LogLevel = Literal["debug", "info", "warning", "error"]


def _slack(name: str) -> AliasChoices:
    return AliasChoices(f"SLACK_{name}")


class Settings(BaseSettings):
    """What the environment decides. Secrets never show in a repr; `None` means not set.

    Built by `load`, or in tests by keyword; the constructor itself reads no environment.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="STOPSIGN_", populate_by_name=True)

    home: Annotated[Path, AfterValidator(Path.expanduser)] | None = None
    database_url: DatabaseUrl | None = None
    host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    port: int = Field(default=8970, ge=0, le=65535)
    public_url: Url | None = None
    webhook_token: Annotated[SecretStr, AfterValidator(_long)] | None = None
    webhook_user: str | None = None
    webhook_password: SecretStr | None = None
    slack_bot_token: SecretStr | None = Field(default=None, validation_alias=_slack("BOT_TOKEN"))
    slack_signing_secret: SecretStr | None = Field(default=None, validation_alias=_slack("SIGNING_SECRET"))
    slack_app_token: SecretStr | None = Field(default=None, validation_alias=_slack("APP_TOKEN"))
    slack_api_url: Annotated[Url, AfterValidator(_slash)] = Field(
        default="https://slack.com/api/", validation_alias=_slack("API_URL")
    )
    command: Annotated[str, AfterValidator(_command)] = "/incident"
    prometheus_url: Url | None = None
    evidence_url: EvidenceUrl | None = None
    s3_endpoint_url: Url | None = None
    time_scale: float = Field(default=1.0, gt=0, le=1000, allow_inf_nan=False)
    log_level: LogLevel = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the caller only: `load` is handed the environment."""
        return (init_settings,)

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        problems = []
        if (self.webhook_user is None) != (self.webhook_password is None):
            problems.append(
                "STOPSIGN_WEBHOOK_USER: is one half of a pair with STOPSIGN_WEBHOOK_PASSWORD: set both, or neither"
            )
        if self.slack_bot_token and not (self.slack_signing_secret or self.slack_app_token):
            problems.append(
                "SLACK_SIGNING_SECRET: is not set, but SLACK_BOT_TOKEN is: set it, or SLACK_APP_TOKEN for Socket Mode"
            )
        if self.slack_app_token and not self.slack_bot_token:
            problems.append("SLACK_BOT_TOKEN: is not set, but SLACK_APP_TOKEN is: Socket Mode needs both")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def database(self) -> str:
        """Return the database's URL: as set, else SQLite in the home folder. Raises Misconfigured without either."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if self.home is None:
            raise Misconfigured(
                ["STOPSIGN_HOME: is not set: name the operator's folder, or make it with `stopsign init`"]
            )
        return f"sqlite:///{(self.home / 'stopsign.db').absolute()}"

    @property
    def address(self) -> str:
        """Return where people reach the console: the public address, else the one that is listened on."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Tell whether only this machine can reach the web server."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    @property
    def webhook_guarded(self) -> bool:
        """Tell whether the webhook asks for a token or a password; without, only the demo may start."""
        return self.webhook_token is not None or self.webhook_password is not None


def variable(field: str) -> str:
    """Return the environment variable of a settings field."""
    alias = Settings.model_fields[field].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"STOPSIGN_{field.upper()}"


def is_secret(field: str) -> bool:
    """Tell whether a field is a secret, which may also come from a file that `NAME_FILE` names."""
    possible = get_args(Settings.model_fields[field].annotation)
    return any(getattr(kind, "__origin__", kind) is SecretStr for kind in possible)


def variables() -> Mapping[str, str]:
    """Return environment variable → field, for all settings; `NAME_FILE` variants are not listed."""
    return {variable(field): field for field in Settings.model_fields}


def load(environ: Mapping[str, str]) -> Settings:
    """Return the settings in `environ`; an empty value counts as not set.

    A secret may stand in a file named by `NAME_FILE`. Raises Misconfigured with every problem at once, names beginning
    with STOPSIGN_ that mean nothing included.
    """
    problems: list[str] = _unknown(environ)
    values: dict[str, str] = {}
    for name, field in variables().items():
        value = environ.get(name, "").strip()
        if is_secret(field):
            value = _from_file(environ, name, value, problems)
        if value:
            values[field] = value
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            problems += _sentences(problem["loc"], problem["type"], problem["msg"], values)
        raise Misconfigured(problems) from None
    if problems:
        raise Misconfigured(problems)
    return settings


def _unknown(environ: Mapping[str, str]) -> list[str]:
    known = list(variables())
    known += [f"{name}_FILE" for name, field in variables().items() if is_secret(field)]
    problems = []
    for name in sorted(environ):
        if not name.startswith("STOPSIGN_") or name in known or _FREE.fullmatch(name) or _KUBERNETES.fullmatch(name):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "remove it; .env.example lists what there is"
        problems.append(f"{name}: is not a setting: {hint}")
    return problems


def _from_file(environ: Mapping[str, str], name: str, value: str, problems: list[str]) -> str:
    """Return the secret itself, or what the file named by `NAME_FILE` holds."""
    path = environ.get(f"{name}_FILE", "").strip()
    if not path:
        return value
    if value:
        problems.append(f"{name}: is set twice, also as {name}_FILE: keep one")
        return value
    try:
        with Path(path).open("rb") as file:
            secret = file.read(_MAX_SECRET).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        problems.append(f"{name}_FILE: {path} cannot be read ({reason}): correct the path or its permissions")
        return ""
    if not secret:
        problems.append(f"{name}_FILE: {path} is empty: write the secret into it")
    return secret


def _sentences(loc: tuple[int | str, ...], kind: str, message: str, values: Mapping[str, str]) -> list[str]:
    """Return a problem as lines; never with the value of a secret."""
    text = message.removeprefix("Value error, ")
    if not loc:
        return text.splitlines()
    field = next((f for f in Settings.model_fields if loc[0] in {f, variable(f)}), str(loc[0]))
    if field == "port" and values.get("port", "").startswith("tcp://"):
        return [
            "STOPSIGN_PORT: was set by Kubernetes for a Service called stopsign: "
            "put enableServiceLinks: false into the pod, or set the port yourself"
        ]
    remedies = {
        "int_parsing": "must be a whole number, such as 8970",
        "float_parsing": "must be a number, such as 1.0",
        "literal_error": "must be one of " + ", ".join(get_args(LogLevel)),
    }
    return [f"{variable(field)}: {remedies.get(kind, text[:1].lower() + text[1:])}"]
