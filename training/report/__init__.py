"""Reports on a finished model or a finished comparison: one HTML file that needs no network.

model_report.py    MODEL/report.html, from the files of a model
compare_report.py  DIR/report.html, from the leaderboard of a comparison
"""

from mmfeat.pages import REPORT
from training.report.compare_report import write_compare_report
from training.report.comparison import LEADERBOARD
from training.report.model_report import write_model_report

__all__ = ["LEADERBOARD", "REPORT", "write_compare_report", "write_model_report"]
