"""Evaluation of one agent: hand-computed values, exact against sampled, and the folder that keeps it."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from gfn_envs.actions import IllegalActionError
from gfn_envs.evaluation import ProblemEvaluation, end_correlation, evaluate_agent, log_weights
from gfn_envs.evaluation_results import SHOWN_SCORES, Evaluation, shown_scores, summarise_family
from gfn_envs.exact import enumerate_states
from gfn_envs.files import finite_json, write_folder
from gfn_envs.greedy import GreedyAgent, greedy_success
from gfn_envs.metrics import importance_bounds
from gfn_envs.problems import ProblemSet
from gfn_envs.rollout import rollout
from gfn_envs.stochastic import ActionNoise
from gfn_envs.tasks.blocksworld import BlocksWorld
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem
from gfn_envs.tasks.prontoqa import PrOntoQA

SMALL = ProblemSet((Game24Problem((1, 4, 6)), Game24Problem((2, 3, 4))), (3.0, 1.0))


class Actor:
    """Plays with probabilities that a function of the legal actions gives; `act` alone, without telling them."""

    def __init__(self, weigh=lambda actions: np.ones(len(actions))):
        self.weigh = weigh

    def probabilities(self, actions):
        weights = np.asarray(self.weigh(actions), dtype=float)
        return weights / weights.sum()

    def act(self, observations, admissible_actions, rng):
        return [legal[rng.choice(len(legal), p=self.probabilities(legal))] for legal in admissible_actions]


class Telling(Actor):
    """Says how it plays."""

    def action_probabilities(self, observations, admissible_actions):
        return [self.probabilities(legal) for legal in admissible_actions]


class Predicting(Actor):
    """Can only say what it likes best."""

    def predict(self, observation, admissible_actions, deterministic=False):
        assert deterministic
        return admissible_actions[int(self.probabilities(admissible_actions).argmax())], None


class Thinking(Predicting):
    """Cannot list the thoughts over which its probabilities would be summed."""

    thought_tokens = 3

    def action_probabilities(self, observations, admissible_actions):
        raise ValueError("this policy thinks")


def plus(actions):
    """Prefers '+' on the number line, three to one."""
    return [3.0 if action == "+" else 1.0 for action in actions]


class Perfect:
    """The exact sampler of one task's target, by its flows."""

    def __init__(self, task, problems):
        self.known = {}
        for problem in problems:
            graph = enumerate_states(task, problem)
            policy = graph.flow_policy(graph.log_flows(graph.log_rewards))
            self.known |= {task.observe(state): policy[index] for index, state in enumerate(graph.states)}

    def action_probabilities(self, observations, admissible_actions):
        return [self.known[text] for text in observations]

    def act(self, observations, admissible_actions, rng):
        chosen = zip(admissible_actions, self.action_probabilities(observations, admissible_actions), strict=True)
        return [legal[rng.choice(len(legal), p=p / p.sum())] for legal, p in chosen]


def evaluated(task, agent, problems=SMALL, samples=32, k=4, seed=0, **options):
    rng = np.random.default_rng(seed)
    return list(evaluate_agent(task, agent, problems, samples, k, rng, **options))


# -- one problem ---------------------------------------------------------------------------------
def test_yardsticks_by_hand():
    """On 4 6 (target 24) there are 6 moves or so, one of which wins; everything follows from that number."""
    task, problem = Game24(count=2), Game24Problem((4, 6))
    graph = enumerate_states(task, problem)
    moves = len(graph.actions[0])
    (one,) = evaluated(task, Telling(), ProblemSet((problem,)), samples=20, k=3, exact=True)
    scores, chance = one.scores, 1 / moves
    assert scores["chance"] == scores["exact_success"] == scores["greedy_success"] == pytest.approx(chance)
    assert scores["chance_pass_at_k"] == pytest.approx(1 - (1 - chance) ** 3)
    assert scores["chance_accuracy"] == scores["chance_coverage"] == pytest.approx(1 - (1 - chance) ** 20)
    assert scores["optimum"] == scores["optimum_pass_at_k"] == 1
    z = 1 + (moves - 1) * 1e-4
    assert scores["log_z"] == pytest.approx(math.log(z))
    assert scores["target_success_at_1"] == pytest.approx(1 / z)
    assert scores["total_variation"] == pytest.approx(1 / z - chance)
    assert scores["elbo"] == scores["chance_elbo"] == pytest.approx(math.log(moves) + (1 - chance) * math.log(1e-4))
    assert scores["normalised_score"] == pytest.approx((scores["success_at_1"] - chance) / (1 - chance))
    assert one.solutions == {
        graph.solutions[0]: {
            "sampled": scores["success_at_1"],
            "target": pytest.approx(1 / z),
            "chance": pytest.approx(chance),
            "agent": pytest.approx(chance),
        }
    }
    assert len(one.trajectories) == 20


def test_sampled_and_exact_elbo_agree():
    task, problem = NumberLine(), NumberLineProblem(0, 3, 0, 5)
    agent = Telling(plus)
    (one,) = evaluated(task, agent, ProblemSet((problem,)), exact=True)
    played = rollout(task, agent, [problem] * 4000, np.random.default_rng(1))
    weights = log_weights(played, agent)
    elbo, log_z = importance_bounds(weights)
    assert elbo == pytest.approx(one.scores["elbo"], abs=5 * weights.std() / math.sqrt(4000))
    ratio = np.exp(weights - one.scores["log_z"])  # has mean 1: the estimate of Z is without bias
    assert np.mean(ratio) == pytest.approx(1, abs=5 * ratio.std() / math.sqrt(4000))
    assert one.scores["elbo"] < log_z
    for wrong in (weights - weights.mean() + elbo + 1, log_weights(played, Telling())):  # another agent's probabilities
        assert importance_bounds(wrong)[0] != pytest.approx(one.scores["elbo"], abs=0.2)


def test_a_yardstick_of_other_problems_than_the_score_is_left_out():
    """Where some problems cannot be listed, the mean over the others is that of other problems."""
    task, problem = NumberLine(), NumberLineProblem(0, 3, 0, 5)
    (listed,) = evaluated(task, Telling(plus), ProblemSet((problem,)))
    unknown = ("target_success_at_1", "optimum", "log_z", "target_coverage", "target_distinct_solutions", "coverage")
    hidden = replace(listed, scores={**listed.scores, **dict.fromkeys(unknown, math.nan)})
    rng = np.random.default_rng(0)
    whole, part = summarise_family([listed, listed], rng), summarise_family([listed, hidden], rng)
    assert part["success_at_1"] == whole["success_at_1"]
    for name in ("target_success_at_1", "optimum", "log_z", "target_diversity"):
        assert math.isfinite(whole[name].value)
        assert math.isnan(part[name].value), name
    for name in ("chance", "coverage", "target_coverage", "normalised_score", "optimum_normalised_score"):
        assert part[name].value == pytest.approx(whole[name].value), "it is of the same problems as the score"


def test_what_is_no_agent_and_no_set_of_problems_is_named():
    problem, rng = NumberLineProblem(0, 3, 0, 5), np.random.default_rng(0)
    with pytest.raises(TypeError, match=r"a method act, and function has none; .* by gfn_envs\.agents\.FunctionAgent"):
        evaluate_agent(NumberLine(), plus, ProblemSet((problem,)), 2, 1, rng)
    with pytest.raises(TypeError, match=r"must be a ProblemSet, got list; see take\(count, rng\)"):
        evaluate_agent(NumberLine(), Telling(), [problem], 2, 1, rng)


def test_what_broke_off_weighs_as_a_failure():
    """Its partial reward is 1 where the rules have none: log Z would be found without a success."""
    agent = Telling()
    (broken,) = rollout(NumberLine(), agent, [NumberLineProblem(0, 3, 0, 5)], np.random.default_rng(0), max_steps=1)
    assert broken.log_reward == 0
    assert log_weights([broken], agent, beta=2.0) == pytest.approx([2.0 * math.log(1e-4) + math.log(2)])


def test_the_exact_sampler_sees_log_z_in_every_sample_and_every_score_at_its_ceiling():
    agent = Perfect(Game24(count=3), SMALL)
    for exact in (False, True):
        for one in evaluated(Game24(count=3), agent, samples=8, exact=exact):
            assert one.scores["elbo"] == pytest.approx(one.scores["log_z"], abs=1e-9)
            if not exact:
                assert one.scores["log_z_estimate"] == pytest.approx(one.scores["log_z"], abs=1e-9)
                continue
            assert one.scores["total_variation"] == pytest.approx(0, abs=1e-12)
            assert one.scores["jensen_shannon"] == pytest.approx(0, abs=1e-12)
            assert one.scores["spearman"] == pytest.approx(1)
            assert one.scores["exact_success"] == pytest.approx(one.scores["target_success_at_1"])


def test_many_samples_come_to_the_yardstick_of_the_same_player():
    """Uniform play evaluated by sampling has the scores that are listed as chance."""
    rows = [row.scores for seed in range(40) for row in evaluated(Game24(count=3), Actor(), seed=seed)]
    names = ("pass_at_k", "accuracy", "distinct_solutions", "distinct_at_16", "pass_at_16", "coverage")
    for name in (*names, "sampled_distance"):
        differences = [row[name] - row[f"chance_{name}"] for row in rows]
        assert np.mean(differences) == pytest.approx(0, abs=4 * np.std(differences) / math.sqrt(len(rows)) + 1e-9)


def test_greedy_follows_the_best_action_and_shares_ties():
    """From 0 to 3 in 5 steps: always '+' arrives; the uniform player's ties are its chance."""
    problems = ProblemSet((NumberLineProblem(0, 3, 0, 5), NumberLineProblem(3, 0, 0, 5)))
    for agent in (Telling(plus), Predicting(plus), Thinking(plus)):
        there, back = (row.scores["greedy_success"] for row in evaluated(NumberLine(), agent, problems))
        assert (there, back) == (1, 0)
    assert math.isnan(evaluated(NumberLine(), Actor(plus), problems)[0].scores["greedy_success"])
    for exact in (False, True):
        for row in evaluated(NumberLine(), Telling(), problems, exact=exact):
            assert row.scores["greedy_success"] == pytest.approx(row.scores["chance"])


def test_greedy_success_under_chance_is_the_expectation():
    """The optimal actions as the greedy ones: their success is the optimum, found by values alone."""
    task = ActionNoise(NumberLine(), probability=0.2)
    problem = NumberLineProblem(0, 2, 0, 5)
    graph = enumerate_states(task, problem)
    values = graph.best_values()

    def best(indices):
        worth = [[sum(p * values[c] for p, c in outcomes) for outcomes in graph.edges[i]] for i in indices]
        return [np.eye(len(row))[int(np.argmax(row))] for row in worth]

    assert 0 < greedy_success(graph, best) < 1
    assert greedy_success(graph, best) == pytest.approx(values[0])
    (one,) = evaluated(task, Telling(), ProblemSet((problem,)))
    assert math.isnan(one.scores["elbo"])
    assert math.isnan(one.scores["log_z_estimate"])


def test_a_greedy_agent_plays_what_it_is_asked_for():
    agent = GreedyAgent(Telling(plus))
    assert agent.act(["", ""], [("-", "+"), ("+", "-")], np.random.default_rng(0)) == ["+", "+"]
    drawn = {GreedyAgent(Telling()).act([""], [("-", "+")], np.random.default_rng(s))[0] for s in range(20)}
    assert drawn == {"-", "+"}


def test_the_correlation_is_over_ends():
    graph = enumerate_states(Game24(count=2), Game24Problem((4, 6)))
    success = graph.successes
    likes, dislikes = np.where(success > 0, 0.9, 0.0), np.where(success > 0, 0.0, 0.5)
    others = [i for i in graph.terminals if not success[i]]
    likes[others] = 0.1 / len(others)
    dislikes[others] = 1 / len(others)
    assert end_correlation(graph, likes) == pytest.approx(1)
    assert end_correlation(graph, dislikes) == pytest.approx(-1)


# -- answers that name no legal action ----------------------------------------------------------------
class Careless:
    """Answers illegally with a given probability, and predicts "Action: RIGHT" or nothing."""

    def __init__(self, share, predicted="Action: RIGHT"):
        self.share, self.predicted = share, predicted

    def act(self, observations, admissible_actions, rng):
        return ["sideways" if rng.random() < self.share else str(rng.choice(legal)) for legal in admissible_actions]

    def predict(self, observation, admissible_actions, deterministic=False):
        return self.predicted, None


def test_attempts_with_an_illegal_answer_are_counted_failures():
    """One in five answers is illegal, so that more than a fifth of attempts end by one; the scores stay as many."""
    task, problem = NumberLine(), NumberLineProblem(1, 2, 0, 5)
    legal, careless = (evaluated(task, Careless(s), ProblemSet((problem,)), samples=2000)[0].scores for s in (0, 0.2))
    assert legal["illegal_answers"] == 0
    assert careless["illegal_answers"] > 0.2
    assert careless["success_at_1"] < legal["success_at_1"] - 0.1
    (never,) = evaluated(task, Careless(1), ProblemSet((problem,)), samples=8)
    assert never.scores["illegal_answers"] == 1
    assert never.scores["success_at_1"] == never.scores["coverage"] == 0
    assert never.scores["sampled_distance"] == pytest.approx(1)
    assert {t.illegal_answer for t in never.trajectories} == {"sideways"}
    assert set(never.scores) == set(legal)


def test_greedy_play_reads_answers_as_sampled_play_does():
    """An alias in a mark counts, and what names no action fails, where states are listed and where they are not."""
    line = ProblemSet((NumberLineProblem(0, 5, 0, 5),))
    for predicted, success in (("Action: RIGHT", 1.0), ("sideways", 0.0)):
        (listed,) = evaluated(NumberLine(), Careless(0, predicted), line, samples=4)
        assert listed.scores["greedy_success"] == success
    (large,) = evaluated(LARGE, Careless(0, "sideways"), LARGE.problems().take(1, np.random.default_rng(0)), samples=4)
    assert large.scores["greedy_success"] == 0.0


def test_scores_of_ends_are_0_where_no_end_was_reached():
    task = PrOntoQA(hops=1)
    problems = task.problems().take(2, np.random.default_rng(0))
    legal, never = (evaluated(task, Careless(share), problems, samples=4) for share in (0, 1))
    assert [set(row.scores) for row in legal] == [set(row.scores) for row in never]
    assert {value for row in never for name, value in row.scores.items() if name.startswith("end_")} == {0.0}
    assert legal[0].scores["end_answer_correct"] >= 0


def test_an_agent_that_tells_probabilities_must_play_legally():
    class Contradicts(Telling):
        def act(self, observations, admissible_actions, rng):
            return ["sideways"] * len(observations)

    with pytest.raises(IllegalActionError):
        evaluated(NumberLine(), Contradicts(), ProblemSet((NumberLineProblem(0, 2, 0, 5),)))


# -- what is too large, what is refused -------------------------------------------------------------
LARGE = BlocksWorld(blocks=6, length=8, slack=12)


def test_a_problem_too_large_to_list_keeps_what_can_be_known():
    problems = LARGE.problems().take(1, np.random.default_rng(0))
    (one,) = evaluated(LARGE, Telling(), problems, samples=4)
    names = set(evaluated(Game24(count=3), Telling())[0].scores)
    assert set(one.scores) == names
    unknown = {name for name, value in one.scores.items() if math.isnan(value)}
    assert {"coverage", "n_solutions", "n_states", "log_z", "target_pass_at_k"} <= unknown
    assert not {"success_at_1", "greedy_success", "chance", "chance_pass_at_k", "elbo"} & unknown
    assert one.solutions == {}


def test_bad_requests_are_refused_before_anything_is_played():
    cases = (
        ({"k": 5, "samples": 4}, "k=5 and 4 samples"),
        ({"k": 0}, "k=0"),
        ({"beta": 0.0}, "beta"),
        ({"beta": math.inf}, "beta"),
    )
    for options, reason in cases:
        with pytest.raises(ValueError, match=reason):
            evaluate_agent(Game24(count=3), None, SMALL, **{"samples": 8, "k": 1, "rng": None, **options})
    with pytest.raises(ValueError, match="Actor has no action_probabilities"):
        evaluate_agent(Game24(count=3), Actor(), SMALL, 4, 1, None, exact=True)
    with pytest.raises(ValueError, match="Thinking"):
        evaluated(Game24(count=3), Thinking(), exact=True)
    assert math.isnan(evaluated(Game24(count=3), Thinking())[0].scores["elbo"])
    with pytest.raises(ValueError, match="too many states"):
        evaluated(LARGE, Telling(), LARGE.problems().take(1, np.random.default_rng(0)), samples=4, exact=True)


# -- families ------------------------------------------------------------------------------------
def problem(weight, **scores):
    return ProblemEvaluation("p", "", weight, scores, {}, ())


def test_family_scores_by_hand():
    family = [
        problem(3.0, success_at_1=0.5, chance=0.1, optimum=0.9, distinct_solutions=3.0, accuracy=1.0),
        problem(1.0, success_at_1=0.1, chance=0.1, optimum=0.1, distinct_solutions=0.0, accuracy=0.0),
    ]
    found = summarise_family(family, np.random.default_rng(0))
    assert found["success_at_1"].value == pytest.approx(0.4)
    assert found["normalised_score"].value == pytest.approx((0.4 - 0.1) / (0.7 - 0.1))
    assert found["diversity"].value == 3  # a problem without a success does not count
    assert found["worst_decile_success_at_1"].value == pytest.approx(0.1)
    assert found["chance_worst_decile_success_at_1"].value == pytest.approx(0.1)
    assert "diversity_at_16" not in found
    unsolved = summarise_family([problem(1.0, distinct_solutions=0.0, accuracy=0.0)], np.random.default_rng(0))
    assert math.isnan(unsolved["diversity"].value)


def test_every_shown_score_has_its_yardsticks():
    found = evaluated(Game24(count=3), Telling(), exact=True), evaluated(Game24(count=3), Telling())
    known = {name for rows in found for name in summarise_family(rows, np.random.default_rng(0))}
    for score in SHOWN_SCORES:
        assert score.name in known
        assert score.chance in known | {"chance_log_z_estimate"}
        assert score.target in known
        assert score.best in known | {""}


# -- a task's own scores -----------------------------------------------------------------------------
def prove(**options):
    task = PrOntoQA(hops=1, slack=1, **options)
    return task, task.problems().take(2, np.random.default_rng(0))


def expected(task, state, name):
    """What uniform legal play has of a detail at its ends, by recursion over the rules."""
    if not (legal := task.actions(state)):
        return float(task.details(state)[name])
    return sum(expected(task, task.step(state, action), name) for action in legal) / len(legal)


def test_scores_of_a_tasks_own_stand_between_chance_and_the_exact_sampler():
    task, problems = prove()
    for problem, one in zip(problems, evaluated(task, Telling(), problems), strict=True):
        graph = enumerate_states(task, problem)
        ends = [graph.states[index] for index in graph.terminals]
        rewards = np.exp([task.log_reward(end) for end in ends])
        for name in ("answer_correct", "proof_complete"):
            values = np.array([float(task.details(end)[name]) for end in ends])
            played = [task.details(replayed(task, problem, t.actions))[name] for t in one.trajectories]
            assert one.scores[f"end_{name}"] == pytest.approx(np.mean(played))
            assert one.scores[f"chance_end_{name}"] == pytest.approx(expected(task, task.reset(problem), name))
            assert one.scores[f"target_end_{name}"] == pytest.approx(rewards @ values / rewards.sum())


def replayed(task, problem, actions):
    state = task.reset(problem)
    for action in actions:
        state = task.step(state, action)
    return state


def test_they_are_known_by_play_where_states_cannot_be_listed(monkeypatch):
    task, problems = prove()
    exact = evaluated(task, Telling(), problems)
    monkeypatch.setattr("gfn_envs.evaluation._listed", lambda task, problem: None)
    for known, simulated in zip(exact, evaluated(task, Telling(), problems), strict=True):
        name = "chance_end_answer_correct"
        assert simulated.scores[name] == pytest.approx(known.scores[name], abs=0.1)
        assert math.isnan(simulated.scores["target_end_answer_correct"])


def test_only_what_a_task_has_is_shown():
    (_, one), (none, _) = (evaluated(*given) for given in ((prove()[0], Telling(), prove()[1]), (Game24(), Telling())))
    assert shown_scores(none.scores) == SHOWN_SCORES
    own = shown_scores(one.scores)[len(SHOWN_SCORES) :]
    assert [(score.name, score.label) for score in own] == [
        ("end_answer_correct", "answer correct"),
        ("end_proof_complete", "proof complete"),
    ]
    hostile = shown_scores(["end_{samples.__class__}"])[-1]
    assert hostile.label.format(k=1, samples=2) == "{samples.  class  }"
    assert hostile.meaning.format(k=1, samples=2) == "Mean of `{samples.__class__}` over attempts."
    assert {name for score in own for name in (score.chance, score.target)} <= one.scores.keys()


# -- files ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def evaluation():
    rows = tuple(evaluated(Game24(count=3), Telling(), exact=True))
    return Evaluation("even", "gfn_envs/Game24-v0", 32, 4, 0, 1.0, True, {"split": "test"}, rows)


def test_the_files_return_what_was_found(evaluation, tmp_path):
    folder = tmp_path / "deep" / "evaluation"
    write_folder(folder, evaluation.files())
    assert [path.name for path in folder.parent.iterdir()] == ["evaluation"]
    loaded = Evaluation.load(folder / "evaluation.json")
    assert finite_json(loaded.to_json()) == finite_json(evaluation.to_json())
    rows = list(csv.DictReader(io.StringIO((folder / "evaluation.csv").read_text())))
    assert [float(row["weight"]) for row in rows] == [0.75, 0.25]
    assert [float(row["chance"]) for row in rows] == [one.scores["chance"] for one in evaluation.problems]
    assert len((folder / "trajectories.jsonl").read_text().splitlines()) == 64
    with pytest.raises(ValueError, match="exists; name a new or an empty folder"):
        write_folder(folder, {})


def test_a_folder_that_cannot_be_finished_does_not_appear(tmp_path):
    with pytest.raises(TypeError):
        write_folder(tmp_path / "half", {"a": "text", "b": None})
    assert not (tmp_path / "half").exists()


@pytest.mark.parametrize(
    "change", [{"problems": []}, {"problems": [1]}, {"samples": "many"}, {"settings": 1}, {"settings": {"costs": 3}}]
)
def test_damaged_files_get_one_sentence(evaluation, tmp_path, change):
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({**json.loads(evaluation.files()["evaluation.json"]), **change}))
    with pytest.raises(ValueError, match="is not an evaluation"):
        Evaluation.load(path)
