"""Domain errors. Each has a stable `code`; `http/problems.py` maps them to responses, `cli.py` to exit codes."""

from __future__ import annotations

from typing import ClassVar, Final

MAKE_ROOM: Final = "Nothing of this request was stored; what was stored before is safe and can be read. Make room, then send it again."


class CofioError(Exception):
    """Something cofio refuses or cannot do.

    `detail` says what happened and what mends it; `field` names the offending input, if there is one. `kept` is the
    detail as it may be stored: without what it quotes of what somebody said. A class's docstring is its title.
    """

    code: ClassVar[str] = "error"

    def __init__(
        self, detail: str | None = None, *, field: str | None = None, kept: str | None = None
    ) -> None:
        self.detail = detail or self.title()
        self.kept = kept or self.detail
        self.field = field
        super().__init__(self.detail)

    @classmethod
    def title(cls) -> str:
        """The first line of the class's docstring, without its full stop."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0].rstrip(".")


class InvalidInput(CofioError):
    """The input breaks a rule."""

    code = "invalid_input"


class UnknownFormat(InvalidInput):
    """The transcript's format is not known."""

    code = "unknown_format"


class UnreadableTranscript(InvalidInput):
    """The transcript cannot be read."""

    code = "unreadable_transcript"
    read_as: str | None = None
    """The format that it was read as, if one was found."""


class EmptyTranscript(UnreadableTranscript):
    """The transcript holds no utterance."""

    code = "empty_transcript"


class TooLarge(InvalidInput):
    """A part of the input is beyond its limit."""

    code = "too_large"


class TranscriptTooLong(TooLarge):
    """The transcript is too long."""

    code = "transcript_too_long"


class TooManyMeetings(TooLarge):
    """The batch holds too many meetings."""

    code = "too_many_meetings"


class TooManyParticipants(TooLarge):
    """The meeting lists too many participants."""

    code = "too_many_participants"


class MetadataTooLarge(TooLarge):
    """The metadata is too large."""

    code = "metadata_too_large"


class MetadataTooDeep(TooLarge):
    """The metadata is nested too deeply."""

    code = "metadata_too_deep"


class InvalidVector(InvalidInput):
    """A vector is not what a memory's vector must be."""

    code = "invalid_vector"


class DamagedBackup(InvalidInput):
    """The backup is damaged."""

    code = "damaged_backup"


class DamagedExport(InvalidInput):
    """The export is damaged."""

    code = "damaged_export"


class NotFound(CofioError):
    """There is nothing under this id."""

    code = "not_found"


class MeetingErased(NotFound):
    """The meeting was erased before it was ingested."""

    code = "erased"


class Unauthenticated(CofioError):
    """This needs a valid key."""

    code = "unauthenticated"


class Forbidden(CofioError):
    """This caller may not do that."""

    code = "forbidden"


class Overloaded(CofioError):
    """Too much is waiting already; try again shortly."""

    code = "overloaded"


class BackupUnderWay(Overloaded):
    """Another backup is being made; try again when it is done."""

    code = "backup_under_way"


class MeetingsWaiting(Overloaded):
    """Meetings that this concerns wait to be ingested; try again when they are."""

    code = "meetings_waiting"


class Unavailable(CofioError):
    """A part of the service that this request needs is not available."""

    code = "unavailable"


class StoreUnavailable(Unavailable):
    """The database cannot be read or written."""

    code = "store_unavailable"


class StoreBusy(StoreUnavailable):
    """Another writer holds the database; try again shortly."""

    code = "store_busy"


class StorageFull(StoreUnavailable):
    """The disk is full."""

    code = "storage_full"


class VectorStoreUnavailable(Unavailable):
    """The vector store does not answer."""

    code = "vector_store_unavailable"


class EncoderUnavailable(Unavailable):
    """The encoder does not answer."""

    code = "encoder_unavailable"


class ModelMissing(CofioError):
    """The encoder's files are missing or altered."""

    code = "model_missing"


class StoreInUse(CofioError):
    """Another process holds this data directory."""

    code = "store_in_use"


class StoreTooNew(CofioError):
    """This data directory was written by a newer version of cofio."""

    code = "store_too_new"


class InvalidSettings(CofioError):
    """A setting is unknown or out of range."""

    code = "invalid_settings"


class InternalError(CofioError):
    """Something went wrong inside; the log holds it under the request id."""

    code = "internal_error"
