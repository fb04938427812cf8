"""The command `mmfeat audit`."""

from collections.abc import Sequence

from mmfeat.config import parse_args
from mmfeat.features import FeatureStore
from mmfeat.store import check_output
from mmfeat.system import waiting_for
from training.audit.config import AuditConfig
from training.columns import check_sample_columns, choose_columns


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and audit the features."""
    config = parse_args(AuditConfig, arguments, prog="mmfeat audit")
    check_output(config.output, "audit")
    store = FeatureStore(config.features)
    choose_columns(store, config.modalities)
    check_sample_columns(store, [config.target], {})
    # Imported late, so that --help and mistyped paths do not load torch.
    with waiting_for("loading torch"):
        from training.audit.audit_store import audit_store

    audit_store(config)
