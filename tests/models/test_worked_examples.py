"""The worked examples of the documentation: by hand, by the models, and by scipy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.cluster import DBSCAN
from sklearn.cluster import KMeans as BatchKMeans
from sklearn.neighbors import NearestNeighbors

from streams.models import lloyd
from streams.models.dbstream import DBStream
from streams.models.similarity import Similarity
from streams.models.som import SOM

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


def test_dbstream_on_nine_points_finds_two_clusters_and_an_outlier_as_dbscan_does():
    line = np.array([[0.0], [2], [1], [4], [3], [10], [21], [20], [22]])
    # Within 1.2: 0 and 2 begin A and B; 1 lies in both; 4 begins C; 3 lies in B and C; 10 begins D; 21 begins E, which holds
    # 20 and 22.
    model = DBStream(radius=1.2, min_weight=1.5, half_life=1e9).partial_fit(line)
    centers, weights, labels = model.micro_clusters()
    a = math.exp(-4.5 / 1.44)  # how far a point at distance 1 draws a micro-cluster of radius 1.2
    apart = 3 - (2 - a)  # of 3 from B
    b = 2 - a + math.exp(-4.5 * apart**2 / 1.44) * apart
    away = 22 - (21 - a)  # of 22 from E
    e = 21 - a + math.exp(-4.5 * away**2 / 1.44) * away
    assert centers.ravel().tolist() == pytest.approx([a, b, 4 - a, 10, e], abs=1e-12)
    assert [round(value, 4) for value in (a, b, e)] == [0.0439, 1.9907, 20.9907]
    assert weights.tolist() == pytest.approx([2, 3, 2, 1, 3])
    assert labels.tolist() == [0, 0, 0, -1, 1]
    found = model.predict(line).tolist()
    assert found == DBSCAN(eps=1.2, min_samples=2).fit_predict(line).tolist() == [0, 0, 0, 0, 0, -1, 1, 1, 1]
    # A and B share one point, of 2.5 that they hold on average: with more than 0.4 asked for, they are not connected.
    parted = DBStream(radius=1.2, min_weight=1.5, half_life=1e9, alpha=0.41).partial_fit(line)
    assert parted.micro_clusters()[2].tolist() == [0, 1, 2, -1, 3]


def test_a_map_of_three_nodes_moves_as_by_hand():
    model = SOM(shape=(1, 3), rate=0.5, half_life=1.0, radius=0.5, least_radius=0.5)
    model.adopt([[0.0], [5.0], [10.0]])
    near, far = math.exp(-2), math.exp(-8)  # of nodes at distance 1 and 2, at radius 1/2
    model.partial_fit([[2.0]])
    first = [0.5 * 2, 5 - 0.5 * near * 3, 10 - 0.5 * far * 8]
    assert model.cluster_centers_.ravel().tolist() == pytest.approx(first, abs=1e-12)
    assert [round(value, 4) for value in first] == [1.0, 4.797, 9.9987]
    # One point later the rate is a half of that.
    model.partial_fit([[9.0]])
    second = [
        first[0] + 0.25 * far * (9 - first[0]),
        first[1] + 0.25 * near * (9 - first[1]),
        first[2] + 0.25 * (9 - first[2]),
    ]
    assert model.cluster_centers_.ravel().tolist() == pytest.approx(second, abs=1e-12)
    assert [round(value, 4) for value in second] == [1.0007, 4.9392, 9.749]
    assert model.predict([[2.0], [5.0], [9.0]]).tolist() == [0, 1, 2]
