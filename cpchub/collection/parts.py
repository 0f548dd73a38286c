"""The parts of one job, such as 3/8, each a collection of its own: whether they fit together, and their order."""

from __future__ import annotations

from collections.abc import Sequence

from cpchub.collection.collection import Collection
from cpchub.errors import CollectionError

PART = "part"  # in the manifest: number, count, images and listing (the sha256 of their paths) of the whole job


def parts_in_order(parts: Sequence[Collection]) -> list[Collection]:
    """The collections in the order of their parts. Raises CollectionError unless they are all parts of one job."""
    for part in parts:
        if PART not in part.manifest:
            raise CollectionError(f"{part.place} is a whole collection, and cannot be merged with the parts of another")
    first, by_number = parts[0], {int(part.manifest[PART]["number"]): part for part in reversed(parts)}
    count = first.manifest[PART]["count"]
    for part in parts:
        record, number = part.manifest[PART], int(part.manifest[PART]["number"])
        if part.location != first.location or record["count"] != count:
            raise CollectionError(
                f"{part.place} is part {number}/{record['count']} of {part.location}, and {first.place} part "
                f"{first.manifest[PART]['number']}/{count} of {first.location}: merge the parts of one job"
            )
        if by_number[number] is not part:
            raise CollectionError(f"{by_number[number].place} and {part.place} are both part {number}/{count}")
    if missing := [str(number) for number in range(1, count + 1) if number not in by_number]:
        raise CollectionError(
            f"part {', '.join(missing)} of {count} is missing; embed it with --part {missing[0]}/{count}, or name its "
            "folder"
        )
    ordered = [by_number[number] for number in sorted(by_number)]
    _check_same_job(ordered)
    return ordered


def _check_same_job(parts: Sequence[Collection]) -> None:
    """Raise CollectionError where the parts were made of different listings, rules or labels."""
    newest = max(parts, key=lambda part: (str(part.manifest["updated"]), int(part.manifest["generation"])))
    for what, said in (("listing", "listing"), ("rules", "rules"), ("labels", "labels")):
        values = {id(part): part.manifest[PART].get(what, part.manifest.get(what)) for part in parts}
        others = [part for part in parts if values[id(part)] != values[id(newest)]]
        if others:
            numbers = ", ".join(str(part.manifest[PART]["number"]) for part in others)
            raise CollectionError(
                f"{newest.location} has changed between the parts, or they had other options (the {said} of part "
                f"{numbers} is not that of {newest.place}): run part {numbers} again with the same options, and it "
                "takes over what changed"
            )
