"""The description objective: texts, their tokens, and the losses of references."""

from training.objectives.describe.describe_objective import DescribeObjective
from training.objectives.describe.teacher_forcing import TeacherForcing

__all__ = ["DescribeObjective", "TeacherForcing"]
