"""The rule book: the tables of config/bounces, checked and compiled once.

A rule is a set of conditions that must all hold, and the verdict it then gives. Rules are tried stage by stage in the
order of `Stage`, and within a stage in the order they were written; the first that holds decides.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self, TypeVar

from bode.domain.bounces.evidence import Evidence
from bode.domain.bounces.verdicts import VERDICT_OF, MailKind, Phase, Reason, Verdict


class Stage(StrEnum):
    """The order of decision. Text comes before codes: hosts choose their words with more care than their codes."""

    PHASE = "phase"
    """What a host says before it has heard of the addressee."""

    QUOTA = "quota"
    """A full mailbox, whatever the code."""

    RATE = "rate"
    """Too fast, greylisted, for now, or waited too long."""

    SENDER = "sender"
    """About us: spam, reputation, authentication, relaying, content, size, policy, loops, protocol."""

    UNKNOWN = "unknown"
    """No such mailbox, no such domain, moved, closed."""

    RECEIVER = "receiver"
    """What only makes sense for one family of hosts."""

    STATUS = "status"
    """The enhanced status code alone (RFC 3463, RFC 5248), the inner one before the outer one."""

    CODE = "code"
    """The SMTP code alone."""


class Where(StrEnum):
    """The part of a mail a sign is looked for in."""

    SUBJECT = "subject"
    """The subject line."""

    FROM = "from"
    """The author's name and address."""

    HEADER = "header"
    """Any header field, written as "name: value"."""

    BODY = "body"
    """The opening of the text."""


class RuleError(ValueError):
    """A table that cannot be used. `rule` and `key` say where; the message says what and what is allowed."""

    def __init__(self, *, rule: str, key: str, problem: str) -> None:
        super().__init__(f"bounce rule {rule!r}, key {key!r}: {problem}")
        self.rule = rule
        self.key = key


@dataclass(frozen=True, slots=True)
class Family:
    """Hosts that speak alike: recognised by their names, or by marks they leave in what they say."""

    id: str
    hosts: tuple[str, ...]
    marks: tuple[str, ...]

    def is_of(self, evidence: Evidence) -> bool:
        """Whether the reply comes from this family."""
        host = evidence.host
        return any(host == name or host.endswith("." + name) for name in self.hosts) or any(
            mark in evidence.text or mark in evidence.links or mark in evidence.domains for mark in self.marks
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the tables. Conditions that are None or empty hold for every reply.

    `said` are statuses the reply itself must carry, `unless_statuses` those that silence the rule wherever they stand.
    `confirmed` asks for a second witness beside the words, or, when False, for the lack of one. `even_if_transient`
    lets a hard rule speak for a temporary reply; `vague` marks a rule that says little, so that in a mail the text
    around the reply is asked too.
    """

    id: str
    stage: Stage
    verdict: Verdict
    reason: Reason
    source: str
    example: str
    counter_example: str | None
    codes: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    unless_statuses: tuple[str, ...] = ()
    phases: frozenset[Phase] = frozenset()
    family: Family | None = None
    pattern: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    link: re.Pattern[str] | None = None
    confirmed: bool | None = None
    even_if_transient: bool = False
    vague: bool = False

    def allows(self, evidence: Evidence) -> bool:
        """Whether this rule may speak at all: see the safeguards in the comments."""
        if self.phases:
            if evidence.phase not in self.phases:
                return False
        elif not evidence.phase.names_the_addressee and self.reason in _ABOUT_THE_ADDRESSEE:
            # Before RCPT TO nobody has named the addressee, so nothing said then can be about the addressee.
            return False
        if self.confirmed is not None and (evidence.confirmed or evidence.transient) is not self.confirmed:
            # "User unknown" from a filter or a relay is no proof: the rules for such words want a second witness.
            return False
        if any(_status_in(status, self.unless_statuses) for status in evidence.statuses):
            return False
        # A temporary reply never makes an address fail, except where the DNS has spoken: a domain that does not exist
        # is reported by some mailers under 4.0.0.
        return not (self.verdict is Verdict.HARD and evidence.transient and not self.even_if_transient)

    def match(self, evidence: Evidence, status: str | None) -> str | None:
        """Give the words or the code that made this rule hold, or None. `status` is the one status to look at."""
        if self.codes and not (evidence.code and _code_in(evidence.code, self.codes)):
            return None
        if self.statuses and not (status and _status_in(status, self.statuses)):
            return None
        if self.said and not (evidence.said and _status_in(evidence.said[0], self.said)):
            return None
        if self.family and not self.family.is_of(evidence):
            return None
        seen = " ".join(filter(None, (str(evidence.code) if self.codes else "", status if self.statuses else "")))
        if self.pattern:
            found = self.pattern.search(evidence.text)
            if not found:
                return None
            seen = found[0]
        if self.link:
            found = self.link.search(evidence.links)
            if not found:
                return None
            seen = found[0]
        if self.unless and (self.unless.search(evidence.text) or self.unless.search(evidence.links)):
            return None
        return seen


@dataclass(frozen=True, slots=True)
class Sign:
    """One row of the table of signs: words in a mail that tell what kind of mail it is."""

    id: str
    kind: MailKind
    where: Where
    pattern: re.Pattern[str]
    source: str
    example: str
    counter_example: str | None
    delayed: bool = False

    def match(self, text: str) -> str | None:
        """Give the words that made this sign hold, or None. The text has been through `spell_once`."""
        found = self.pattern.search(text)
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules and signs in force, ready to be asked. Built by `from_tables`, never by hand."""

    families: tuple[Family, ...]
    rules: tuple[Rule, ...]
    signs: tuple[Sign, ...]
    by_stage: Mapping[Stage, tuple[Rule, ...]] = field(repr=False, compare=False)
    vague: frozenset[str]

    @classmethod
    def from_tables(cls, tables: Iterable[Mapping[str, object]]) -> Self:
        """Give the rule book of these tables, each one a parsed TOML file, in the order given.

        Raises RuleError, naming the rule and the key, at the first row that cannot be used.
        """
        read = list(tables)
        for table in read:
            for key in table:
                if key not in {"family", "rule", "sign"}:
                    raise RuleError(rule="", key=key, problem="a table holds [[family]], [[rule]] and [[sign]] only")
        families = [_family(row) for table in read for row in _rows(table, "family")]
        known = {one.id: one for one in families}
        rules = [_rule(row, known) for table in read for row in _rows(table, "rule")]
        signs = [_sign(row) for table in read for row in _rows(table, "sign")]
        taken: set[str] = set()
        for name in [one.id for one in families] + [one.id for one in rules] + [one.id for one in signs]:
            if name in taken:
                raise RuleError(rule=name, key="id", problem="this id is taken by an earlier row")
            taken.add(name)
        return cls(
            families=tuple(families),
            rules=tuple(rules),
            signs=tuple(signs),
            by_stage={stage: tuple(rule for rule in rules if rule.stage is stage) for stage in Stage},
            vague=frozenset(rule.id for rule in rules if rule.vague),
        )


_ABOUT_THE_ADDRESSEE: Final = frozenset(
    {reason for reason, verdict in VERDICT_OF.items() if verdict is Verdict.HARD}
    | {Reason.MAILBOX_FULL, Reason.RECIPIENT_POLICY, Reason.AMBIGUOUS},
)

_CODE_FORM: Final = re.compile(r"[245](?:\d\d|xx)")
_STATUS_FORM: Final = re.compile(r"[245*]\.(?:\d{1,3}|\*)\.(?:\d{1,3}|\*)")
# An upper-case letter in a pattern can never match the text, which is in lower case; \S, \W, \D and \B are meant.
_UPPER: Final = re.compile(r"(?<!\\)[A-Z]")


def _code_in(code: int, wanted: tuple[str, ...]) -> bool:
    text = str(code)
    return any(one == text or (one.endswith("xx") and one[0] == text[0]) for one in wanted)


def _status_in(status: str, wanted: tuple[str, ...]) -> bool:
    parts = status.split(".")
    return any(all(want in ("*", part) for want, part in zip(one.split("."), parts, strict=False)) for one in wanted)


_Words = TypeVar("_Words", bound=StrEnum)


class _Row:
    """One row of a table, read key by key so that each error can name its key and left-over keys are found."""

    def __init__(self, row: Mapping[str, object]) -> None:
        self._left = dict(row)
        self.id = ""
        self.id = self.text("id")

    def fail(self, key: str, problem: str) -> RuleError:
        return RuleError(rule=self.id, key=key, problem=problem)

    def text(self, key: str) -> str:
        value = self._left.pop(key, None)
        if not isinstance(value, str) or not value.strip():
            raise self.fail(key, "must be given, as a text that is not empty")
        return value

    def text_or_none(self, key: str) -> str | None:
        return self.text(key) if key in self._left else None

    def texts(self, key: str) -> tuple[str, ...]:
        """Give a text or a list of texts as a tuple, empty when the key is absent."""
        value = self._left.pop(key, [])
        items: list[object] = list(value) if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownArgumentType]
        texts = [item for item in items if isinstance(item, str) and item]
        if len(texts) != len(items):
            raise self.fail(key, "must be a text or a list of texts")
        return tuple(texts)

    def flag(self, key: str) -> bool:
        value = self._left.pop(key, False)
        if not isinstance(value, bool):
            raise self.fail(key, "must be true or false")
        return value

    def flag_or_none(self, key: str) -> bool | None:
        return self.flag(key) if key in self._left else None

    def one_of(self, key: str, kind: type[_Words]) -> _Words:
        value = self.text(key)
        try:
            return kind(value)
        except ValueError:
            raise self.fail(key, f"{value!r} is not one of {', '.join(kind)}") from None

    def pattern(self, key: str) -> re.Pattern[str] | None:
        """Give the regular expression, or the alternatives of a list as one; None when the key is absent."""
        if key not in self._left:
            return None
        source = "|".join(self.texts(key))
        if not source:
            raise self.fail(key, "must be given, as a text that is not empty")
        if _UPPER.search(source):
            raise self.fail(key, "must be in lower case, as the text it is compared with is")
        try:
            return re.compile(source)
        except re.error as error:
            raise self.fail(key, f"is not a regular expression: {error}") from None

    def end(self) -> None:
        for key in self._left:
            raise self.fail(key, "is not a key of this table")


def _rows(table: Mapping[str, object], key: str) -> Iterable[Mapping[str, object]]:
    rows = table.get(key, [])
    if not isinstance(rows, list):
        raise RuleError(rule="", key=key, problem=f"must be written as [[{key}]]")
    for row in rows:  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(row, Mapping):
            raise RuleError(rule="", key=key, problem=f"must be written as [[{key}]]")
        yield row  # pyright: ignore[reportUnknownVariableType]


def _family(row: Mapping[str, object]) -> Family:
    read = _Row(row)
    family = Family(id=read.id, hosts=read.texts("hosts"), marks=read.texts("marks"))
    if not family.hosts and not family.marks:
        raise read.fail("hosts", "a family needs hosts or marks")
    for key, names in (("hosts", family.hosts), ("marks", family.marks)):
        if any(name != name.lower() for name in names):
            raise read.fail(key, "must be in lower case, as the text it is compared with is")
    read.end()
    return family


def _rule(row: Mapping[str, object], families: Mapping[str, Family]) -> Rule:
    read = _Row(row)
    family = read.text_or_none("family")
    if family is not None and family not in families:
        raise read.fail("family", f"{family!r} is not one of {', '.join(families) or 'none'}")
    phases = read.texts("phase")
    for phase in phases:
        if phase not in set(Phase):
            raise read.fail("phase", f"{phase!r} is not one of {', '.join(Phase)}")
    rule = Rule(
        id=read.id,
        stage=read.one_of("stage", Stage),
        verdict=read.one_of("verdict", Verdict),
        reason=read.one_of("reason", Reason),
        source=read.text("source"),
        example=read.text("example"),
        counter_example=read.text_or_none("counter_example"),
        codes=read.texts("code"),
        statuses=read.texts("status"),
        said=read.texts("said"),
        unless_statuses=read.texts("unless_status"),
        phases=frozenset(Phase(phase) for phase in phases),
        family=families[family] if family else None,
        pattern=read.pattern("pattern"),
        unless=read.pattern("unless"),
        link=read.pattern("link"),
        confirmed=read.flag_or_none("confirmed"),
        even_if_transient=read.flag("even_if_transient"),
        vague=read.flag("vague"),
    )
    read.end()
    _check_forms(read, rule)
    if not (rule.codes or rule.statuses or rule.pattern or rule.link):
        raise read.fail("pattern", "a rule needs a code, a status, a pattern or a link")
    if VERDICT_OF[rule.reason] is not rule.verdict:
        raise read.fail("reason", f"{rule.reason} belongs to the verdict {VERDICT_OF[rule.reason]}, not {rule.verdict}")
    return rule


def _check_forms(read: _Row, rule: Rule) -> None:
    for code in rule.codes:
        if not _CODE_FORM.fullmatch(code):
            raise read.fail("code", f"{code!r} is neither a code such as 550 nor a class such as 5xx")
    for key, statuses in (("status", rule.statuses), ("said", rule.said), ("unless_status", rule.unless_statuses)):
        for status in statuses:
            if not _STATUS_FORM.fullmatch(status):
                raise read.fail(key, f"{status!r} is not a status such as 5.1.1, *.2.2 or 5.7.*")


def _sign(row: Mapping[str, object]) -> Sign:
    read = _Row(row)
    pattern = read.pattern("pattern")
    if pattern is None:
        raise read.fail("pattern", "must be given, as a text that is not empty")
    sign = Sign(
        id=read.id,
        kind=read.one_of("kind", MailKind),
        where=read.one_of("where", Where),
        pattern=pattern,
        source=read.text("source"),
        example=read.text("example"),
        counter_example=read.text_or_none("counter_example"),
        delayed=read.flag("delayed"),
    )
    read.end()
    return sign
