"""Learning a sequence of tasks, evaluating it, and keeping what happened in a run folder.

`AGENTS` and `SEQUENCES` list what exists by name, plug-ins included. Importing this package is
cheap: nothing here imports torch until a run begins.
"""

from lifelong_rl.registry import Registry

AGENTS = Registry(
    "agent",
    {
        "sac": "lifelong_rl.agents.sac:SAC",
        "td3": "lifelong_rl.agents.td3:TD3",
        "ppo": "lifelong_rl.agents.ppo:PPO",
        "bc": "lifelong_rl.agents.bc:BC",
        "bc-stream": "lifelong_rl.agents.bc_stream:BCStream",
        "offline-rl": "lifelong_rl.agents.offline_rl:OfflineRL",
        "classifier": "lifelong_rl.agents.classifier:Classifier",
    },
)
SEQUENCES = Registry(
    "sequence",
    {
        name: f"lifelong_rl.envs.sequences:{name.upper()}"
        for name in ("arm3", "arm5", "arm10", "arm20", "claw10", "claw20")
    }
    | {
        name: f"lifelong_rl.envs.labelled:{name.upper().replace('-', '_')}"
        for name in ("split-digits", "permuted-digits", "noisy-digits")
    }
    | {"frames": "lifelong_rl.envs.labelled_frames:FRAMES"},
)
SEQUENCES_OF_TASKS = "lifelong_rl.envs.sequences:get_sequence"
"""Makes a sequence of the names of tasks, joined by commas."""

__all__ = ["AGENTS", "SEQUENCES", "SEQUENCES_OF_TASKS"]
