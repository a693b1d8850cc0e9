"""The one body of every refusal."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ProblemInfo(BaseModel):
    """One problem of an archive, with its place."""

    file: str | None = Field(examples=["annotations/train-annotations-bbox.csv"])
    row: int | None = Field(examples=[17])
    column: str | None = Field(examples=["XMin"])
    code: str = Field(examples=["csv.not_a_number"])
    message: str
    severity: str = Field(examples=["error"])
    value: str | None = None
    suggestion: str | None = None


class ErrorInfo(BaseModel):
    """A refusal. Errors of single fields stand beside these keys, as `"<field>": ["…"]`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "detail": "name: This field is required.",
                    "code": "request.invalid",
                    "problems": [],
                    "counts": {},
                    "request_id": "9f86d081884c7d65",
                    "name": ["This field is required."],
                }
            ]
        },
    )

    detail: str = Field(description="One sentence that names the culprit and says what to do")
    code: str = Field(description="Stable and machine readable")
    problems: list[ProblemInfo] = Field(description="Of an archive: up to 100 of each severity")
    counts: dict[str, int] = Field(description="Of an archive: how many problems of each code, listed or not")
    request_id: str = Field("", description="Also in the header X-Request-Id and in the service's log")
