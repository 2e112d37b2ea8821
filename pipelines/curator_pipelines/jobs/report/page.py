"""The page of one target, and the page of several: numbers and pictures gathered, then put into a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from curator.io import public_name
from curator_pipelines.jobs.pictures import Album
from curator_pipelines.jobs.report.charts import draw_curve, draw_plane
from curator_pipelines.jobs.report.coverage import Coverage, Served, coverage
from curator_pipelines.jobs.report.facts import facts
from curator_pipelines.jobs.report.headline import headline
from curator_pipelines.jobs.report.line import strips
from curator_pipelines.jobs.report.origins import origins
from curator_pipelines.jobs.report.plane import plane
from curator_pipelines.jobs.report.refused import Pair, SkippedKind, left_out, skipped_kinds
from curator_pipelines.jobs.report.render import Page, render
from curator_pipelines.jobs.report.target_record import TargetRecord
from curator_pipelines.run import RunDirectory

__all__ = ["overview_page", "target_page"]


def target_page(run: RunDirectory, target: TargetRecord, field: str | None, warnings: Sequence[str]) -> Page:
    """The page of one target.

    Args:
        run: whose target it is.
        target: its finished selection.
        field: of sidecars, by which sources are counted as well; None for none.
        warnings: of the run.

    Cost: a minute at most for the pictures, 2,000 rows of the pool, and one hash for each row of it.
    """
    directory = target.directory
    album = Album({"target": directory.target, "pool": directory.pool, "exclude": directory.exclude})
    line = [replace(strip, pictures=album.ask(strip.pictures)) for strip in strips(target)]
    served = coverage(target)
    album.ask(served.pictures)
    kinds = skipped_kinds(target)
    album.ask(picture for kind in kinds for picture in kind.pictures)
    flat = plane(target, run.record["config"].get("seed", 0))
    shown = album.ask(picture for picture in flat.pictures if picture not in album)
    album.fill()
    line = [album.strip(strip) for strip in line]
    pictures = [picture for picture in map(album.of, shown) if picture.image]
    html = render(
        "target.html",
        title=_title(run, directory.name),
        headline=headline(target, warnings),
        thresholds=target.record["thresholds"],
        stop=target.record["stop"],
        strips=line,
        curve=draw_curve(target),
        coverage=_coverage_with_pictures(served, album),
        plane=draw_plane(flat),
        plane_method=flat.method,
        plane_names={group: flat.names(group) for group in flat.points},
        plane_pictures=pictures,
        origins=origins(target, field),
        skipped=[_kind_with_pictures(kind, album) for kind in kinds],
        left_out=left_out(run.url),
        facts=facts(run),
        missing=album.thumbnails.failures[:5],
    )
    return Page(html, sum(map(bool, album.thumbnails.images)), album.thumbnails.failures, line)


def overview_page(run: RunDirectory, targets: Sequence[TargetRecord], overlaps: Sequence[tuple[str, str, int]]) -> Page:
    """The page of several targets: a headline and a link for each, and what was chosen for two of them.

    Args:
        run: whose targets they are.
        targets: their finished selections.
        overlaps: two names, and how many rows were chosen for both.
    """
    counts = {target.directory.name: len(target.selection.ids) for target in targets}
    rows = [
        (first, second, both, both / max(counts[first] + counts[second] - both, 1)) for first, second, both in overlaps
    ]
    html = render(
        "overview.html",
        title=_title(run, ""),
        targets=[(target.directory.name, headline(target, [])) for target in targets],
        overlaps=rows,
        facts=facts(run),
    )
    return Page(html, 0, ())


def _title(run: RunDirectory, name: str) -> str:
    return f"{public_name(run.url)}{f', {name}' if name else ''}"


def _coverage_with_pictures(served: Coverage, album: Album) -> Coverage:
    def filled(rows: Sequence[Served]) -> list[Served]:
        return [
            replace(
                row,
                photo=album.of(row.photo),
                best=album.of(row.best) if row.best else None,
                chosen=[*map(album.of, row.chosen)],
            )
            for row in rows
        ]

    return replace(served, worst=filled(served.worst), others=filled(served.others))


def _kind_with_pictures(kind: SkippedKind, album: Album) -> SkippedKind:
    return replace(
        kind,
        pairs=[
            Pair(album.of(pair.skipped), album.of(pair.match) if pair.match else None, pair.similarity)
            for pair in kind.pairs
        ],
    )
