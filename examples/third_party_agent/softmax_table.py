"""A complete agent for gfn-gym: a table of texts with a softmax over actions, trained by REINFORCE.

Installed (`pip install ./examples/third_party_agent`) it goes by its name:
`gfn check softmax_table` and `gfn evaluate softmax_table gfn_envs/NumberLine-v0`.
"""

import time

import numpy as np

from gfn_envs.agents import read_agent_file, write_agent_file
from gfn_envs.making import make_text_env
from gfn_envs.rollout import rollout


class SoftmaxTable:
    """Remembers one number for each action of each text; what it has not seen it plays at random."""

    def __init__(self):
        self.table, self.costs, self.curve = {}, {"environment_steps": 0}, []

    def action_probabilities(self, observations, admissible_actions):
        """Returns the softmax of the numbers of each text."""
        asked = zip(observations, admissible_actions, strict=True)
        rows = [np.exp([self.table.get(f"{text}\n{action}", 0.0) for action in actions]) for text, actions in asked]
        return [row / row.sum() for row in rows]

    def act(self, observations, admissible_actions, rng):
        """Draws from the probabilities."""
        rows = self.action_probabilities(observations, admissible_actions)
        return [legal[rng.choice(len(legal), p=row)] for legal, row in zip(admissible_actions, rows, strict=True)]

    def learn(self, env_id, budget, seed, env_kwargs=None):
        """Plays 8 problems 4 times each; what did better than the average on its problem becomes more probable."""
        self.__init__()
        env, rng, start = make_text_env(env_id, env_kwargs or {}), np.random.default_rng(seed), time.monotonic()
        while not budget.used_up(self.costs["environment_steps"], seconds=time.monotonic() - start):
            played = rollout(env.task, self, [env.problems.sample(rng) for _ in range(8)] * 4, rng)
            wins = np.array([float(trajectory.success) for trajectory in played]).reshape(4, 8)
            for trajectory, gain in zip(played, (wins - wins.mean(axis=0)).ravel(), strict=True):
                for step in trajectory.steps:
                    (row,) = self.action_probabilities([step.observation], [step.admissible_actions])
                    for action, p in zip(step.admissible_actions, row, strict=True):
                        place = f"{step.observation}\n{action}"
                        self.table[place] = self.table.get(place, 0.0) + gain * ((action == step.action) - p)
            self.costs["environment_steps"] += sum(len(trajectory.steps) for trajectory in played)
            self.curve.append({**self.costs, "success": float(wins.mean())})

    def save(self, folder):
        """Writes one file."""
        write_agent_file(folder, self, {"table": self.table})

    @classmethod
    def load(cls, folder):
        """Reads it."""
        agent = cls()
        agent.table = read_agent_file(folder)["table"]
        return agent
