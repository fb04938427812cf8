"""Linear candidates: logistic and ridge regression for many penalties at once."""
