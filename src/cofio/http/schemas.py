"""Requests as they arrive: strict about names, clear about bounds, turned into records.

Answers need no schema here: they are the records themselves, and the OpenAPI document is made from those.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    Strict,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from cofio.records import Filters, Level, MeetingInput, MemoryType, Question
from cofio.text.clean import VISIBLE, plain_text
from cofio.text.features import FEATURES
from cofio.text.parse import FORMATS

MAX_FILTER_VALUES: Final = 100
MAX_NAME: Final = 300
MAX_QUERY: Final = 1000
_NOT_A_DATE: Final = "must be an ISO date or date and time, such as 2025-03-14"


def _read_date(value: object) -> object:
    """The day of an ISO date or date and time. A bare number is no date: nobody means an epoch here."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.strip()).date()
        except ValueError:
            raise PydanticCustomError("not_a_date", _NOT_A_DATE) from None
    if isinstance(value, date) or value is None:
        return value
    raise PydanticCustomError("not_a_date", _NOT_A_DATE)


def whole(value: object) -> object:
    """10.0 is the integer 10, in JSON; "10" and true are none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _visible(value: str) -> str:
    """`value` without what cannot be seen; nothing must not be all that is left."""
    plain = plain_text(value)
    if not plain:
        raise PydanticCustomError(
            "string_too_short", "must have at least {min_length} visible character(s)", {"min_length": 1}
        )
    return plain


def _can_be_seen(value: str) -> str:
    """`value` as it is, if there is something to see in it."""
    _visible(value)
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _known_features(steer: dict[str, float]) -> dict[str, float]:
    known = ", ".join(FEATURES)
    if unknown := sorted(set(steer) - set(FEATURES)):
        raise PydanticCustomError(
            "unknown_feature",
            "unknown feature {unknown}; known are {known}",
            {"unknown": ", ".join(unknown), "known": known},
        )
    return steer


def _one_or_many(item: dict[str, Any]) -> WithJsonSchema:
    many = {"type": "array", "items": item, "maxItems": MAX_FILTER_VALUES}
    return WithJsonSchema({"anyOf": [item, many]})


Whole = Annotated[int, BeforeValidator(whole), Strict()]
NAME: Final[dict[str, Any]] = {"type": "string", "maxLength": MAX_NAME, "pattern": VISIBLE}
Name = Annotated[str, StringConstraints(max_length=MAX_NAME), AfterValidator(_visible), WithJsonSchema(NAME)]
Query = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=MAX_QUERY),
    AfterValidator(_can_be_seen),
    WithJsonSchema({"type": "string", "maxLength": MAX_QUERY, "pattern": VISIBLE}),
]
Day = Annotated[
    date | None,
    BeforeValidator(_read_date),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}),
]
Names = Annotated[
    tuple[Name, ...],
    BeforeValidator(_listed),
    Field(max_length=MAX_FILTER_VALUES),
    _one_or_many(NAME),
]
MemoryTypes = Annotated[
    tuple[MemoryType, ...],
    BeforeValidator(_listed),
    Field(max_length=MAX_FILTER_VALUES),
    _one_or_many({"type": "string", "enum": [kind.value for kind in MemoryType]}),
]
LevelNames = Annotated[
    tuple[Literal["L0", "L1", "L2"], ...],
    BeforeValidator(_listed),
    Field(max_length=MAX_FILTER_VALUES),
    _one_or_many({"type": "string", "enum": [level.label for level in Level]}),
]
Steer = Annotated[
    dict[str, Annotated[float, Field(ge=0.0, le=1.0, strict=True)]],
    AfterValidator(_known_features),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"enum": list(FEATURES)},
            "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
        }
    ),
]


class Body(BaseModel):
    """A request body, or a part of one: an unknown field is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class QueryFilters(Body):
    """What a query may look at; a value or a list of values each, dates inclusive."""

    project: Names = Field(default=(), description="Projects.")
    series: Names = Field(default=(), description="Series of meetings.")
    meeting_id: Names = Field(default=(), description="Meetings by id.")
    speaker: Names = Field(default=(), description="Speakers by name.")
    memory_type: MemoryTypes = Field(default=(), description="Types of memory.")
    level: LevelNames = Field(default=(), description="Levels: L0 concepts, L1 contexts, L2 episodes.")
    date_from: Day = Field(default=None, description="First day.")
    date_to: Day = Field(default=None, description="Last day.")

    @model_validator(mode="after")
    def _in_order(self) -> QueryFilters:
        if self.date_from and self.date_to and self.date_from > self.date_to:
            raise PydanticCustomError("dates_reversed", "date_from must not be after date_to")
        return self


class QueryRequest(Body):
    """One question to the memory."""

    query: Query = Field(description="The question, 1 to 1000 characters without the white space around it.")
    limit_per_level: Whole = Field(default=10, ge=1, le=50, description="Direct results of each level.")
    enable_activation: bool = Field(
        default=True,
        strict=True,
        description="Spread activation through the graph; false gives plain hybrid search.",
    )
    enable_bridges: bool = Field(
        default=True, strict=True, description="Look for memories of other meetings."
    )
    max_activations: Whole = Field(default=50, ge=10, le=100, description="Activated memories at most.")
    filters: QueryFilters | None = Field(default=None, description="What the query may look at.")
    steer: Steer | None = Field(
        default=None, description="Weights 0 to 1 that draw the ranking towards cognitive features, by name."
    )

    def question(self) -> Question:
        """The request as the verbs take it."""
        told = self.filters or QueryFilters()
        return Question(
            query=self.query,
            limit_per_level=self.limit_per_level,
            enable_activation=self.enable_activation,
            enable_bridges=self.enable_bridges,
            max_activations=self.max_activations,
            filters=Filters(
                project=told.project,
                series=told.series,
                meeting_id=told.meeting_id,
                speaker=told.speaker,
                memory_type=told.memory_type,
                level=tuple(Level(int(name[1])) for name in told.level),
                date_from=told.date_from,
                date_to=told.date_to,
            ),
            steer=tuple(sorted((self.steer or {}).items())),
        )


class MeetingRequest(Body):
    """One meeting to remember."""

    title: Name = Field(description="Title of the meeting.")
    transcript: str | dict[str, JsonValue] | list[JsonValue] = Field(
        description="The transcript in any known format; a JSON format also as the JSON value itself."
    )
    participants: list[Name] = Field(default=[], description="Who took part, also if silent.")
    date: Day = Field(default=None, description="Day of the meeting; a date and time is read as its day.")
    series: Name | None = Field(default=None, description="The series that the meeting belongs to.")
    project: Name | None = Field(
        default=None,
        description="The project that the meeting belongs to; else the key's, or `default` for a key without one.",
    )
    format: Annotated[str, WithJsonSchema({"type": "string", "enum": list(FORMATS)})] | None = Field(
        default=None, description="Format of the transcript; without it, the content decides."
    )
    external_id: Name | None = Field(
        default=None, description="Your own id. Ingesting it again updates the same meeting."
    )
    metadata: dict[str, JsonValue] = Field(default={}, description="Anything of your own, kept and returned.")

    def meeting(self, default_project: str) -> MeetingInput:
        """The request as the verbs take it."""
        transcript = (
            self.transcript if isinstance(self.transcript, str) else orjson.dumps(self.transcript).decode()
        )
        return MeetingInput(
            title=self.title,
            transcript=transcript,
            participants=tuple(self.participants),
            date=self.date,
            series=self.series,
            project=self.project or default_project,
            format=self.format,
            external_id=self.external_id,
            metadata=self.metadata,
        )


class BatchRequest(Body):
    """Several meetings to remember, in the background."""

    meetings: Annotated[list[MeetingRequest], Field(min_length=1)] = Field(description="The meetings.")


class Accepted(BaseModel):
    """A batch is on its way."""

    operation_id: str = Field(description="Id of the operation.")
    status_url: str = Field(description="Where its progress can be read.")
