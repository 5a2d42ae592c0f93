"""Runs QuestionGRPO over its plan, keeps what it made step by step, and resumes it exactly on a generation boundary."""

from __future__ import annotations

from pathlib import Path

from uvrlab.config import QuestionsConfig, RunConfig
from uvrlab.training.checkpoints import newest_checkpoint
from uvrlab.training.grpo_loop import Watch
from uvrlab.training.questions import QuestionRoller, Questions, Rewarder, plan_questions
from uvrlab.training.questions_trainer import QuestionGRPO

COUNTED = ("truncated", "no form", "judge failed", "unscored")


def train(
    stage: str,
    roller: QuestionRoller,
    questions: Questions,
    rewarder: Rewarder,
    own: QuestionsConfig,
    run: RunConfig,
    checkpoints: Path,
) -> list[dict[str, float]]:
    """Train the roller's model in place; returns a row of numbers a step. Rollouts are kept under `checkpoints/rollouts`."""
    spare = own.questions * own.dynamic_sampling
    plan = plan_questions(questions.samples, own.steps // own.iterations, own.questions, run.seed, spare)
    watch = Watch(stage, own.steps, checkpoints / "rollouts", COUNTED)
    trainer = QuestionGRPO(roller, questions.samples, rewarder, plan, own, run, checkpoints, on_rollouts=watch.keep)
    trainer.add_callback(watch)
    watch.trainer = trainer
    roller.model.train()
    trainer.train(resume_from_checkpoint=newest_checkpoint(checkpoints))
    roller.model.eval()
    return [row for row in trainer.state.log_history if "flat_groups" in row]
