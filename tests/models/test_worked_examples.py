"""The worked examples of the documentation: by hand, by the models, and by scipy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans as BatchKMeans
from sklearn.neighbors import NearestNeighbors

from streams.models import lloyd
from streams.models.similarity import Similarity

USERS = np.array([[4, 5, 3], [2, 5, 3], [4, 2, 3]])
PRODUCTS = [1, 2, 3]


@pytest.fixture
def three_users() -> Similarity:
    """Users 1, 2 and 3 rate products 1, 2 and 3, one rating at a time."""
    model = Similarity()
    for user, ratings in enumerate(USERS, 1):
        for product, rating in zip(PRODUCTS, ratings, strict=True):
            model.update(user, product, float(rating))
    return model


def test_the_distances_of_three_users_are_2_3_and_the_root_of_13(three_users):
    found = [three_users.distance(*pair) for pair in ((1, 2), (1, 3), (2, 3))]
    assert found == [2.0, 3.0, math.sqrt(13)]
    assert found == cdist(USERS, USERS)[[0, 0, 1], [1, 2, 2]].tolist()


def test_user_2_is_nearest_to_user_1(three_users):
    users, similarity = three_users.nearest(1, 1, measure="euclidean")
    assert (users.tolist(), similarity.tolist()) == ([2], [1 / 3])
    apart, row = NearestNeighbors(n_neighbors=1).fit(USERS[1:]).kneighbors(USERS[:1])
    assert (row.item() + 2, apart.item()) == (2, 2.0)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("mean", 3.5),  # (2 + 5) / 2
        ("weighted", 3.5),  # 1/3 · 3.5 / (1/3): one neighbor has all the weight
        ("adjusted", 4 + 3.5 - 10 / 3),  # the mean of user 1, and by how much the neighbor's ratings exceed its mean
    ],
)
def test_a_rating_is_predicted_from_the_first_two_ratings_of_the_nearest_neighbor(three_users, form, expected):
    assert three_users.predict(1, [1, 2], k=1, measure="euclidean", form=form) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("mean", (2 + 4) / 2),
        ("weighted", (2 / 3 + 4 / 4) / (1 / 3 + 1 / 4)),
        ("adjusted", 4 + ((2 - 10 / 3) / 3 + (4 - 3) / 4) / (1 / 3 + 1 / 4)),
    ],
)
def test_a_rating_is_predicted_from_what_both_neighbors_gave_the_product(three_users, form, expected):
    assert three_users.predict(1, 1, k=2, measure="euclidean", form=form) == pytest.approx(expected, abs=1e-12)


def test_a_changed_rating_moves_the_neighbors_and_a_withdrawn_one_leaves_nothing(three_users):
    three_users.update(3, 2, 5.0)
    assert three_users.nearest(1, 1, measure="euclidean")[0].tolist() == [3]
    three_users.withdraw(3, 2)
    assert (three_users.distance(1, 3), three_users.shared(1, 3)) == (0.0, 2)


POINTS = np.array([[1.0, 2], [2, 3], [3, 4], [4, 5], [5, 6]])
START = np.array([[1.0, 2], [4, 5]])


def test_k_means_on_five_points_moves_once_and_stays():
    labels, distances = np.empty(5, np.int32), np.empty(5)
    lloyd.assign(POINTS, START, labels, distances)
    assert labels.tolist() == [0, 0, 1, 1, 1]
    moved = START.copy()
    lloyd.settle(POINTS, np.ones(5), moved, 1)
    assert moved.tolist() == [[1.5, 2.5], [4, 5]]
    settled = moved.copy()
    lloyd.settle(POINTS, np.ones(5), settled, 100)
    assert settled.tolist() == moved.tolist()
    batch = BatchKMeans(2, init=START, n_init=1).fit(POINTS)
    assert batch.cluster_centers_.tolist() == moved.tolist()
    assert batch.labels_.tolist() == labels.tolist()
