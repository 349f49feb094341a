"""Averages over areas, on numbers by hand; the emulators' test compares them with OpenCV's."""

import numpy as np

from wnrl.envs.game_modes.area_average import shrink


def test_a_whole_number_of_pixels_is_averaged() -> None:
    image = np.array([[[0, 4, 10, 20], [8, 12, 30, 41]]], np.uint8)
    assert shrink(np.repeat(image, 2, axis=1), 2).tolist() == [[[2, 15], [10, 36]]]


def test_a_pixel_that_two_share_counts_by_its_parts() -> None:
    row = np.array([[[10, 40, 100]]], np.uint8)
    image = np.repeat(row, 3, axis=1)  # 1.5 pixels each way
    assert shrink(image, 2).tolist() == [[[20, 80], [20, 80]]]


def test_equal_pixels_stay_and_images_do_not_mix() -> None:
    images = np.stack([np.full((210, 160), value, np.uint8) for value in (0, 255, 7)])
    small = shrink(images, 84)
    assert small.shape == (3, 84, 84)
    assert [np.unique(image).tolist() for image in small] == [[0], [255], [7]]
