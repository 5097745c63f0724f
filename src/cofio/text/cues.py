"""The cue tables: English words and phrases with weights, and the regexes that types and owners share.

`CUES` feeds the cognitive features: each table maps a weight in (0, 1) to the phrases that carry it. The
strength of a table in a text is the noisy-or of the phrases found, `1 − Π (1 − weight)`: several cues add up
and never pass 1. Inside a table the longest phrase wins, so `not urgent` does not also count as `urgent`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Final

# fmt: off
CUES: Final[Mapping[str, Mapping[float, str]]] = {
    "urgent": {
        0.85: "asap, as soon as possible, immediately, right away, right now, urgent, urgently, emergency,"
              "time critical, drop everything, first priority, top priority, without delay, at once, on fire",
        0.6: "quickly, hurry, hurry up, rush, pressing, tonight, by tomorrow, by today, by tonight, by noon,"
             "end of day, end of the day, by eod, running out of time, out of time, no time, overdue, must,"
             "straight away, high priority, critical, blocker, blocking, before it's too late, time is short",
        0.35: "today, tomorrow, this morning, this afternoon, soon, shortly, deadline, deadlines, need,"
              "needs, priority, have to, has to, we've got to, got to, this week, before the call,"
              "still waiting",
        0.2: "now, next, quick, should, by monday, by tuesday, by wednesday, by thursday, by friday",
    },
    "unhurried": {
        0.85: "not urgent, no rush, no hurry, whenever, take your time, in your own time, not a priority,"
              "when you find time, when you get a chance, no deadline, don't rush, low priority, at leisure",
        0.5: "eventually, some day, someday, at some point, later on, nice to have, long term, sometime,"
             "down the road, down the line, in the future, not now, can wait, could wait, needn't,"
             "don't need,doesn't need, don't have to, doesn't have to, not soon",
    },
    "deadline": {
        0.9: "by today, by tonight, by tomorrow, by noon, by eod, end of day, end of the day, due today,"
             "due tomorrow, by close of business, before tomorrow, within the hour, by this afternoon",
        0.7: "today, tonight, tomorrow, this afternoon, by monday, by tuesday, by wednesday, by thursday,"
             "by friday, by saturday, by sunday, by the weekend, this week, end of the week,"
             "end of this week,before monday, before friday, before the call, before the next meeting,"
             "by the next meeting, due",
        0.45: "next week, by next week, deadline, deadlines, due date, overdue, until monday, until friday,"
              "on monday, on tuesday, on wednesday, on thursday, on friday, by then, in time, next meeting,"
              "next call, in two weeks, cut off, cutoff, in a few days",
        0.25: "this month, end of the month, by the end of, next month, in a month, schedule, timeline, soon,"
              "milestone, in three weeks, in four weeks, before",
        0.08: "this quarter, next quarter, end of the quarter, end of the year, this year, next year",
    },
    "opening": {
        0.8: "at the beginning, at the start, in the beginning, to begin with, opening, introduction, agenda,"
             "first of all, at first, welcome, kick off, initially",
        0.4: "first, start, started, begin, beginning, earlier, before",
    },
    "closing": {
        0.8: "at the end, in the end, wrap up, wrapped up, closing, to conclude, in conclusion, concluded,"
             "goodbye, final decision, at last, thanks everyone, next steps",
        0.4: "finally, last, end, ended, conclusion, after, afterwards, final, summary, eventually",
    },
    "intensifier": {
        0.4: "extremely, incredibly, absolutely, totally, terribly, awfully, insanely, super, hugely,"
             "completely, desperately, massively, outrageous, unbelievable, ridiculous, never ever,"
             "oh my god",
        0.2: "very, really, so much, such a, too, highly, deeply, seriously, quite, a lot, far too, wow,"
             "damn",
    },
    "certain": {
        0.6: "definitely, certainly, for sure, i'm sure, i am sure, i'm certain, i am certain, no doubt,"
             "without a doubt, guaranteed, i guarantee, confirmed, i'm confident, we're confident, confident,"
             "absolutely, undoubtedly, we know, i know, it's clear, clearly, obviously, exactly, of course",
        0.3: "always, never, must, we decided, agreed, proven, the fact is, in fact, yes, sure, will,"
             "correct,true, every, all, done, known",
    },
    "hedged": {
        0.5: "maybe, perhaps, not sure, i'm not sure, i am not sure, don't know, i don't know, no idea,"
             "unclear, unsure, uncertain, i guess, who knows, hard to say, hard to tell, might be wrong,"
             "i wonder, not certain, not confident, not entirely sure, i doubt",
        0.3: "probably, possibly, might, could be, may be, i suppose, sort of, kind of, i think, i believe,"
             "it seems, seems, seem, apparently, somewhat, roughly, approximately, presumably, i assume,"
             "as far as i know, something like, or something, or whatever, i would say, likely, unlikely",
        0.12: "could, would, may, um, uh, er, erm, hmm, like, about, around, should be, guess, think",
    },
    "directive": {
        0.6: "i need you to, i want you to, you must, you have to, you need to, i expect, i'm asking you,"
             "i've decided, i have decided, i decided, we have decided, approved, i approve, i'm approving,"
             "my decision, i insist, make sure, you will, i require, signed off, sign off, not acceptable,"
             "as your manager, as the manager, as project manager, the board, per policy, it is mandatory,"
             "i'm in charge, final say, ceo, director, i authorise, i authorize",
        0.35: "must, have to, has to, need to, needs to, required, requires, let's, let us, we will, we'll,"
              "we shall, please, decision, decided, i want, responsible, responsibility, instructed,"
              "go ahead,your task, your job, ensure, mandatory, policy, boss, manager, i'm going to ask,"
              "policies",
        0.15: "should, move on, next item, agenda, welcome, thank you everyone, okay so, right so, we are,"
              "i recommend, expert, experience",
    },
    "deferent": {
        0.5: "up to you, your call, you decide, if you want, if you like, sorry, my apologies, i apologise,"
             "i apologize, may i, is it okay if, am i allowed, do you mind, if that's okay, i'm new,"
             "just asking,not my decision, i'm not the right person, if i may",
        0.25: "could i, can i, i guess, i was told, they told me, i was asked, i'm not sure, maybe",
    },
    "everyone": {
        0.75: "everyone, everybody, all of you, all of us, you all, you guys, hi all, hello all, hey all,"
              "hey everybody, ladies and gentlemen, all teams, the whole team, entire team, whole group,"
              "anyone, anybody, each of you, every one of you, all client teams, the rest of you,"
              "both of you",
        0.5: "folks, guys, team, teams, the group, people, community, the public, everyone's, all hands,"
             "stakeholders, customers, users, y'all, audience",
        0.2: "we, us, our, ours, we're, we've, we'll, we'd, let's, together, ourselves",
        0.1: "you, your, they, them",
    },
    "exchange": {
        0.4: "what do you think, do you agree, any thoughts, any questions, any comments, any objections,"
             "does that make sense, right guys, what about you, how about you, over to you, your turn,"
             "go ahead,you mean, as you said, like you said, you mentioned, to your point, good question,"
             "thoughts",
        0.25: "you, your, yours, you're, you've, you'll, you'd, yes, yeah, yep, no, nope, okay, agree,"
              "agreed,disagree, exactly, right, sure, thanks, thank you, sorry, hi, hello, hey, please",
    },
    "cause": {
        0.6: "because, because of, due to, caused by, as a result, as a result of, therefore, that's why,"
             "this is why, which is why, led to, leads to, resulted in, results in, the reason, reason why,"
             "root cause, consequently, so that, owing to, thanks to, hence, thus, causes, caused, causing,"
             "triggered, triggers, triggered by, explains why, in order to, on account of",
        0.3: "so, since, reason, reasons, why, cause, then, makes, made, means, meaning, effect, affects,"
             "affected, result, results, consequence, consequences, driven by, comes from, if",
    },
    "dependency": {
        0.65: "depends on, depend on, depending on, dependent on, dependency, dependencies, blocked by,"
              "blocked on, blocking, blocker, blockers, waiting for, waiting on, wait for, prerequisite,"
              "prerequisites, relies on, rely on, contingent on, can't start until, cannot start until,"
              "before we can, before i can, not until, hinges on, requires, subject to,"
              "needs to be done first,is a precondition, gated by, in order to do that",
        0.4: "until, unless, as soon as, as long as, only if, only when, required, require, provided that,"
             "need from, needs from, it depends, once, upstream, downstream, builds on, based on, on top of",
        0.2: "after, before, if, when, first, need, needs, needed, wait, waiting, follow up, then",
    },
    "impact": {
        0.6: "huge impact, big impact, major impact, massive, huge, critical, crucial, outage,"
             "breaking change,game changer, game changing, all users, all customers, all clients,"
             "everyone is affected,catastrophic, disaster, severe, severely, vital, essential, enormous,"
             "dramatically,significantly, major, lose customers, data loss, goes down, went down, revenue",
        0.35: "impact, impacts, impacted, affect, affects, affected, important, significant, serious, costs,"
              "cost, expensive, million, billion, thousand, thousands, millions, break, breaks, broken, big,"
              "budget, money, profit, customers, users, production, launch, security, key, big deal, main,"
              "substantial, matters, fails, failure, failed, save, saves, double, doubles, half",
        0.15: "problem, issue, better, worse, improve, improves, change, changes, more, less, large, lot",
    },
    "minor": {
        0.6: "minor, trivial, tiny, cosmetic, negligible, no impact, little impact, not important,"
             "doesn't matter, does not matter, no big deal, not a big deal, insignificant, nitpick, small",
        0.3: "little, a bit, slightly, just a, only a, barely, somewhat",
    },
    "aligned": {
        0.6: "aligned, alignment, on the same page, in line with, consensus, we all agree, i agree, agreed,"
             "fully agree, our goal, our goals, our strategy, our vision, our mission, roadmap, on track,"
             "consistent with, supports our, common goal, shared goal, unanimous, okr, okrs, objectives,"
             "strategic, fits with, strategy, makes sense",
        0.35: "agree, agrees, goal, goals, objective, priority, priorities, vision, mission, target, targets,"
              "plan, plans, together, support, supports, same, exactly, absolutely, sounds good, yes, scope,"
              "requirements, good idea, great idea, purpose, align, principle, in favour, in favor",
        0.15: "yeah, right, sure, okay, we, our, good, fine, want",
    },
    "misaligned": {
        0.6: "disagree, i disagree, don't agree, do not agree, not aligned, misaligned, conflict,"
             "conflicts,contradicts, contradict, out of scope, off topic, against our, goes against,"
             "opposed, object to,not convinced, diverge, at odds, off track, i object, doesn't fit,"
             "inconsistent with, dispute",
        0.3: "but, however, against, instead, not our, concern, concerned, no, wrong, different, pushback,"
             "on the other hand, rather not",
    },
    "far": {
        0.8: "long term, long run, in the long run, next year, years from now, in a few years, in five years,"
             "over the next years, vision, five year, multi year, next decade, the future, in the future,"
             "years ahead, future generations, strategic",
        0.5: "roadmap, next quarter, this year, by the end of the year, end of the year, eventually, someday,"
             "some day, down the road, down the line, strategy, future, six months, next release, phase two,"
             "ultimately, years, at some point, later this year, next phase, quarters, next fork",
        0.25: "next month, in a month, months, quarter, later, next sprint, plan, plans, planning,"
              "going forward, in the coming, upcoming, goal, goals, this month, year, milestone",
        0.1: "next week, next time, will, going to, gonna, soon, next, next meeting, in two weeks, expect",
    },
    "near": {
        0.5: "right now, today, this morning, this afternoon, tonight, immediately, just now, at the moment,"
             "currently, short term, asap, yesterday, this minute, this second, right away",
        0.25: "now, tomorrow, this week, already, last week, just, quick",
    },
    "opportunity": {
        0.6: "opportunity, opportunities, upside, win win, potential, advantage, competitive advantage,"
             "could gain, growth, breakthrough, benefit, benefits, beneficial, promising, untapped, big win,"
             "new market, new markets, new revenue, quick win, profit, profitable, could grow, room to grow",
        0.3: "gain, gains, grow, improve, improves, improvement, better, great, win, wins, chance, new, idea,"
             "ideas, success, successful, exciting, excited, innovative, innovation, save, saves, boost,"
             "expand, attractive, useful, helpful, enable, enables, good, unlock, easier, cheaper, faster",
    },
    "risk": {
        0.6: "risk, risks, risky, danger, dangerous, threat, threats, vulnerability, vulnerabilities,"
             "liability,worst case, could fail, might fail, lawsuit, exposure, hazard,"
             "single point of failure, at stake,security hole, data loss, breach, outage, attack, attacks,"
             "attacker, exploit, might break,could break, could lose, might lose, afraid, worried,"
             "jeopardise, jeopardize",
        0.3: "problem, problems, issue, issues, fail, fails, failure, failed, concern, concerns, concerned,"
             "worry, lose, loss, delay, delays, delayed, bug, bugs, broken, break, breaks, wrong, bad,"
             "worse,difficult, unsafe, unstable, careful, expensive, late, slip, blocked, stuck, conflict,"
             "too many",
    },
}
# fmt: on

# How people hand out and take on work, answer and ask. Shared by `types` (rules, head inputs) and `owners`.
_FLAGS: Final = re.IGNORECASE
COMMITMENT: Final = re.compile(
    r"\b(?:i'll|i will|i'm going to|i am going to|i'm gonna|i shall|i can (?:do|take|try|look|check|send|"
    r"write|share|add|make|open|post|create|update|ask|put|follow|work|prepare|get|help|run|have a|ping|"
    r"reach|also)|let me|i plan to|i promise|leave (?:it|that) (?:to|with) me|i(?:'ll| will)? take (?:that|"
    r"this|it|care)|i'd be happy to|happy to (?:take|do|help|write|share|look)|i volunteer|we'll (?:get|"
    r"make|send|have|try|share|open|work|add|update|post|do) )",
    _FLAGS,
)
ACCEPTANCE: Final = re.compile(
    r"^\W*(?:yes|yeah|yep|sure|okay|ok|absolutely|of course|definitely|sounds good|"
    r"no problem|will do|got it)\b|\b(?:will do|can do that|on it)\b",
    _FLAGS,
)
REQUEST: Final = re.compile(
    r"\b(?:can|could|would|will) (?:you|someone|somebody|anyone|anybody|we get you to)\b|\bplease\b|"
    r"\bi need you to\b|\bi(?:'d| would) like you to\b|\bi want you to\b|\bif you (?:can|could)\b|"
    r"\byou (?:need|have|should|ought)(?: to)?\b|\bmake sure (?:to|that|you)\b|\bwould you mind\b",
    _FLAGS,
)


def strengths(words: Sequence[str]) -> dict[str, float]:
    """The strength in [0, 1) of every table whose cues occur in `words` (lower case, in order).

    Tables without a cue in the text are absent. One pass: cost grows with the words, not with the tables.
    """
    silence: dict[str, float] = {}
    busy_until: dict[str, int] = {}
    for start, pair in enumerate(zip_longest(words, words[1:])):
        cues = _BY_TWO_WORDS.get(pair)
        if cues is None:
            cues = _BY_WORD.get(pair[0], ())
        for phrase, size, table, rest in cues:
            if busy_until.get(table, 0) > start or (
                size > 2 and tuple(words[start : start + size]) != phrase
            ):
                continue
            busy_until[table] = start + size
            silence[table] = silence.get(table, 1.0) * rest
    return {table: 1.0 - rest for table, rest in silence.items()}


# A phrase, how many words it has, its table, and 1 − its weight there.
_Cue = tuple[tuple[str, ...], int, str, float]


def _cues() -> list[_Cue]:
    """The cues of all tables, the longest first, so that the first match is the longest one."""
    cues = []
    for table, by_weight in CUES.items():
        for weight, listing in by_weight.items():
            for listed in listing.split(","):
                phrase = tuple(listed.split())
                cues.append((phrase, len(phrase), table, 1.0 - weight))
    return sorted(cues, key=lambda cue: -cue[1])


def _by_word(cues: Sequence[_Cue]) -> dict[str | None, tuple[_Cue, ...]]:
    """The cues of one word, under it."""
    index: dict[str | None, list[_Cue]] = {}
    for cue in cues:
        if cue[1] == 1:
            index.setdefault(cue[0][0], []).append(cue)
    return {word: tuple(found) for word, found in index.items()}


def _by_two_words(cues: Sequence[_Cue]) -> dict[tuple[str, str | None], tuple[_Cue, ...]]:
    """All cues that may begin where these two words begin, under both, if any of them is longer than a word."""
    index: dict[tuple[str, str | None], list[_Cue]] = {}
    for cue in cues:
        if cue[1] > 1:
            index.setdefault((cue[0][0], cue[0][1]), []).append(cue)
    return {pair: (*found, *_BY_WORD.get(pair[0], ())) for pair, found in index.items()}


_BY_WORD: Final = _by_word(_cues())
_BY_TWO_WORDS: Final = _by_two_words(_cues())
