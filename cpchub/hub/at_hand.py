"""Whether the weights of an encoder can be had, asked before torch is imported for them."""

from __future__ import annotations

from cpchub.catalog.spec import CONFIG, ModelSpec
from cpchub.errors import WeightsUnavailableError
from cpchub.hub import public
from cpchub.hub.client import hub_errors
from cpchub.hub.hub_files import check_reachable
from cpchub.hub.locate import no_weights


def check_spec(spec: ModelSpec) -> None:
    """Raise for an encoder of the catalog that is not on this machine and cannot be fetched.

    WeightsUnavailableError where it has no weights yet, the network is forbidden or the Hub is out of reach, HubError
    where the server of its authors is.
    """
    if spec.origin is not None:
        public.check_reachable(spec)
    elif spec.repo_id is None:
        raise WeightsUnavailableError(no_weights(spec))
    else:
        check_repository(f"{spec.repo_id}@{spec.revision}" if spec.revision else spec.repo_id)


def check_repository(repo_id: str) -> None:
    """Raise WeightsUnavailableError where `org/name` or `org/name@revision` is not here and the Hub out of reach."""
    repository, _, revision = repo_id.partition("@")
    with hub_errors(repository, "Fetching"):
        check_reachable(repository, [CONFIG], revision=revision or None)
