"""The verdict on one reply: the rules asked stage by stage, the first that speaks deciding."""

from typing import Final

from bode.domain.bounces.evidence import Evidence, weigh
from bode.domain.bounces.rules import Rule, RuleBook, Stage
from bode.domain.bounces.verdicts import Classification, Reason, SmtpReply, Verdict

MOST_EVIDENCE: Final = 300
"""Characters of evidence kept with a decision: enough for a person to judge it, too few to carry a message along."""

NO_RULE: Final = "no-rule"
"""The rule id of a decision no rule gave."""

_BARE: Final = (None,)


def classify_reply(reply: SmtpReply, rules: RuleBook) -> Classification:
    """Give the verdict on a negative reply, with the rule that gave it. UNDETERMINED when none speaks.

    A connection lost after the final dot is not a reply: its outcome is unknown and the caller must not ask here.
    """
    evidence = weigh(reply)
    decision = _decide(evidence, rules)
    status = evidence.statuses[0] if evidence.statuses else None
    if decision is None:
        return Classification(
            verdict=Verdict.UNDETERMINED,
            reason=Reason.UNMATCHED,
            rule=NO_RULE,
            evidence=reply.text[:MOST_EVIDENCE],
            status=status,
            code=evidence.code,
        )
    rule, seen = decision
    return Classification(
        verdict=rule.verdict,
        reason=rule.reason,
        rule=rule.id,
        evidence=seen[:MOST_EVIDENCE],
        status=status,
        code=evidence.code,
    )


def _decide(evidence: Evidence, rules: RuleBook) -> tuple[Rule, str] | None:
    for stage in Stage:
        # One status after the other, the innermost first, and each through the whole stage: an inner 5.1.1 says more
        # than the 5.0.0 around it, whatever the order of the rules.
        for status in evidence.statuses or _BARE:
            for rule in rules.by_stage[stage]:
                if rule.statuses or status is (evidence.statuses or _BARE)[0]:
                    seen = rule.match(evidence, status) if rule.allows(evidence) else None
                    if seen is not None:
                        return rule, seen
    return None
