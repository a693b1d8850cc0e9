"""Order, range, chunks and jobs of uploaded pictures, against CVAT's rules."""

import time

import pytest

from app.errors import InvalidInput
from app.operations.arrange import arrange, cut_segments, default_chunk_size, frame_step, mapped_segments, unzipped

NAMES = ["img10.png", "img2.png", "b/img1.png", "img1.png"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["b/img1.png", "img1.png", "img10.png", "img2.png"]),
        ({"sorting_method": "natural"}, ["b/img1.png", "img1.png", "img2.png", "img10.png"]),
        ({"sorting_method": "predefined"}, NAMES),
        (
            {
                "sorting_method": "predefined",
                "upload_file_order": ["/home/me/img1.png", "img2.png", "img10.png", "b/img1.png"],
            },
            ["img1.png", "img2.png", "img10.png", "b/img1.png"],
        ),
        ({"start_frame": 1, "stop_frame": 2}, ["img1.png", "img10.png"]),
        ({"frame_filter": "step=2"}, ["b/img1.png", "img10.png"]),
        ({"start_frame": 1, "frame_filter": "step = 2", "stop_frame": 99}, ["img1.png", "img2.png"]),
    ],
)
def test_frames_are_sorted_and_cut_as_asked(params: dict[str, object], expected: list[str]) -> None:
    assert [NAMES[index] for index in arrange(NAMES, params, seed=1)] == expected


def test_digits_that_are_no_decimals_are_sorted_as_text() -> None:
    names = ["²10.png", "²2.png", "١٢.png", "2.png"]
    order = arrange(names, {"sorting_method": "natural"}, seed=1)
    assert [names[index] for index in order] == ["2.png", "١٢.png", "²2.png", "²10.png"]


def test_a_random_order_is_a_permutation_that_the_seed_repeats() -> None:
    names = [f"{index}.png" for index in range(50)]
    order = arrange(names, {"sorting_method": "random"}, seed=7)
    assert sorted(order) == list(range(50))
    assert order == arrange(names, {"sorting_method": "random"}, seed=7)
    assert order != list(range(50))


@pytest.mark.parametrize(
    ("params", "culprit"),
    [
        ({"sorting_method": "alphabetical"}, "sorting_method"),
        ({"start_frame": 9}, "start_frame 9"),
        ({"frame_filter": "step=0"}, "frame_filter"),
        ({"sorting_method": "predefined", "upload_file_order": ["img3.png"]}, "did you mean 'img"),
        ({"sorting_method": "predefined", "upload_file_order": NAMES[:3]}, "'img1.png' is missing"),
        ({"sorting_method": "predefined", "upload_file_order": [*NAMES[:3], NAMES[0]]}, "missing"),
    ],
)
def test_a_wrong_parameter_is_named(params: dict[str, object], culprit: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        arrange(NAMES, params, seed=1)
    assert culprit in caught.value.detail


@pytest.mark.parametrize(
    ("n_frames", "size", "overlap", "jobs", "reported"),
    [
        (5, 0, 0, ((0, 4),), (5, 0)),
        (5, 9, 3, ((0, 4),), (5, 0)),
        (5, 2, 0, ((0, 1), (2, 3), (4, 4)), (2, 0)),
        (10, 4, 1, ((0, 3), (3, 6), (6, 9)), (4, 1)),
        (10, 4, 3, ((0, 3), (2, 5), (4, 7), (6, 9)), (4, 2)),
        (1, 1, 0, ((0, 0),), (1, 0)),
    ],
)
def test_jobs_are_cut_as_cvat_does(
    n_frames: int, size: int, overlap: int, jobs: tuple[tuple[int, int], ...], reported: tuple[int, int]
) -> None:
    segments = cut_segments(n_frames, size, overlap)
    assert segments.jobs == jobs
    assert (segments.segment_size, segments.overlap) == reported
    assert {frame for start, stop in segments.jobs for frame in range(start, stop + 1)} == set(range(n_frames))


def test_a_job_file_mapping_makes_its_jobs() -> None:
    order, segments = mapped_segments(["a", "b", "c"], [["c"], ["a", "b"]])
    assert (order, segments.jobs) == ([2, 0, 1], ((0, 0), (1, 2)))


def test_chunks_hold_as_many_pictures_as_cvats() -> None:
    assert default_chunk_size(1920, 1080) == 36
    assert default_chunk_size(64, 48) == 72
    assert default_chunk_size(20_000, 20_000) == 2


def test_a_step_is_a_whole_number_from_one() -> None:
    assert frame_step("") == 1
    assert frame_step("step=15") == 15


def test_names_of_zips_stand_for_the_pictures_in_them() -> None:
    zips = {"x.zip": [["c.png", "a.png"]], "y.zip": [["d.png"], ["e.png", "b.png"]], "none.zip": [[]]}
    wanted = ["/home/me/y.zip", "f.png", "x.zip", "none.zip", "y.zip"]
    assert unzipped(wanted, zips, "order") == ["d.png", "f.png", "c.png", "a.png", "e.png", "b.png"]
    assert unzipped(["a.png", "d.png"], zips, "order") == ["a.png", "d.png"], "their pictures may be named, too"
    with pytest.raises(InvalidInput, match=r"'x\.zip' is named twice"):
        unzipped(["x.zip", "x.zip"], zips, "order")


def test_a_name_is_known_as_a_form_writes_it() -> None:
    params = {"sorting_method": "predefined", "upload_file_order": ['b".png', "a.png"]}
    assert arrange(["a.png", "b%22.png"], params, seed=1) == [1, 0]


def test_a_name_among_very_many_is_found_wanting_soon() -> None:
    names = [f"{'x' * 200}_{index}.png" for index in range(20_000)]
    began = time.process_time()
    with pytest.raises(InvalidInput, match="was not uploaded; did you mean"):
        arrange(names, {"sorting_method": "predefined", "upload_file_order": [names[7] + "x"]}, seed=1)
    assert time.process_time() - began < 1, "3.6 s to compare it with each of them"
