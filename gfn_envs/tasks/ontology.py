"""Theories of kinds and their properties: chaining sentences, and drawing new paragraphs of them.

One individual is followed through the rules, so that a proof is a path in a graph without cycles.
How sentences are read and written is the subject of `gfn_envs.tasks.sentences`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gfn_envs.tasks.sentences import QUERY_PREFIX, Claim, Predicate, Rule, parse_query, parse_sentence


# -- chaining --------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Theory:
    """The given fact, the rules in their order, and the query; `read_theory` makes and checks it.

    Claims are named by the index of the rule that derives them, the given fact by -1.
    """

    start: Claim
    rules: tuple[Rule, ...]
    query: Claim

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """The texts of the rules."""
        return tuple(rule.text for rule in self.rules)

    @cached_property
    def indices(self) -> dict[str, int]:
        """The place of each text among the rules."""
        return {text: index for index, text in enumerate(self.sentences)}

    @cached_property
    def claims(self) -> tuple[str, ...]:
        """What each rule derives and, last and so also at index -1, the given fact."""
        derived = [Claim(self.start.individual, rule.predicate).text for rule in self.rules]
        return (*derived, self.start.text)

    @cached_property
    def applicable(self) -> tuple[tuple[int, ...], ...]:
        """The rules that apply to each claim, in their order; indices as in `claims`."""
        found = []
        for predicate in (*(rule.predicate for rule in self.rules), self.start.predicate):
            key = predicate.key
            found.append(tuple(i for i, rule in enumerate(self.rules) if (rule.subject.lower(), True, False) == key))
        return tuple(found)

    @cached_property
    def decisive(self) -> frozenset[int]:
        """The rules that derive the query or its negation."""
        decided = (self.query.predicate.key, self.query.predicate.opposite.key)
        return frozenset(i for i, rule in enumerate(self.rules) if rule.predicate.key in decided)

    @cached_property
    def distances(self) -> tuple[float, ...]:
        """Fewest rules from each claim to one that decides the query; infinite where none is."""
        return self._rules_to_decide(min, float("inf"))

    @cached_property
    def longest(self) -> int:
        """Most rules from the given fact to the first claim that decides the query; the rules go in no circle."""
        return int(self._rules_to_decide(max, -float("inf"))[-1])

    def _rules_to_decide(self, best: Callable[..., float], undecided: float) -> tuple[float, ...]:
        """Returns the best number of rules from each claim to one that decides the query, or `undecided`."""
        found = [undecided] * (len(self.rules) + 1)
        for _ in found:
            for claim, rules in enumerate(self.applicable):
                found[claim] = best((1 if i in self.decisive else 1 + found[i] for i in rules), default=undecided)
        return tuple(found)

    @cached_property
    def derivable(self) -> frozenset[int]:
        """The rules that apply to a claim which follows from the given fact."""
        found: set[int] = set()
        waiting = list(self.applicable[-1])
        while waiting:
            rule = waiting.pop()
            if rule not in found:
                found.add(rule)
                waiting += self.applicable[rule]
        return frozenset(found)

    @cached_property
    def truth_values(self) -> tuple[bool, ...]:
        """The truth values of the query that can be derived: none, one, or both."""
        derived = {self.rules[i].predicate.key for i in self.decisive & self.derivable}
        return tuple(sorted(key == self.query.predicate.key for key in derived))

    @property
    def answer(self) -> str:
        """'True' or 'False'."""
        return str(self.truth_values[0])

    def proofs(self, longest: int, claim: int = -1) -> Iterator[tuple[int, ...]]:
        """Yields every chain of at most `longest` rules from a claim to the first that decides the query."""
        for rule in self.applicable[claim] if longest >= self.distances[claim] else ():
            if rule in self.decisive:
                yield (rule,)
            else:
                yield from ((rule, *rest) for rest in self.proofs(longest - 1, rule))


@lru_cache(maxsize=1 << 12)
def read_theory(question: str, query: str) -> Theory:
    """Reads a paragraph with rules and one fact about the individual of the query.

    Raises:
        ValueError: a sentence is outside the grammar or repeated, there is not exactly one fact,
            the rules go in a circle, or the query has not exactly one truth value.
    """
    asked = parse_query(query)
    texts = re.split(r"(?<=\.) ", question)
    sentences = [parse_sentence(text) for text in texts]
    facts = [sentence for sentence in sentences if isinstance(sentence, Claim)]
    if len(set(texts)) < len(texts):
        raise ValueError(f"{next(t for t in texts if texts.count(t) > 1)!r} is given more than once")
    if len(facts) != 1 or facts[0].individual != asked.individual:
        given = " ".join(fact.text for fact in facts[:3]) or "none"
        raise ValueError(f"exactly one fact about {asked.individual} must be given, got: {given}")
    theory = Theory(facts[0], tuple(s for s in sentences if isinstance(s, Rule)), asked)
    if _has_cycle(theory):
        raise ValueError("the rules go in a circle; a concept cannot be above itself")
    if asked.predicate.key in (facts[0].predicate.key, facts[0].predicate.opposite.key):
        raise ValueError(f"{asked.text!r} is decided by the given fact; there would be nothing to derive")
    if len(theory.truth_values) != 1:
        found = "neither it nor its negation" if not theory.truth_values else "both it and its negation"
        raise ValueError(f"{asked.text!r} must have one truth value, but {found} can be derived")
    return theory


def _has_cycle(theory: Theory) -> bool:
    """Says whether some rules are still there when all that lead nowhere have been taken away."""
    left = set(range(len(theory.rules)))
    while dead := {i for i in left if not left.intersection(theory.applicable[i])}:
        left -= dead
    return bool(left)


def structure(theory: Theory) -> str:
    """Returns the theory without its words: the same for every order, wording and renaming.

    Each predicate is replaced by its colour under colour refinement, in which the given fact and the
    query are marked. Two theories that differ in more than names may in rare cases share a structure.
    """
    start, query = theory.start.predicate.key[:2], theory.query.predicate.key[:2]
    edges = [((r.subject.lower(), True), r.predicate.negated, r.predicate.key[:2]) for r in theory.rules]
    nodes = {start, query, *(e[0] for e in edges), *(e[2] for e in edges)}
    signs: dict[tuple[str, bool], object] = {node: (node == start, node == query, node[1]) for node in nodes}
    colours: dict[tuple[str, bool], int] = {}
    while len(set(signs.values())) > len(set(colours.values())):
        ranks = {sign: rank for rank, sign in enumerate(sorted(set(signs.values()), key=repr))}
        colours = {node: ranks[sign] for node, sign in signs.items()}
        signs = {node: (colours[node], *_surroundings(node, edges, colours)) for node in nodes}
    rules = sorted(f"{colours[a]}{'-' if negated else '+'}{colours[b]}" for a, negated, b in edges)
    asked = "-" if theory.query.predicate.negated else "+"
    return f"{colours[start]}?{asked}{colours[query]} {' '.join(rules)}"


def _surroundings(
    node: tuple[str, bool],
    edges: Sequence[tuple[tuple[str, bool], bool, tuple[str, bool]]],
    colours: dict[tuple[str, bool], int],
) -> tuple[tuple[tuple[bool, int], ...], tuple[tuple[bool, int], ...]]:
    above = sorted((negated, colours[b]) for a, negated, b in edges if a == node)
    below = sorted((negated, colours[a]) for a, negated, b in edges if b == node)
    return tuple(above), tuple(below)


# -- worlds from which problems are drawn ----------------------------------------------------------
NAMES = ("Alex", "Fae", "Max", "Polly", "Rex", "Sally", "Sam", "Stella", "Wren")
_FICTIONAL_CONCEPTS = """
borpus brimpus dumpus fompus gerpus gorpus grimpus impus jompus kerpus lempus lorpus numpus rempus
rompus shumpus sterpus terpus timpus tumpus vumpus worpus wumpus yimpus yumpus zhorpus zumpus
"""
_FICTIONAL_PROPERTIES = """
aggressive amenable bitter bright brown cold earthy fast feisty floral fruity happy hot kind large
liquid loud luminous melodic metallic muffled nervous opaque orange rainy red shy slow sour spicy sweet
transparent windy wooden
"""
_FICTIONAL_HEIGHT = 12
_TAXONOMY = """
tabby cat feline carnivore mammal amniote tetrapod vertebrate chordate bilaterian animal
poodle dog canine carnivore
humpback whale cetacean mammal
merino sheep bovid ungulate mammal
sparrow songbird bird amniote
adder viper snake reptile amniote
tortoise reptile
frog amphibian tetrapod
trout fish vertebrate
lamprey vertebrate
painted_lady butterfly lepidopteran insect arthropod protostome bilaterian
tarantula spider arachnid arthropod
nematode protostome
sponge animal
"""
_TRAITS = """
tabby: striped -curly; cat: whiskered; feline: agile -horned; carnivore: carnivorous -herbivorous
mammal: warm-blooded -cold-blooded -gilled; amniote: air-breathing; tetrapod: jawed; vertebrate: backboned
chordate: notochordal; bilaterian: symmetrical; animal: multicellular -unicellular; poodle: curly -striped
dog: domesticated; canine: toothed -hoofed; whale: aquatic -small; humpback: -orange; cetacean: -four-legged
sheep: herbivorous -carnivorous; merino: woolly; bovid: horned; ungulate: hoofed; sparrow: small -domesticated
songbird: melodious; bird: feathered -whiskered -toothed; adder: -melodious; viper: venomous; frog: -scaly -woolly
snake: cold-blooded -warm-blooded -winged; reptile: scaly -feathered; tortoise: -agile -venomous
amphibian: smooth-skinned; trout: bony -air-breathing; fish: gilled -smooth-skinned; lamprey: -jawed
painted lady: orange; butterfly: winged -aquatic; lepidopteran: scaly; insect: six-legged -eight-legged
arthropod: segmented -bony -notochordal; protostome: -backboned; tarantula: hairy; spider: eight-legged -six-legged
arachnid: -winged; nematode: -segmented -hairy; sponge: -symmetrical; amoeba: unicellular -multicellular
"""


class Statement(NamedTuple):
    """A rule before it is put into words."""

    subject: str
    predicate: Predicate


@dataclass(frozen=True)
class World:
    """All that is true of some concepts: at most one above each, and properties.

    No property is said twice on the way up from a concept, so that a chain is the only proof of its end.
    """

    above: dict[str, str]
    traits: tuple[Statement, ...]

    def lineage(self, concept: str) -> list[str]:
        """Returns a concept and all that are above it, from the lowest up."""
        found = [concept]
        while found[-1] in self.above:
            found.append(self.above[found[-1]])
        return found


@lru_cache(maxsize=1)
def true_world() -> World:
    """Returns a small taxonomy of real animals."""
    above: dict[str, str] = {}
    for line in _TAXONOMY.strip().splitlines():
        concepts = [word.replace("_", " ") for word in line.split()]
        above.update(pairwise(concepts))
    traits = []
    for entry in _TRAITS.strip().replace("\n", ";").split(";"):
        concept, properties = entry.split(":")
        for word in properties.split():
            negated = word.startswith("-")
            traits.append(Statement(concept.strip(), Predicate(word[negated:], False, negated)))
    return World(above, tuple(traits))


def fictional_world(rng: np.random.Generator, negation: bool) -> World:
    """Draws two chains of invented concepts, one with a property each, one with the opposites of these."""
    concepts = rng.permutation(_FICTIONAL_CONCEPTS.split()).tolist()
    properties = rng.permutation(_FICTIONAL_PROPERTIES.split()).tolist()
    ones, others = concepts[:_FICTIONAL_HEIGHT], concepts[_FICTIONAL_HEIGHT : 2 * _FICTIONAL_HEIGHT]
    traits = []
    for one, other, word in zip(ones, others, properties, strict=False):
        predicate = Predicate(word, False, negation and bool(rng.integers(2)))
        traits += [Statement(one, predicate), Statement(other, predicate.opposite)]
    return World(dict([*pairwise(ones), *pairwise(others)]), tuple(traits))


@dataclass(frozen=True, slots=True)
class Shape:
    """What a drawn problem is to be like; see the options of PrOntoQA."""

    hops: int
    distractors: int
    shortcuts: int
    negation: bool


def draw(world: World, shape: Shape, rng: np.random.Generator) -> tuple[str, str]:
    """Draws a question and a query that follows from it by a chain of `shape.hops` rules.

    The first distractor says the opposite of a concept off the chain; the others are true of
    concepts on it, above it or below it where there are enough, and of others where there are not.
    """
    ends = _chains(world, shape)
    chain, end = ends[rng.integers(len(ends))]
    steps = [Statement(a, Predicate(b, True)) for a, b in pairwise(chain)]
    steps.append(Statement(chain[-1], end))
    skips = [Statement(a, step.predicate) for a, step in zip(chain, steps[1:], strict=False)]
    chosen = [skips[i] for i in rng.permutation(len(skips))[: shape.shortcuts]]
    stated = steps + chosen + _distractors(world, shape, steps, rng)
    rules = [_worded(stated[i], rng) for i in rng.permutation(len(stated))]
    individual = NAMES[rng.integers(len(NAMES))]
    fact = Claim(individual, Predicate(chain[0], True))
    query = Claim(individual, end if rng.integers(2) else end.opposite)
    return " ".join([*(rule.text for rule in rules), fact.text]), QUERY_PREFIX + query.text


def _chains(world: World, shape: Shape) -> list[tuple[list[str], Predicate]]:
    """Returns every chain of concepts, lowest first, with a property of its last concept."""
    found = []
    for concept in dict.fromkeys([*world.above, *world.above.values()]):
        chain = world.lineage(concept)[: shape.hops]
        ends = [t.predicate for t in world.traits if t.subject == chain[-1] and len(chain) == shape.hops]
        found += [(chain, end) for end in ends if shape.negation or not end.negated]
    return found


def _distractors(world: World, shape: Shape, steps: Sequence[Statement], rng: np.random.Generator) -> list[Statement]:
    start, end = steps[0].subject, steps[-1].predicate
    lineage = world.lineage(start)
    every = [*(Statement(a, Predicate(b, True)) for a, b in world.above.items()), *world.traits]
    free = [s for s in every if s not in steps and (shape.negation or not s.predicate.negated)]
    mixed = [free[i] for i in rng.permutation(len(free))]
    first = [s for s in mixed if s.predicate == end.opposite][:1]
    near = [s for s in mixed if s.subject in lineage or s.predicate == Predicate(start, True)]
    far = [s for s in mixed if s not in near and s not in first]
    return [*first, *near, *far][: shape.distractors]


def _worded(statement: Statement, rng: np.random.Generator) -> Rule:
    return Rule(("Each", "Every", "", "")[rng.integers(4)], statement.subject, statement.predicate)
