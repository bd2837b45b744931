"""BlackJack: published values, odds against brute force, what Gymnasium pays, and nothing that leaks."""

import math
from collections import Counter
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from gymnasium.envs.toy_text.blackjack import BlackjackEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from gfn_envs.checks import check_task
from gfn_envs.env import TextEnv
from gfn_envs.exact import analyse, analyse_graph, enumerate_states
from gfn_envs.problems import split_of
from gfn_envs.rollout import rollout
from gfn_envs.tasks.blackjack import BlackJack, BlackJackProblem, BlackJackState
from gfn_envs.tasks.blackjack_odds import BUST, CARDS, NATURAL, value_of

ENDLESS = BlackJack()
FAMILY = ENDLESS.problems()
TWO_ACES = BlackJackProblem((1, 1), 2)
SIXTEEN = BlackJackProblem((6, 10), 10)
ODDS = {card: Fraction(4 if card == 10 else 1, 13) for card in CARDS}
RULES = [
    ENDLESS,
    BlackJack(dealer_hits_soft_17=True),
    BlackJack(natural=True, reward="gym"),
    BlackJack(sab=True, doubling=True),
    BlackJack(doubling=True, natural=True, reward="gym", dealer_hits_soft_17=True),
]


# -- an independent dynamic program over hard totals, for the endless deck -------------------------
def best(hard, ace):
    return hard + 10 if ace and hard <= 11 else hard


@cache
def dealer_ends(hard, ace, cards, hits_soft_17):
    """Returns {(total or 0 above 21, natural): probability}, in floats."""
    total = best(hard, ace)
    if cards > 1 and (total > 17 or (total == 17 and not (hits_soft_17 and ace and hard == 7))):
        return {(total if total <= 21 else 0, cards == 2 and total == 21): 1.0}
    ends = {}
    for card, odds in ODDS.items():
        for end, p in dealer_ends(hard + card, ace or card == 1, cards + 1, hits_soft_17).items():
            ends[end] = ends.get(end, 0.0) + float(odds) * p
    return ends


def gymnasium_reward(own, natural, dealer, dealer_natural, task):
    """Returns what the source of Blackjack-v1 says after `stick`."""
    reward = float(own > dealer) - float(own < dealer)
    if task.sab and natural and not dealer_natural:
        return 1.0
    if not task.sab and task.natural and natural and reward == 1.0:
        return 1.5
    return reward


def recursion(task, problem, choose, score):
    """Returns the value of a problem: `choose` among actions, `score` of a payoff at the end."""

    def ends(hard, ace, cards, stake):
        if hard > 21:
            return score(-stake)
        shown = dealer_ends(problem.dealer, problem.dealer == 1, 1, task.dealer_hits_soft_17)
        own, natural = best(hard, ace), cards == 2 and best(hard, ace) == 21
        return sum(p * score(stake * gymnasium_reward(own, natural, *end, task)) for end, p in shown.items())

    @cache
    def value(hard, ace, cards):
        if hard > 21:
            return score(-1.0)
        after = [(float(odds), hard + card, ace or card == 1) for card, odds in ODDS.items()]
        found = [ends(hard, ace, cards, 1.0), sum(p * value(h, a, min(cards + 1, 3)) for p, h, a in after)]
        if task.doubling and cards == 2:
            found.append(sum(p * ends(h, a, 3, 2.0) for p, h, a in after))
        return choose(found, best(hard, ace))

    return value(sum(problem.player), 1 in problem.player, 2)


def mean(found, total):
    return sum(found) / len(found)


def highest(found, total):
    return max(found)


def stick_on_17(found, total):
    return found[0] if total >= 17 else found[1]


def won(payoff):
    return float(payoff > 0)


def paid(payoff):
    return payoff


# -- the values that hold --------------------------------------------------------------------------
@pytest.fixture(scope="module")
def graphs():
    return [enumerate_states(ENDLESS, problem) for problem in FAMILY]


def over_family(values):
    return sum(w * value for w, value in zip(FAMILY.weights, values, strict=True))


def payoffs(graph):
    values = np.zeros(len(graph.states))
    for index in graph.terminals:
        values[index] = graph.task.payoff(graph.states[index])
    return values


def policy(graph, choose):
    """Returns the deterministic policy that plays `choose(index, state)` at every state."""
    found = []
    for index, (state, actions) in enumerate(zip(graph.states, graph.actions, strict=True)):
        chosen = choose(index, state) if actions else None
        found.append(np.array([float(action == chosen) for action in actions]))
    return found


def test_yardsticks_of_the_family_to_all_printed_digits(graphs):
    found = [analyse_graph(graph) for graph in graphs]
    assert f"{over_family(a.optimal_return for a in found):.6f}" == "-0.046556"
    assert f"{over_family(a.chance_return for a in found):.6f}" == "-0.395896"
    assert f"{over_family(a.optimum for a in found):.6f}" == "0.431630"


def test_play_for_the_highest_return_wins_less_often_than_play_for_wins(graphs):
    def wins(graph):
        options = graph.action_values(graph.best_values(with_rewards=True), with_rewards=True)

        def choose(index, state):
            return graph.actions[index][int(np.argmax(options[index]))]

        return graph.reached(policy(graph, choose)) @ graph.successes

    assert f"{over_family(map(wins, graphs)):.6f}" == "0.429457"


def test_stick_on_17_or_more(graphs):
    def expected(graph):
        reached = graph.reached(policy(graph, lambda _, state: "stick" if state.total >= 17 else "hit"))
        return reached @ payoffs(graph)

    assert f"{over_family(map(expected, graphs)):.6f}" == "-0.079295"
    independent = [recursion(ENDLESS, problem, stick_on_17, paid) for problem in FAMILY]
    assert over_family(independent) == pytest.approx(over_family(map(expected, graphs)), abs=1e-12)


@pytest.mark.parametrize("task", RULES, ids=str)
def test_yardsticks_are_those_of_an_independent_dynamic_program(task):
    problems = list(FAMILY)[:: 1 if task is ENDLESS else 9]
    for problem in [*problems, BlackJackProblem((1, 10), 10), BlackJackProblem((1, 10), 1)]:
        found = analyse(task, problem)
        for value, choose, score in (
            (found.chance, mean, won),
            (found.chance_return, mean, paid),
            (found.optimum, highest, won),
            (found.optimal_return, highest, paid),
        ):
            assert value == pytest.approx(recursion(task, problem, choose, score), abs=1e-12)


def test_known_options_move_the_optimum_the_right_way():
    def optimum(**options):
        return sum(analyse(BlackJack(**options), problem).optimal_return for problem in problems)

    problems = [problem for problem in FAMILY if problem.dealer in (1, 6) and sum(problem.player) >= 9]
    plain = optimum()
    assert optimum(dealer_hits_soft_17=True) < plain < optimum(natural=True) < optimum(natural=True, doubling=True)
    assert plain < optimum(sab=True)


# -- flows -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("reward", ["win", "gym"])
@pytest.mark.parametrize("problem", [SIXTEEN, BlackJackProblem((1, 6), 7), BlackJackProblem((5, 6), 1)], ids=str)
def test_expected_flows_are_those_of_the_tree_of_histories(problem, reward):
    """Keeps every history apart, so that merging states is shown to change nothing."""
    task = BlackJack(reward=reward)
    shown = dealer_ends(problem.dealer, problem.dealer == 1, 1, False)
    floor = 1e-4

    def reward_of(payoff):
        return max(1 + payoff, floor) if reward == "gym" else 1.0 if payoff > 0 else floor

    def edge_flows(history):
        total = best(sum(history), 1 in history)
        stick = sum(p * reward_of(gymnasium_reward(total, False, *end, task)) for end, p in shown.items())
        return stick, sum(float(odds) * flow((*history, card)) for card, odds in ODDS.items())

    def flow(history):
        return reward_of(-1.0) if sum(history) > 21 else sum(edge_flows(history))

    graph = enumerate_states(task, problem)
    log_flows = graph.log_flows(graph.log_rewards)
    assert log_flows[0] == pytest.approx(math.log(flow(problem.player)), abs=1e-12)
    edges = edge_flows(problem.player)
    assert graph.flow_policy(log_flows)[0] == pytest.approx(np.array(edges) / sum(edges), abs=1e-12)


def test_histories_explode_and_states_do_not():
    @cache
    def histories(hard):
        return 1 + sum(histories(hard + card) for card in CARDS if hard + card <= 21)

    graph = enumerate_states(ENDLESS, TWO_ACES)
    assert (histories(2), len(graph.states) - len(graph.terminals)) == (521_984, 20)


# -- finite decks ----------------------------------------------------------------------------------
def without(counts, card):
    return tuple(count - (value == card) for value, count in zip(CARDS, counts, strict=True))


def full(decks, *cards):
    counts = (4 * decks,) * 9 + (16 * decks,)
    for card in cards:
        counts = without(counts, card)
    return counts


def in_order(counts, hand, hits_soft_17=False):
    """Yields (probability, result) of every sequence that a dealer can draw, in exact fractions."""
    total, usable = value_of(hand)
    if len(hand) > 1 and (total > 17 or (total == 17 and not (usable and hits_soft_17))):
        yield Fraction(1), total if total <= 21 else BUST
        return
    for card, count in zip(CARDS, counts, strict=True):
        if count:
            for p, result in in_order(without(counts, card), (*hand, card), hits_soft_17):
                yield Fraction(count, sum(counts)) * p, result


@pytest.mark.parametrize("decks", [1, 2])
@pytest.mark.parametrize(
    ("hand", "dealer", "soft_17"),
    [((6, 10), 10, False), ((2, 3, 4, 4, 4, 4), 7, False), ((1, 1, 1, 8), 6, True), ((7, 10), 1, True)],
    ids=str,
)
def test_dealer_odds_are_those_of_all_sequences(decks, hand, dealer, soft_17):
    task = BlackJack(decks=decks, dealer_hits_soft_17=soft_17)
    exact = Counter()
    for p, result in in_order(full(decks, dealer, *hand), (dealer,), soft_17):
        exact[result] += p
    state = BlackJackState(BlackJackProblem(hand[:2], dealer), hand, *value_of(hand))
    found = {after.dealer: p for p, after in task.outcomes(state, "stick")}
    assert sum(exact.values()) == 1
    assert found == pytest.approx({result: float(p) for result, p in exact.items()}, abs=1e-14)


def test_odds_by_hand():
    task = BlackJack(decks=1)
    drawn = {after.hand: p for p, after in task.outcomes(task.reset(SIXTEEN), "hit")}
    assert drawn[5, 6, 10] == pytest.approx(4 / 49)
    assert drawn[6, 6, 10] == pytest.approx(3 / 49)
    assert drawn[6, 10, 10] == pytest.approx(14 / 49)
    natural = BlackJack(decks=1, sab=True)
    for dealer, partners in ((10, 3), (1, 15)):
        ends = natural.outcomes(natural.reset(BlackJackProblem((1, 10), dealer)), "stick")
        assert {after.dealer: p for p, after in ends}[NATURAL] == pytest.approx(partners / 49)


def test_a_card_that_is_gone_is_not_drawn():
    task = BlackJack(decks=1)
    hand = (1, 1, 1, 2)
    state = BlackJackState(BlackJackProblem((1, 1), 1), hand, *value_of(hand))
    assert [after.hand for _, after in task.outcomes(state, "hit")] == [(*hand, card) for card in CARDS[1:]]


def test_a_hole_card_dealt_first_gives_the_same_expected_return():
    """Plays as at a table: the hole card leaves the deck before the player draws."""

    def stand(counts, hole, hand):
        total = value_of(hand)[0]
        return sum(p * ((total > end) - (total < end)) for p, end in in_order(counts, (SIXTEEN.dealer, hole)))

    def play(counts, hole, hand):
        total = value_of(hand)[0]
        if total > 21:
            return Fraction(-1)
        if total >= 17:
            return stand(counts, hole, hand)
        odds = [(Fraction(count, sum(counts)), card) for card, count in zip(CARDS, counts, strict=True) if count]
        return sum(p * play(without(counts, card), hole, (*hand, card)) for p, card in odds)

    deck = full(1, SIXTEEN.dealer, *SIXTEEN.player)
    holes = [(Fraction(count, sum(deck)), card) for card, count in zip(CARDS, deck, strict=True)]
    exact = sum(p * play(without(deck, hole), hole, SIXTEEN.player) for p, hole in holes)
    graph = enumerate_states(BlackJack(decks=1), SIXTEEN)
    reached = graph.reached(policy(graph, lambda _, state: "stick" if state.total >= 17 else "hit"))
    assert reached @ payoffs(graph) == pytest.approx(float(exact), abs=1e-12)


def test_many_decks_come_near_the_endless_one():
    gaps = [
        abs(analyse(BlackJack(decks=decks), SIXTEEN).optimal_return - analyse(ENDLESS, SIXTEEN).optimal_return)
        for decks in (1, 2, 6)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.005


# -- chance ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("task", [BlackJack(doubling=True), BlackJack(decks=1, doubling=True)], ids=str)
def test_what_is_seen_decides_what_can_follow(task):
    """States with one observation have one future, whatever deal and order of cards led to them."""
    futures = {}
    for player in [(10, 6), (6, 10), (5, 9), (2, 9), (9, 5), (1, 10), (7, 7), (3, 8)]:
        graph = enumerate_states(task, BlackJackProblem(player, 9))
        for state, actions in zip(graph.states, graph.actions, strict=True):
            seen = {a: sorted((task.observe(s), p) for p, s in task.outcomes(state, a)) for a in actions}
            assert futures.setdefault(task.observe(state), seen) == seen


@pytest.mark.parametrize("decks", [None, 1, 2, 6])
def test_before_the_dealer_plays_only_one_card_of_the_dealer_is_told(decks):
    task = BlackJack(decks=decks)
    state = task.reset(BlackJackProblem((2, 3), 9))
    assert (state.hand, state.dealer) == ((2, 3), None)
    for _, after in task.outcomes(state, "hit"):
        assert after.dealer is None
        assert task.observe(after).endswith("Dealer shows: 9.")
    assert all(after.dealer in {BUST, 17, 18, 19, 20, 21} for _, after in task.outcomes(state, "stick"))


cards = st.sampled_from(CARDS)


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([*RULES, BlackJack(decks=1, doubling=True), BlackJack(decks=6, sab=True)]),
    st.tuples(st.sampled_from(range(5, 11)), st.sampled_from([1, *range(5, 11)])),
    cards,
)
def test_outcomes_sum_to_one_in_all_reachable_states(task, player, dealer):
    graph = enumerate_states(task, BlackJackProblem(player, dealer))
    for edges in graph.edges:
        for outcomes in edges:
            assert math.fsum(p for p, _ in outcomes) == pytest.approx(1.0, abs=1e-12)
            assert min(p for p, _ in outcomes) > 0
            assert len({child for _, child in outcomes}) == len(outcomes)


def test_step_is_not_defined():
    with pytest.raises(NotImplementedError, match="'hit' has many outcomes in blackjack; use outcomes"):
        ENDLESS.step(ENDLESS.reset(SIXTEEN), "hit")


# -- the contract ----------------------------------------------------------------------------------
@pytest.mark.parametrize("task", [*RULES, BlackJack(decks=1), BlackJack(decks=6, doubling=True)], ids=str)
def test_the_contract_holds(task):
    problems = [SIXTEEN, BlackJackProblem((1, 10), 1), BlackJackProblem((9, 4), 6)]
    checks = check_task(task, [TWO_ACES, *problems] if task.decks is None else problems)
    assert [check for check in checks if not check.passed or check.reason] == []


@pytest.mark.parametrize("decks", [None, 1])
def test_horizon_and_observation_length_are_tight(decks):
    task = BlackJack(decks=decks, doubling=True)
    graph = enumerate_states(task, BlackJackProblem((1, 1), 10))
    depth = [0] * len(graph.states)
    for index, edges in enumerate(graph.edges):
        for _, child in (outcome for outcomes in edges for outcome in outcomes):
            depth[child] = max(depth[child], depth[index] + 1)
    assert max(depth) == task.horizon == (20 if decks is None else 10)
    longest = max(len(task.observe(state)) for state in graph.states)
    assert task.max_observation_length - 25 <= longest <= task.max_observation_length


@pytest.mark.parametrize(("decks", "horizon"), [(None, 20), (1, 10), (2, 13), (6, 20)])
def test_horizon_is_the_longest_hand_of_the_deck(decks, horizon):
    assert BlackJack(decks=decks).horizon == horizon


def test_it_plays_in_the_shell_and_in_rollouts():
    class Sticks:
        def act(self, observations, admissible_actions, rng):
            return ["stay"] * len(observations)

    env = TextEnv(ENDLESS, FAMILY)
    ends = set()
    for seed in range(30):
        env.reset(seed=seed, options={"problem": {"player": ["K", 6], "dealer": "A"}})
        _, reward, terminated, _, info = env.step("STAND")
        assert terminated
        assert (reward > 0) == info["success"]
        ends.add(reward)
    assert ends == {1.0, -1.0}
    found = rollout(ENDLESS, Sticks(), [SIXTEEN] * 10, np.random.default_rng(0))
    assert {len(trajectory.steps) for trajectory in found} == {1}
    assert {step.log_pb for trajectory in found for step in trajectory.steps} == {0.0}


# -- rules -----------------------------------------------------------------------------------------
def ends_of(task, problem, action, **fields):
    found = [s for _, s in task.outcomes(task.reset(problem), action)]
    return next(s for s in found if all(getattr(s, key) == value for key, value in fields.items()))


@pytest.mark.parametrize("options", [{}, {"natural": True}, {"sab": True}], ids=str)
def test_payoffs_are_those_of_gymnasium(options):
    env, task = BlackjackEnv(**options), BlackJack(**options)
    for player in ((1, 10), (10, 10), (10, 7), (1, 8), (4, 10)):
        for dealer in ((1, 10), (10, 1), (10, 5, 6), (10, 10), (9, 8), (10, 6, 10)):
            env.reset(seed=0)
            env.player, env.dealer = list(player), list(dealer)
            reward = env.step(0)[1]
            total = value_of(dealer)[0]
            told_apart = task.sab and player == (1, 10) and sorted(dealer) == [1, 10]
            result = NATURAL if told_apart else total if total <= 21 else BUST
            end = ends_of(task, BlackJackProblem(player, dealer[0]), "stick", dealer=result)
            assert task.payoff(end) == reward


def test_a_natural_counts_in_the_deal_only():
    task = BlackJack(decks=1, natural=True)
    start = task.reset(BlackJackProblem((10, 1), 6))
    assert task.actions(start) == ("stick", "hit")
    win = start._replace(dealer=BUST)
    assert (task.payoff(win), task.solution(win)) == (1.5, "player natural, dealer bust: win")
    drawn = BlackJackState(start.problem, (1, 10, 10), 21, False, dealer=20)
    assert (task.payoff(drawn), task.solution(drawn)) == (1.0, "player 21, dealer 20: win")
    assert task.payoff(start._replace(dealer=21)) == 0.0
    assert BlackJack(decks=1).payoff(win) == 1.0


def test_rewards_of_every_result():
    for dealer, payoff in ((BUST, 1.0), (17, -1.0), (20, -1.0)):
        end = ends_of(ENDLESS, SIXTEEN, "stick", dealer=dealer)
        assert ENDLESS.payoff(end) == payoff == ENDLESS.step_reward(ENDLESS.reset(SIXTEEN), "stick", end)
        assert ENDLESS.log_reward(end) == (0.0 if payoff > 0 else math.log(1e-4))
    gym = BlackJack(reward="gym", doubling=True, natural=True)
    twenty = BlackJackProblem((10, 10), 6)
    for dealer, log_reward in ((BUST, math.log(2)), (20, 0.0), (21, math.log(1e-4))):
        assert gym.log_reward(ends_of(gym, twenty, "stick", dealer=dealer)) == log_reward
    eleven = BlackJackProblem((5, 6), 6)
    for dealer, log_reward in ((17, math.log(3)), (21, 0.0)):
        assert gym.log_reward(ends_of(gym, eleven, "double", dealer=dealer, total=21)) == log_reward
    lost = ends_of(gym, eleven, "double", dealer=19, total=18)
    assert (gym.payoff(lost), gym.log_reward(lost)) == (-2.0, math.log(1e-4))
    natural = ends_of(gym, BlackJackProblem((1, 10), 6), "stick", dealer=20)
    assert gym.log_reward(natural) == math.log(2.5)


def test_doubling_is_the_first_decision_or_none():
    task = BlackJack(doubling=True)
    start = task.reset(SIXTEEN)
    assert task.actions(start) == ("stick", "hit", "double")
    assert task.aliases(start) == {"stand": "stick", "stay": "stick", "double down": "double"}
    on = ends_of(task, SIXTEEN, "hit", total=18)
    assert task.actions(on) == ("stick", "hit")
    with pytest.raises(KeyError):
        task.outcomes(on, "double")
    bust = [s for _, s in task.outcomes(start, "double") if s.total > 21]
    assert {(s.doubled, s.dealer, task.payoff(s)) for s in bust} == {(True, None, -2.0)}
    assert len(bust) == 5
    assert task.solution(bust[0]) == "player bust doubled: loss"
    assert task.solution(ends_of(task, SIXTEEN, "double", total=20, dealer=20)) == "player 20 doubled, dealer 20: draw"


def test_an_ace_is_worth_11_as_long_as_it_can():
    on = ends_of(ENDLESS, BlackJackProblem((1, 1), 6), "hit", total=13)
    assert on.usable
    assert [(s.total, s.usable) for _, s in ENDLESS.outcomes(on, "hit")] == [
        *((total, True) for total in range(14, 22)),
        (12, False),
        (13, False),
    ]
    assert [value_of(hand) for hand in ((1, 10), (1, 1), (1, 5, 6), (10, 9, 5))] == [
        (21, True),
        (12, True),
        (12, False),
        (24, False),
    ]


def test_texts():
    start = "Beat the dealer without going over 21. The dealer stands on all 17s and draws from an endless deck.\n"
    assert ENDLESS.observe(ENDLESS.reset(BlackJackProblem((6, 1), 10))) == (
        start + "Your cards: A 6. Total: 17 (usable ace). Dealer shows: 10."
    )
    assert ENDLESS.observe(ends_of(ENDLESS, SIXTEEN, "hit", total=18)) == start + "Your total: 18. Dealer shows: 10."
    assert ENDLESS.observe(ends_of(ENDLESS, SIXTEEN, "hit", total=26)) == (
        start + "Your total: 26. Dealer shows: 10. You lose."
    )
    task = BlackJack(decks=2, dealer_hits_soft_17=True, natural=True, doubling=True)
    start = (
        "Beat the dealer without going over 21. The dealer hits soft 17 and draws from 2 decks. A natural pays 1.5.\n"
    )
    assert task.observe(ends_of(task, SIXTEEN, "double", total=18, dealer=BUST)) == (
        start + "Your cards: 2 6 10. Total: 18. Doubled. Dealer has: bust. You win."
    )


def test_pictures():
    picture = ENDLESS.render_text(ENDLESS.reset(BlackJackProblem((1, 10), 6)))
    assert "| 6| | ?|" in picture
    assert "| A| |10|" in picture
    further = ENDLESS.render_text(ends_of(ENDLESS, BlackJackProblem((1, 10), 6), "hit", total=18))
    assert "and 7 in further cards, an ace as 1\nTotal: 18. Dealer shows: 6." in further
    task = BlackJack(decks=1)
    assert "| 2| | 6| |10|" in task.render_text(ends_of(task, SIXTEEN, "hit", total=18))


# -- problems --------------------------------------------------------------------------------------
@pytest.mark.parametrize("decks", [None, 1, 2, 6])
def test_weights_are_the_probabilities_of_the_deal(decks):
    family = BlackJack(decks=decks).problems()
    exact = Counter()
    for dealer in CARDS:
        for first in CARDS:
            for second in CARDS:
                p = Fraction(1)
                for number, card in enumerate((dealer, first, second)):
                    counts = full(decks or 1, *(dealer, first)[: number if decks else 0])
                    p *= Fraction(counts[card - 1], sum(counts))
                exact[BlackJackProblem((first, second), dealer)] += p
    assert sum(exact.values()) == 1
    assert len(family) == len(exact) == 550
    found = dict(zip(family.problems, family.weights, strict=True))
    assert found == pytest.approx({problem: float(p) for problem, p in exact.items()}, rel=1e-12)


def test_the_order_of_the_players_cards_makes_no_other_problem():
    one, other = BlackJackProblem((10, 1), 6), BlackJackProblem((1, 10), 6)
    assert one == other
    assert one.id == "blackjack/A-10-vs-6" == one.canonical
    assert one == ENDLESS.problem_from_json({"player": ["K", "a"], "dealer": "6"})
    assert ENDLESS.problem_from_json(one.to_json()) == one
    assert {split_of(problem) for problem in FAMILY} == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"decks": 3}, "decks must be 1, 2, 6, or None for an endless deck, got 3"),
        ({"decks": True}, "decks must be"),
        ({"natural": 1}, "natural must be True or False, got 1"),
        ({"natural": True, "sab": True}, "no meaning with sab=True"),
        ({"reward": "x"}, "reward must be one of"),
    ],
    ids=str,
)
def test_wrong_options_get_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        BlackJack(**options)


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ({"player": [1], "dealer": 2}, r"'player' must be a list of two cards, got \[1\]"),
        ({"player": 12, "dealer": 2}, "'player' must be a list of two cards, got 12"),
        ({"player": [1, 11], "dealer": 2}, "a card of 'player' must be .* got 11"),
        ({"player": [1, 1.0], "dealer": 2}, "a card of 'player' must be .* got 1.0"),
        ({"player": [1, 2]}, "a card of 'dealer' must be .* got None"),
        ({"player": [1, 2], "dealer": "Z"}, "got 'Z'"),
        ({"player": [1, 2], "dealer": 3, "hole": 4}, "unknown field 'hole'"),
    ],
    ids=str,
)
def test_wrong_problems_get_one_sentence(problem, sentence):
    with pytest.raises(ValueError, match=sentence):
        ENDLESS.problem_from_json(problem)


@pytest.mark.parametrize("problem", [BlackJackProblem((1, 2, 3), 4), BlackJackProblem((1, 12), 4)], ids=str)
def test_problems_are_checked_without_json_too(problem):
    with pytest.raises(ValueError, match="'player' must be"):
        ENDLESS.check_problem(problem)
